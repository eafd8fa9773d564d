#include "targets/cuda/cuda_ops.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "targets/cuda/weight_packing.h"

namespace expertile::cuda {
namespace {

constexpr int64_t kFloatBytes = sizeof(float);
// What is fetched goes over pinned memory up to here: past it the driver's own pieces will do.
constexpr int64_t kMaxPinnedBytes = int64_t{8} << 20;

int64_t PaddedWidth(int64_t width) { return RoundUp(width, kColumnsPerAtom); }

// What the layers' activations take at most, roughly: a step that needs more allocates it.
int64_t ActivationBytes(const DecoderSpec& spec, int64_t max_rows) {
  const int64_t H = RoundUp(spec.hidden_size, kTileDepth);
  int64_t attention = 0;
  for (const LayerSpec& layer : spec.layers) {
    const AttentionSpec& a = AttentionOf(layer);
    const int64_t heads = a.num_heads + 2 * a.num_kv_heads;
    const int64_t padded = std::max<int64_t>(64, a.head_dim);
    attention = std::max(attention, 2 * (heads * a.head_dim + 2 * a.num_heads * padded));
  }
  const int64_t K = spec.moe.router.experts_per_token;
  const int64_t I = RoundUp(spec.moe.intermediate_size, kTileDepth);
  const bool are_packed =
      PacksRows({128, 256}, true, max_rows * K, spec.moe.num_experts, GateUpColumns(I), 0);
  const int64_t moe = 2 * K * (I + (are_packed ? 2 : 1) * H);
  const int64_t rows = 3 * kFloatBytes * H + 2 * 2 * H;  // hidden, branches, normed
  return max_rows * (rows + std::max(attention, moe)) + (int64_t{16} << 20);
}

Status CheckSpec(const DecoderSpec& spec) {
  if (spec.moe.num_experts > kMaxExperts) {
    return Unsupported("cuda: {} experts, at most {} are known", spec.moe.num_experts, kMaxExperts);
  }
  if (spec.moe.router.experts_per_token > kMaxExpertsPerToken) {
    return Unsupported("cuda: {} experts a token, at most {} are known",
                       spec.moe.router.experts_per_token, kMaxExpertsPerToken);
  }
  return {};
}

int64_t CacheBytes(const DecoderSpec& spec, int64_t num_blocks) {
  int64_t num_bytes = 0;
  for (const LayerSpec& layer : spec.layers) {
    const AttentionSpec& attention = AttentionOf(layer);
    num_bytes += KvCache::BytesOf(num_blocks, attention.num_kv_heads, attention.head_dim);
  }
  return num_bytes;
}

}  // namespace

Result<CudaOps> CudaOps::Create(const DecoderSpec& spec, const Context& context) {
  const TargetOptions& options = context.options;
  EXPERTILE_RETURN_IF_ERROR(CheckSpec(spec));
  const int64_t activations = ActivationBytes(spec, options.max_step_tokens);
  EXPERTILE_RETURN_IF_ERROR(
      CheckFreeMemory(CacheBytes(spec, options.num_kv_blocks()) + activations,
                      fmt::format("keys and values of {} blocks and the activations of {} rows",
                                  options.num_kv_blocks(), options.max_step_tokens)));
  std::set<int> groups;
  for (const LayerSpec& layer : spec.layers) {
    groups.insert(AttentionOf(layer).num_heads / AttentionOf(layer).num_kv_heads);
  }
  EXPERTILE_ASSIGN(Stream stream, Stream::Create());
  EXPERTILE_ASSIGN(StepUploads uploads, StepUploads::Create({groups.begin(), groups.end()}));
  CudaOps ops(context, std::move(stream), std::move(uploads));
  EXPERTILE_RETURN_IF_ERROR(ops.buffers_->Reserve(activations, "activations"));
  for (const LayerSpec& layer : spec.layers) {
    const AttentionSpec& attention = AttentionOf(layer);
    EXPERTILE_ASSIGN(KvCache cache, KvCache::Create(options.num_kv_blocks(), attention.num_kv_heads,
                                                    attention.head_dim, ops.stream()));
    ops.caches_.push_back(std::move(cache));
  }
  const auto half = static_cast<int64_t>(spec.rope.inv_freq.size());
  EXPERTILE_ASSIGN(ops.rope_, DeviceMemory::Allocate(2 * half * kFloatBytes, "RoPE"));
  // On the session's stream: a copy outside it may still be under way when it returns.
  const auto copy = [&](std::byte* target, const auto& values) {
    return Check(cudaMemcpyAsync(target, values.data(), half * sizeof(values[0]),
                                 cudaMemcpyHostToDevice, ops.stream()),
                 "RoPE");
  };
  EXPERTILE_RETURN_IF_ERROR(copy(ops.rope_.data(), spec.rope.inv_freq));
  ops.has_axes_ = !spec.rope.axes.empty();
  if (ops.has_axes_) {
    EXPERTILE_RETURN_IF_ERROR(copy(ops.rope_.data() + half * kFloatBytes, spec.rope.axes));
  }
  const int64_t num_nsp = options.blocking.num_nsp;
  const auto counts = num_nsp * static_cast<int64_t>(sizeof(unsigned long long));
  EXPERTILE_ASSIGN(ops.nsp_rows_, DeviceMemory::Allocate(counts, "the NSPs' row counts"));
  EXPERTILE_RETURN_IF_ERROR(
      Check(cudaMemsetAsync(ops.nsp_rows_.data(), 0, counts, ops.stream()), "row counts"));
  EXPERTILE_ASSIGN(ops.fetched_rows_, PinnedMemory::Allocate(counts));
  EXPERTILE_RETURN_IF_ERROR(ops.stream_.Synchronize("session"));
  ops.statistics_.rows.resize(num_nsp);
  ops.statistics_.busy_seconds.resize(num_nsp);
  return ops;
}

std::shared_ptr<std::byte> CudaOps::NewBuffer(int64_t num_bytes) {
  if (!failure_) return nullptr;
  auto taken = buffers_->Take(num_bytes);
  if (!taken) {
    failure_ = tl::unexpected<Error>(std::move(taken).error());
    return nullptr;
  }
  return {*taken, [pool = buffers_](std::byte* data) { pool->Give(data); }};
}

Tensor CudaOps::NewFloats(int64_t rows, int64_t width) {
  const int64_t stride = PaddedWidth(width);
  return {.data = NewBuffer(rows * stride * kFloatBytes),
          .form = Tensor::Form::kFloats,
          .rows = rows,
          .width = width,
          .stride = stride};
}

Tensor CudaOps::NewSplit(int64_t rows, int64_t width) {
  const int64_t stride = 2 * RoundUp(width, kTileDepth);
  return {.data = NewBuffer(rows * stride * 2),
          .form = Tensor::Form::kSplit,
          .rows = rows,
          .width = width,
          .stride = stride};
}

std::string CudaOps::BlockOf(const Weight& weight) {
  const bool is_mlp = weight.role == WeightRole::kMlp || weight.role == WeightRole::kExperts;
  return is_mlp ? PartName(weight.name, /*is_down=*/false) : weight.name;
}

Result<StepInputs> CudaOps::Begin(const Step& step) {
  failure_ = {};
  is_counted_ = step.finite == nullptr;
  return uploads_.Upload(step, stream());
}

CudaOps::Recording* CudaOps::FindRecording(const Inputs& inputs) {
  if (!inputs.IsDeviceOnly()) return nullptr;
  const auto found = std::ranges::find_if(
      recordings_, [&](const Recording& recording) { return recording.inputs.LaunchesAs(inputs); });
  if (found != recordings_.end()) return &*found;
  if (recordings_.size() == kMaxRecordings) recordings_.pop_front();
  recordings_.push_back({inputs, nullptr, {}, {}});
  return nullptr;
}

void CudaOps::BeginRecording() {
  Run("graph", [&] { return cudaStreamBeginCapture(stream(), cudaStreamCaptureModeRelaxed); });
}

void CudaOps::EndRecording(const Tensor& logits, Recording& recording) {
  cudaGraph_t graph = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(stream(), &graph);
  Run("graph", [&] { return ended; });
  cudaGraphExec_t made = nullptr;
  Run("graph", [&] { return cudaGraphInstantiate(&made, graph, 0); });
  if (graph != nullptr) cudaGraphDestroy(graph);
  recording.graph.reset(made);
  recording.logits = logits;
  recording.logits.data = {std::shared_ptr<std::byte>(), logits.data.get()};
}

Tensor CudaOps::Embed(const Embedding& table, const Inputs& inputs) {
  Tensor y = NewFloats(inputs.num_tokens, table.cols);
  Run("embedding", [&] {
    return LaunchEmbed(table.data, table.dtype, inputs.token_ids, y.rows, y.width, y.floats(),
                       stream());
  });
  return y;
}

Rotation CudaOps::RotationOf(const RopeSpec& rope, const Inputs& inputs) {
  const auto half = static_cast<int64_t>(rope.inv_freq.size());
  const int64_t size = inputs.num_tokens * half;
  Rotation rotation{NewBuffer(2 * size * kFloatBytes), nullptr, nullptr};
  auto* cos = reinterpret_cast<float*>(rotation.data.get());
  rotation.cos = cos;
  rotation.sin = cos + size;
  const auto* inv_freq = rope_.As<const float>();
  const auto* axes = has_axes_ ? rope_.As<const int32_t>() + half : nullptr;
  Run("RoPE", [&] {
    return LaunchRotation(inputs.rope_positions, axes, inv_freq, inputs.num_tokens,
                          static_cast<int>(half), rope.table_scale, cos, cos + size, stream());
  });
  return rotation;
}

Addend CudaOps::TakePending(const Tensor& x) {
  if (x.pending == nullptr || x.pending->is_done) return {};
  x.pending->is_done = true;
  return x.pending->y.AddendOf(x.pending->scale);
}

Tensor CudaOps::Settled(const Tensor& x) {
  const bool is_settled =
      x.form != Tensor::Form::kExperts && (x.pending == nullptr || x.pending->is_done);
  if (is_settled) return x;
  const EventClock::Scope time(stage_clock_, Stage::kResidual);
  if (x.form == Tensor::Form::kExperts) {
    Tensor y = NewFloats(x.rows, x.width);
    Run("sum of experts", [&] {
      return LaunchAdd(y.floats(), x.AddendOf(1.0f), /*replaces=*/true, x.rows, x.width, stream());
    });
    return y;
  }
  const Addend addend = TakePending(x);
  Run("sum",
      [&] { return LaunchAdd(x.floats(), addend, /*replaces=*/false, x.rows, x.width, stream()); });
  return x;
}

Tensor CudaOps::PlaceImages(Tensor x, const Inputs& inputs) {
  const auto count = static_cast<int64_t>(inputs.images.rows.size());
  if (count == 0) return x;
  x = Settled(x);
  const Tensor rows = FromHost(inputs.images.embeddings, x.width);
  Run("images", [&] {
    return LaunchPlaceRows(x.floats(), inputs.image_rows, rows.floats(), count, x.width,
                           /*adds=*/false, stream());
  });
  return x;
}

Tensor CudaOps::AddDeepstack(Tensor x, int layer, const Inputs& inputs) {
  const ImageRows& images = inputs.images;
  if (layer >= static_cast<int>(images.deepstack.size()) || images.rows.empty()) return x;
  x = Settled(x);
  const Tensor rows = FromHost(images.deepstack[layer], x.width);
  Run("images", [&] {
    return LaunchPlaceRows(x.floats(), inputs.image_rows, rows.floats(),
                           static_cast<int64_t>(images.rows.size()), x.width, /*adds=*/true,
                           stream());
  });
  return x;
}

Tensor CudaOps::WantedRows(const Tensor& hidden, const Inputs& inputs) {
  const Tensor x = Settled(hidden);
  Tensor y = NewFloats(inputs.num_logit_rows, x.width);
  Run("wanted rows", [&] {
    return LaunchGatherRows(x.floats(), inputs.logit_rows, y.rows, y.width, y.floats(), stream());
  });
  return y;
}

Tensor CudaOps::Scale(Tensor x, float scale) {
  if (scale == 1.0f) return x;
  x = Settled(x);
  Run("scale", [&] { return LaunchScale(x.floats(), scale, x.rows * x.stride, stream()); });
  return x;
}

Tensor CudaOps::AddScaled(Tensor x, const Tensor& y, float scale) {
  x = Settled(x);
  const Tensor addend = y.form == Tensor::Form::kFloats ? Settled(y) : y;
  x.pending = std::make_shared<PendingSum>(PendingSum{addend, scale});
  return x;
}

void CudaOps::Product(const char* what, GemmArgs args, Epilogue epilogue) {
  if (args.num_rows == 0) return;
  const int processors = context_.device.num_processors;
  int64_t columns = 0;
  for (int i = 0; i < args.num_weights; ++i) columns += args.weights[i].columns;
  Run(what, [&] {
    return LaunchGemm(args, ChooseTileShape(args.num_rows, 1, columns, processors), epilogue,
                      processors, stream());
  });
}

Tensor CudaOps::Multiply(const Tensor& x, const Linear& linear) {
  Tensor y = NewFloats(x.rows, linear.out);
  const bool is_split = x.form == Tensor::Form::kSplit;
  const auto tiles = static_cast<int>(RoundUp(linear.in, kTileDepth) / kTileDepth);
  Product("product",
          {.rows = x.bfloats(),
           .row_stride = x.stride,
           .depth_tiles = linear.parts * tiles,
           .wrap_tiles = is_split ? 2 * tiles : tiles,
           .weights = {linear.tiles},
           .out = y.floats(),
           .out_stride = y.stride,
           .num_rows = x.rows,
           .most_rows = x.rows},
          Epilogue::kFloat32);
  return y;
}

std::array<Tensor, 3> CudaOps::MultiplyThree(const Tensor& x, const Linear& query,
                                             const Linear& key, const Linear& value) {
  const DeviceLinear* linears[] = {&query, &key, &value};
  const auto tiles = static_cast<int>(RoundUp(query.in, kTileDepth) / kTileDepth);
  GemmArgs args{.rows = x.bfloats(),
                .row_stride = x.stride,
                .depth_tiles = tiles,
                .wrap_tiles = tiles,
                .num_weights = 3,
                .num_rows = x.rows,
                .most_rows = x.rows};
  for (int i = 0; i < 3; ++i) {
    args.weights[i] = linears[i]->tiles;
    args.out_column[i] = static_cast<int>(args.out_stride);
    args.out_stride += linears[i]->tiles.columns;
  }
  const auto data = NewBuffer(x.rows * args.out_stride * 2);
  args.out = data.get();
  Product("query, key and value", args, Epilogue::kBFloat16);
  std::array<Tensor, 3> parts;
  for (int i = 0; i < 3; ++i) {
    parts[i] = {.data = data,
                .form = Tensor::Form::kHeads,
                .rows = x.rows,
                .width = linears[i]->out,
                .stride = args.out_stride,
                .column = args.out_column[i]};
  }
  return parts;
}

Tensor CudaOps::RmsNorm(const Tensor& x, const Vector& weight, float epsilon) {
  if (x.form == Tensor::Form::kHeads) {
    Tensor y = x;
    y.norm = &weight;
    y.epsilon = epsilon;
    return y;
  }
  Tensor y = NewSplit(x.rows, x.width);
  const Addend addend = TakePending(x);
  Run("norm",
      [&] { return LaunchRmsNorm(x.floats(), addend, weight.data, epsilon, y.split(), stream()); });
  return y;
}

Tensor CudaOps::Rotate(Tensor x, const Rotation& rotation) {
  x.rotation = rotation;
  return x;
}

Tensor CudaOps::AddGated(Tensor x, const Tensor& y, const Tensor& z, const Linear& gate) {
  x = Settled(x);
  const Tensor logits = Multiply(z, gate);
  Run("gated sum", [&] {
    return LaunchAddGated(x.floats(), y.floats(), logits.floats(), logits.stride, x.rows, x.width,
                          stream());
  });
  return x;
}

Tensor CudaOps::FromHost(std::span<const float> values, int64_t width) {
  Tensor x = NewFloats(static_cast<int64_t>(values.size()) / width, width);
  Run("copy to the device", [&] {
    return cudaMemcpy2DAsync(x.floats(), x.stride * kFloatBytes, values.data(), width * kFloatBytes,
                             width * kFloatBytes, x.rows, cudaMemcpyHostToDevice, stream());
  });
  return x;
}

Status CudaOps::FetchFloats(const float* data, int64_t rows, int64_t width, int64_t stride,
                            std::span<float> values) {
  const int64_t num_bytes = rows * width * kFloatBytes;
  const bool is_pinned = num_bytes <= kMaxPinnedBytes;
  if (is_pinned && fetched_.size() < num_bytes) {
    EXPERTILE_ASSIGN(fetched_, PinnedMemory::Allocate(num_bytes));
  }
  void* target = is_pinned ? static_cast<void*>(fetched_.data()) : values.data();
  if (rows > 0) {
    EXPERTILE_RETURN_IF_ERROR(
        Check(cudaMemcpy2DAsync(target, width * kFloatBytes, data, stride * kFloatBytes,
                                width * kFloatBytes, rows, cudaMemcpyDeviceToHost, stream()),
              "copy to the host"));
  }
  EXPERTILE_RETURN_IF_ERROR(stream_.Synchronize("step"));
  if (is_pinned && num_bytes > 0) std::memcpy(values.data(), target, num_bytes);
  return {};
}

Status CudaOps::FetchRows(const Tensor& tensor, std::span<float> values) {
  const Tensor x = Settled(tensor);
  EXPERTILE_RETURN_IF_ERROR(failure_);
  if (x.form == Tensor::Form::kFloats) {
    return FetchFloats(x.floats(), x.rows, x.width, x.stride, values);
  }
  const Tensor joined = NewFloats(x.rows, x.width);
  Run("copy", [&] { return LaunchJoin(x.split(), joined.floats(), stream()); });
  EXPERTILE_RETURN_IF_ERROR(failure_);
  return FetchFloats(joined.floats(), x.rows, x.width, joined.stride, values);
}

Status CudaOps::Fetch(const Tensor& x, std::span<float> values) {
  EXPERTILE_RETURN_IF_ERROR(failure_);
  const auto count = static_cast<int64_t>(statistics_.rows.size());
  const auto num_bytes = count * static_cast<int64_t>(sizeof(unsigned long long));
  if (count > 0) {
    EXPERTILE_RETURN_IF_ERROR(Check(cudaMemcpyAsync(fetched_rows_.data(), nsp_rows_.data(),
                                                    num_bytes, cudaMemcpyDeviceToHost, stream()),
                                    "copy to the host"));
  }
  EXPERTILE_RETURN_IF_ERROR(FetchRows(x, values));
  std::copy_n(reinterpret_cast<const unsigned long long*>(fetched_rows_.data()), count,
              statistics_.rows.begin());
  return {};
}

void CudaOps::TraceMoe(const Inputs& inputs, int layer, const Tensor& x, const Routing& routing,
                       const Tensor& y) {
  if (inputs.trace == nullptr || !failure_) return;
  std::vector<float> moe_in(x.rows * x.width);
  std::vector<float> moe_out(y.rows * y.width);
  std::vector<int32_t> ids(x.rows * routing.experts_per_token);
  std::vector<float> weights(ids.size());
  Run("trace", [&] {
    return cudaMemcpyAsync(ids.data(), routing.ids.get(), ids.size() * sizeof(ids[0]),
                           cudaMemcpyDeviceToHost, stream());
  });
  Run("trace", [&] {
    return cudaMemcpyAsync(weights.data(), routing.weights.get(), weights.size() * kFloatBytes,
                           cudaMemcpyDeviceToHost, stream());
  });
  if (failure_) failure_ = FetchRows(x, moe_in);
  if (failure_) failure_ = FetchRows(y, moe_out);
  if (failure_) inputs.trace->Record(layer, moe_in, ids, weights, moe_out);
}

void CudaOps::TraceHidden(const Inputs& inputs, int layer, const Tensor& hidden) {
  if (inputs.finite == nullptr || !failure_) return;
  std::vector<float> rows(hidden.rows * hidden.width);
  failure_ = FetchRows(hidden, rows);
  if (failure_) inputs.finite->Record(layer, rows);
}

Status CudaOps::CopyBlock(int32_t from, int32_t to) {
  for (const KvCache& cache : caches_) {
    EXPERTILE_RETURN_IF_ERROR(cache.CopyBlock(from, to, stream()));
  }
  return {};
}

}  // namespace expertile::cuda
