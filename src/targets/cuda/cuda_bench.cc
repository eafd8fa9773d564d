#include "targets/cuda/cuda_bench.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "base/error.h"
#include "targets/cuda/cuda_ops.h"
#include "targets/cuda/kernels/bench.h"
#include "targets/cuda/random_weights.h"
#include "targets/cuda/weight_packing.h"

namespace expertile::cuda {
namespace {

double MedianOf(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<int64_t>(values.size() / 2));
  return values[values.size() / 2];
}

// Device time of what `work` puts on the stream.
class Timer {
 public:
  static Result<Timer> Create(cudaStream_t stream) {
    Timer timer(stream);
    for (Event* event : {&timer.begin_, &timer.end_}) {
      cudaEvent_t made = nullptr;
      EXPERTILE_RETURN_IF_ERROR(Check(cudaEventCreate(&made), "event"));
      event->reset(made);
    }
    return timer;
  }
  template <typename Work>
  Result<double> Seconds(Work work) {
    EXPERTILE_RETURN_IF_ERROR(Check(cudaEventRecord(begin_.get(), stream_), "event"));
    EXPERTILE_RETURN_IF_ERROR(work());
    EXPERTILE_RETURN_IF_ERROR(Check(cudaEventRecord(end_.get(), stream_), "event"));
    EXPERTILE_RETURN_IF_ERROR(Check(cudaEventSynchronize(end_.get()), "bench"));
    float milliseconds = 0.0f;
    EXPERTILE_RETURN_IF_ERROR(
        Check(cudaEventElapsedTime(&milliseconds, begin_.get(), end_.get()), "event"));
    return milliseconds * 1e-3;
  }

 private:
  struct Destroy {
    void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
  };
  using Event = std::unique_ptr<CUevent_st, Destroy>;

  explicit Timer(cudaStream_t stream) : stream_(stream) {}
  cudaStream_t stream_;
  Event begin_;
  Event end_;
};

// Logits whose K largest are K experts drawn by a Zipf law of their popularity, without replacement
// (Gumbel's trick); experts' ranks are shuffled.
std::vector<float> RandomLogits(int64_t num_tokens, int num_experts, double skew) {
  std::mt19937_64 random(1);
  std::vector<double> log_popularity(num_experts);
  for (int e = 0; e < num_experts; ++e) log_popularity[e] = -skew * std::log(e + 1.0);
  std::ranges::shuffle(log_popularity, random);
  std::uniform_real_distribution<double> uniform(1e-12, 1.0);
  std::vector<float> logits(num_tokens * num_experts);
  for (size_t i = 0; i < logits.size(); ++i) {
    const double gumbel = -std::log(-std::log(uniform(random)));
    logits[i] = static_cast<float>(log_popularity[i % num_experts] + gumbel);
  }
  return logits;
}

// Logits that a recorded routing is chosen from again.
std::vector<float> LogitsOf(std::span<const int32_t> routing, int num_experts, int K) {
  std::vector<float> logits(routing.size() / K * num_experts, 0.0f);
  for (size_t a = 0; a < routing.size(); ++a) {
    logits[a / K * num_experts + routing[a]] = static_cast<float>(K - a % K);
  }
  return logits;
}

DecoderSpec SpecOf(const MoeShape& shape) {
  DecoderSpec spec;
  spec.hidden_size = shape.hidden_size;
  spec.moe.num_experts = shape.num_experts;
  spec.moe.intermediate_size = shape.intermediate_size;
  spec.moe.router.experts_per_token = shape.experts_per_token;
  spec.moe.router.normalize = true;
  return spec;
}

struct LayerWeights {
  std::shared_ptr<RandomWeights> store;  // of the two
  DeviceLinear router;
  DeviceExperts experts;
};

Result<LayerWeights> MakeWeights(const MoeShape& shape, bool is_mxfp4) {
  LayerWeights made{std::make_shared<RandomWeights>(is_mxfp4), {}, {}};
  DeviceWeights weights(made.store);
  TileOpener opener(weights);
  const Weight router{"router", "", WeightRole::kRouter, shape.num_experts, shape.hidden_size};
  EXPERTILE_RETURN_IF_ERROR(opener.Open(router, made.router));
  const Weight experts{"experts",         "",    WeightRole::kExperts, shape.intermediate_size,
                       shape.hidden_size, false, shape.num_experts};
  EXPERTILE_RETURN_IF_ERROR(opener.Open(experts, made.experts));
  return made;
}

// One MoE layer, blocked in one way: the router's product, the choice from given logits, both
// products, the sum.
class Layer {
 public:
  static Result<Layer> Create(const MoeShape& shape, const MoeBlocking& blocking,
                              std::span<const float> logits, const LayerWeights& weights) {
    const auto T = static_cast<int64_t>(logits.size()) / shape.num_experts;
    DecoderSpec spec = SpecOf(shape);
    EXPERTILE_ASSIGN(DeviceProperties device, FindDevice());
    TargetOptions target;
    target.blocking = blocking;
    target.max_step_tokens = T;
    EXPERTILE_ASSIGN(CudaOps ops,
                     CudaOps::Create(spec, {target, std::move(device),
                                            weights.experts.gate_up.scales != nullptr}));
    EXPERTILE_ASSIGN(Timer timer, Timer::Create(ops.stream()));
    Layer layer(std::move(ops), std::move(timer), std::move(spec), weights);
    EXPERTILE_RETURN_IF_ERROR(layer.ops_.Begin(Step()));
    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    std::vector<float> x(T * shape.hidden_size);
    for (float& value : x) value = BFloat16ToFloat(FloatToBFloat16(normal(random)));
    layer.x_ = layer.ops_.SplitOf(layer.ops_.FromHost(x, shape.hidden_size));
    layer.logits_ = layer.ops_.FromHost(logits, shape.num_experts);
    return layer;
  }

