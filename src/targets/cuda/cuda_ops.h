// The CUDA target's decoder: Ops that launch kernels on one stream. What an op is given it reads in
// the stream's order; nothing waits for the device before Fetch.
// Not the kernels: gemm.h, attention.h, routing.h, rows.h.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "targets/cuda/event_clock.h"
#include "targets/cuda/kernels/routing.h"
#include "targets/cuda/kv_cache.h"
#include "targets/cuda/step_inputs.h"
#include "targets/cuda/tensor.h"
#include "targets/target.h"

namespace expertile::cuda {

class CudaOps {
 public:
  using Tensor = cuda::Tensor;
  using Rotation = cuda::Rotation;
  using Linear = DeviceLinear;
  using Vector = DeviceVector;
  using Embedding = DeviceTable;
  using Mlp = DeviceMlp;
  using Experts = DeviceExperts;
  using Inputs = StepInputs;

  struct Plan;
  struct Routing {
    int experts_per_token = 0;           // K
    std::shared_ptr<std::byte> ids;      // int32 [T,K]
    std::shared_ptr<std::byte> weights;  // float [T,K]
    std::shared_ptr<Plan> plan;          // of the layer's products
  };
  struct Context {
    TargetOptions options;
    DeviceProperties device;
    bool has_mxfp4_experts = false;  // in all layers; else a list of row tiles suits both formats
  };

  // Norms of heads, RoPE and the KV write are one kernel, sums wait for the norm that reads them.
  static constexpr StageFusion kStageFusion = {.heads = true, .sums = true, .row_bits = 16.0};
  // The block whose format is the weight's: of a MLP, gate and up.
  static std::string BlockOf(const Weight& weight);

  // Errors: out of memory, a spec that the kernels do not know.
  static Result<CudaOps> Create(const DecoderSpec& spec, const Context& context);
  static std::string_view IsaOf(const Context& context) { return context.options.isa; }

  Result<Inputs> Begin(const Step& step);
  // What `forward` gives for the step. The launches of a step's kind are recorded as a graph the
  // second time, and replayed from then on: all that differs lies in the step's upload.
  template <typename Forward>
  Tensor Replay(const Inputs& inputs, Forward forward) {
    Recording* recording = FindRecording(inputs);
    if (recording == nullptr) return forward();
    if (recording->graph == nullptr) {
      const size_t first = stage_clock_.marks().size();
      BeginRecording();
      EndRecording(forward(), *recording);
      const auto marks = std::span(stage_clock_.marks()).subspan(first);
      recording->marks.assign(marks.begin(), marks.end());
    } else {
      stage_clock_.AddReplayed(recording->marks);
    }
    Run("graph", [&] { return cudaGraphLaunch(recording->graph.get(), stream()); });
    return recording->logits;
  }
  // Layers are launched long before they run: a step, which takes milliseconds, is never cut short.
  bool GoesOn(const Inputs&) const { return true; }
  void BeginLayer(int) {}
  void EndLayer() {}
  Tensor Embed(const Embedding& table, const Inputs& inputs);
  Rotation RotationOf(const RopeSpec& rope, const Inputs& inputs);
  Tensor PlaceImages(Tensor x, const Inputs& inputs);
  Tensor AddDeepstack(Tensor x, int layer, const Inputs& inputs);
  Tensor WantedRows(const Tensor& x, const Inputs& inputs);
  Tensor Scale(Tensor x, float scale);
  Tensor AddScaled(Tensor x, const Tensor& y, float scale);
  Tensor Multiply(const Tensor& x, const Linear& linear);
  std::array<Tensor, 3> MultiplyThree(const Tensor& x, const Linear& query, const Linear& key,
                                      const Linear& value);
  Tensor RmsNorm(const Tensor& x, const Vector& weight, float epsilon);
  Tensor Rotate(Tensor x, const Rotation& rotation);
  Tensor Attention(int layer, const AttentionSpec& spec, const Inputs& inputs, const Tensor& query,
                   const Tensor& key, const Tensor& value, const Vector* sinks);
  Routing Route(const Tensor& x, const Linear& router, const RouterSpec& spec,
                const Inputs& inputs);
  // Its second half: the choice from logits [T,E] of the device.
  Routing ChooseExperts(const float* logits, int64_t stride, int64_t num_tokens, int num_experts,
                        const RouterSpec& spec);
  Tensor Moe(const Tensor& x, const Routing& routing, const Experts& experts,
             const GatedMlpSpec& spec);
  Tensor GatedMlp(const Tensor& x, const Mlp& mlp, const GatedMlpSpec& spec);
  Tensor AddGated(Tensor x, const Tensor& y, const Tensor& z, const Linear& gate);
  void TraceMoe(const Inputs& inputs, int layer, const Tensor& x, const Routing& routing,
                const Tensor& y);
  void TraceHidden(const Inputs& inputs, int layer, const Tensor& hidden);