  Result<double> Seconds() {
    return timer_.Seconds([&]() -> Status {
      ops_.Multiply(x_, weights_->router);
      const auto routing = ops_.ChooseExperts(logits_.floats(), logits_.stride, x_.rows,
                                              spec_.moe.num_experts, spec_.moe.router);
      ops_.Settled(ops_.Moe(x_, routing, weights_->experts, spec_.moe.gated));
      return ops_.failure();
    });
  }

 private:
  Layer(CudaOps ops, Timer timer, DecoderSpec spec, const LayerWeights& weights)
      : ops_(std::move(ops)),
        timer_(std::move(timer)),
        spec_(std::move(spec)),
        weights_(&weights) {}

  CudaOps ops_;
  Timer timer_;
  DecoderSpec spec_;
  const LayerWeights* weights_;
  Tensor x_;
  Tensor logits_;
};

double BytesOf(const DeviceExperts& experts, int num_chosen) {
  const auto of = [](const TiledWeights& w) { return w.bytes_per_expert + w.scales_per_expert; };
  return static_cast<double>(of(experts.gate_up) + of(experts.down)) * num_chosen;
}

int NumChosen(std::span<const float> logits, int E, int K) {
  std::vector<char> is_chosen(E);
  std::vector<int> order(E);
  for (size_t first = 0; first < logits.size(); first += E) {
    for (int e = 0; e < E; ++e) order[e] = e;
    std::ranges::nth_element(order, order.begin() + K - 1, std::greater<>(),
                             [&](int e) { return logits[first + e]; });
    for (int k = 0; k < K; ++k) is_chosen[order[k]] = 1;
  }
  return static_cast<int>(std::ranges::count(is_chosen, 1));
}

}  // namespace

Result<Roof> MeasureRoof() {
  constexpr int64_t kCopied = int64_t{1} << 30;
  constexpr int kSamples = 7;
  constexpr int kSteps = 4000;  // some milliseconds
  EXPERTILE_ASSIGN(const DeviceProperties device, FindDevice());
  EXPERTILE_ASSIGN(const Stream stream, Stream::Create());
  EXPERTILE_ASSIGN(const DeviceMemory from, DeviceMemory::Allocate(kCopied, "the roof's copy:"));
  EXPERTILE_ASSIGN(const DeviceMemory to, DeviceMemory::Allocate(kCopied, "the roof's copy:"));
  EXPERTILE_RETURN_IF_ERROR(
      Check(LaunchFill(Fill::kBytes, from.data(), kCopied, 0.0f, stream.get()), "roof"));
  EXPERTILE_ASSIGN(Timer timer, Timer::Create(stream.get()));
  std::vector<double> copies;
  std::vector<double> products;
  double flops = 0.0;
  for (int i = 0; i < kSamples; ++i) {
    EXPERTILE_ASSIGN(copies.emplace_back(), timer.Seconds([&] {
      return Check(
          cudaMemcpyAsync(to.data(), from.data(), kCopied, cudaMemcpyDeviceToDevice, stream.get()),
          "roof");
    }));
    EXPERTILE_ASSIGN(products.emplace_back(), timer.Seconds([&] {
      return Check(LaunchMultiplyRoof(device.num_processors, kSteps, &flops, stream.get()), "roof");
    }));
  }
  Roof roof;
  roof.isa = device.name;
  roof.workers = device.num_processors;
  roof.bfloat16_tflops = flops / MedianOf(products) * 1e-12;
  roof.read_gbs = 2.0 * static_cast<double>(kCopied) / MedianOf(copies) * 1e-9;
  return roof;
}

Result<MoeRuns> BenchMoe(const MoeBenchOptions& options, std::span<const int32_t> routing,
                         std::span<const MoeBlocking> blockings) {
  const MoeShape& shape = options.shape;
  if (options.dtype != "bfloat16" && options.dtype != "mxfp4") {
    return InvalidArgument("dtype: {}, the target cuda has bfloat16 and mxfp4",
                           OneLine(options.dtype));
  }
  MoeRuns runs;
  EXPERTILE_ASSIGN(runs.roof, MeasureRoof());
  const std::vector<float> logits =
      routing.empty() ? RandomLogits(options.tokens, shape.num_experts, options.skew)
                      : LogitsOf(routing, shape.num_experts, shape.experts_per_token);
  EXPERTILE_ASSIGN(const LayerWeights weights, MakeWeights(shape, options.dtype == "mxfp4"));
  std::vector<Layer> layers;
  for (const MoeBlocking& blocking : blockings) {
    EXPERTILE_ASSIGN(Layer layer, Layer::Create(shape, blocking, logits, weights));
    layers.push_back(std::move(layer));
  }
  runs.seconds.resize(layers.size());
  for (int turn = -1; turn < options.num_runs; ++turn) {  // the first warms up
    for (size_t i = 0; i < layers.size(); ++i) {
      const size_t next = (i + static_cast<size_t>(turn + 1)) % layers.size();
      EXPERTILE_ASSIGN(const double seconds, layers[next].Seconds());
      if (turn >= 0) runs.seconds[next].push_back(seconds);
    }
  }
  runs.bytes =
      BytesOf(weights.experts, NumChosen(logits, shape.num_experts, shape.experts_per_token));
  return runs;
}

}  // namespace expertile::cuda