  // x as products take it; itself if it is.
  Tensor SplitOf(const Tensor& x);
  // x's own floats, with what was yet to be added or summed.
  Tensor Settled(const Tensor& x);
  cudaStream_t stream() const { return stream_.get(); }
  // What has failed since Begin.
  const Status& failure() const { return failure_; }

  Tensor FromHost(std::span<const float> values, int64_t width);
  Status Fetch(const Tensor& x, std::span<float> values);
  Status CopyBlock(int32_t from, int32_t to);
  Status ReadKv(int layer, BlockTable blocks, int64_t n, std::span<float> keys,
                std::span<float> values) const {
    return caches_[layer].Read(blocks, n, keys, values, stream());
  }
  Status WriteKv(int layer, BlockTable blocks, int64_t n, std::span<const float> keys,
                 std::span<const float> values) const {
    return caches_[layer].Write(blocks, n, keys, values, stream());
  }
  const NspStatistics& nsp_statistics() const { return statistics_; }
  EventClock& stage_clock() { return stage_clock_; }
  const EventClock& stage_clock() const { return stage_clock_; }
  bool times_stages() const { return stage_clock_.is_on(); }
  void TimeStages(bool on) {
    if (on != stage_clock_.is_on()) recordings_.clear();  // with the events, or without
    stage_clock_.Turn(on);
  }

 private:
  CudaOps(Context context, Stream stream, StepUploads uploads)
      : context_(std::move(context)),
        stream_(std::move(stream)),
        uploads_(std::move(uploads)),
        stage_clock_(stream_.get()) {}

  // A kind of step: noted when the first comes, recorded when the second does.
  struct Recording {
    struct Destroy {
      void operator()(cudaGraphExec_t made) const { cudaGraphExecDestroy(made); }
    };
    StepInputs inputs;
    std::unique_ptr<CUgraphExec_st, Destroy> graph;
    Tensor logits;             // not their memory: a replay writes it anew
    std::vector<Stage> marks;  // of the clock's events in the graph
  };
  static constexpr size_t kMaxRecordings = 32;

  // Launches unless something has failed before; keeps what fails.
  template <typename Launch>
  void Run(const char* what, Launch launch) {
    if (failure_) failure_ = Check(launch(), what);
  }
  // Null for a step that is the first of its kind, or whose launches differ each time.
  Recording* FindRecording(const Inputs& inputs);
  void BeginRecording();
  void EndRecording(const Tensor& logits, Recording& recording);
  // Null after a failure, which is kept: nothing is launched on it then.
  std::shared_ptr<std::byte> NewBuffer(int64_t num_bytes);
  Tensor NewFloats(int64_t rows, int64_t width);
  Tensor NewSplit(int64_t rows, int64_t width);
  // What is yet to be added to x, which counts as done.
  static Addend TakePending(const Tensor& x);
  // Queries as attention takes them; keys and values go to the cache.
  std::shared_ptr<std::byte> PrepareHeads(const KvPlanes& cache, int num_heads,
                                          const Inputs& inputs, const Tensor& query,
                                          const Tensor& key, const Tensor& value,
                                          std::span<int32_t> tickets);
  int SharedChunksOf(const AttentionTiles& tiles, int num_kv_heads) const;
  void Product(const char* what, GemmArgs args, Epilogue epilogue);
  void NewPlan(int64_t num_tokens, int experts_per_token, int num_experts, Plan& plan);
  static void FollowPlan(const Plan& plan, GemmArgs& gate_up, GemmArgs& down);
  std::shared_ptr<std::byte> PackRows(const Plan& plan, GemmArgs& product);
  // gate and up, the activation, down: of rows that go to experts by `plan`, or of all to one.
  void RunMlp(const Tensor& x, const DeviceMlp& mlp, const GatedMlpSpec& spec, const Plan* plan,
              void* out, int64_t out_stride);
  Status FetchFloats(const float* data, int64_t rows, int64_t width, int64_t stride,
                     std::span<float> values);
  Status FetchRows(const Tensor& x, std::span<float> values);

  Context context_;
  Stream stream_;
  StepUploads uploads_;
  std::shared_ptr<BufferPool> buffers_ = std::make_shared<BufferPool>();
  std::vector<KvCache> caches_;      // of the layers
  std::list<Recording> recordings_;  // the latest last
  DeviceMemory rope_;                // inv_freq [D/2], then axes [D/2]
  DeviceMemory nsp_rows_;            // [N]
  PinnedMemory fetched_rows_;        // the same, on its way to the statistics
  PinnedMemory fetched_;             // results on their way to the host
  bool has_axes_ = false;
  bool is_counted_ = true;  // the step is not one repeated
  Status failure_;          // of the step
  NspStatistics statistics_;
  EventClock stage_clock_;
};

}  // namespace expertile::cuda
