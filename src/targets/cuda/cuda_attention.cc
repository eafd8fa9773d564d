// The CUDA target's attention: heads on their way to the cache, and the memory that its kernels
// need.
#include "targets/cuda/cuda_ops.h"

namespace expertile::cuda {
namespace {

constexpr int64_t kFloatBytes = sizeof(float);
// Scores of few rows' attention are kept up to here; beyond it they are made block by block.
constexpr int64_t kMaxScoreBytes = int64_t{64} << 20;

}  // namespace

// Few tiles share their chunks: those of the longest sequence that there can be, so that the launch
// is the same whatever its length.
int CudaOps::SharedChunksOf(const AttentionTiles& tiles, int num_kv_heads) const {
  const int64_t chunks = RoundUp(context_.options.ctx_len, kKeysPerChunk) / kKeysPerChunk;
  const bool are_few = 2 * tiles.count * num_kv_heads <= context_.device.num_processors;
  const bool is_narrow = tiles.pairs_per_tile == kPairsPerWarpgroup;
  return are_few && is_narrow && chunks > 1 ? static_cast<int>(chunks) : 0;
}

std::shared_ptr<std::byte> CudaOps::PrepareHeads(const KvPlanes& cache, int num_heads,
                                                 const Inputs& inputs, const Tensor& query,
                                                 const Tensor& key, const Tensor& value) {
  auto queries = NewBuffer(query.rows * num_heads * cache.padded_head_dim * 2);
  Run("heads", [&] {
    const EventClock::Scope time(stage_clock_, Stage::kKvWrite);
    return LaunchPrepareHeads({.heads = query.bfloats(),
                               .row_stride = query.stride,
                               .key_column = key.column,
                               .value_column = value.column,
                               .num_rows = query.rows,
                               .num_heads = num_heads,
                               .query_norm = query.norm != nullptr ? query.norm->data : nullptr,
                               .key_norm = key.norm != nullptr ? key.norm->data : nullptr,
                               .epsilon = query.epsilon,
                               .cos = query.rotation.cos,
                               .sin = query.rotation.sin,
                               .rows = inputs.rows,
                               .cache = cache,
                               .queries = reinterpret_cast<__nv_bfloat16*>(queries.get())},
                              stream());
  });
  return queries;
}

Tensor CudaOps::Attention(int layer, const AttentionSpec& spec, const Inputs& inputs,
                          const Tensor& query, const Tensor& key, const Tensor& value,
                          const Vector* sinks) {
  const KvPlanes& cache = caches_[layer].planes();
  const auto queries = PrepareHeads(cache, spec.num_heads, inputs, query, key, value);
  const int64_t width = spec.num_heads * spec.head_dim;
  Tensor mixed{.data = NewBuffer(query.rows * RoundUp(width, kTileDepth) * 2),
               .form = Tensor::Form::kHeads,
               .rows = query.rows,
               .width = width,
               .stride = RoundUp(width, kTileDepth)};
  if (mixed.stride != width) {
    Run("attention", [&] {
      return cudaMemsetAsync(mixed.data.get(), 0, mixed.rows * mixed.stride * 2, stream());
    });
  }
  const AttentionTiles& tiles = inputs.tiles.at(spec.num_heads / spec.num_kv_heads);
  AttentionArgs args{.queries = reinterpret_cast<__nv_bfloat16*>(queries.get()),
                     .num_heads = spec.num_heads,
                     .window = spec.window,
                     .scale = spec.scale,
                     .sinks = sinks != nullptr ? sinks->data : nullptr,
                     .rows = inputs.rows,
                     .cache = cache,
                     .tiles = reinterpret_cast<const AttentionTile*>(inputs.words + tiles.first),
                     .num_tiles = tiles.count,
                     .pairs_per_tile = tiles.pairs_per_tile,
                     .mixed = mixed.bfloats(),
                     .mixed_stride = mixed.stride,
                     .shared_chunks = SharedChunksOf(tiles, spec.num_kv_heads),
                     .max_blocks = static_cast<int>(
                         RoundUp(context_.options.ctx_len, kKeysPerBlock) / kKeysPerBlock)};
  const auto partials =
      NewBuffer(PartialFloats(tiles.count, cache, args.shared_chunks) * kFloatBytes);
  args.partials = reinterpret_cast<float*>(partials.get());
  const int64_t num_scores = ScoreFloats(tiles.count, cache, args.max_blocks);
  const bool keeps_scores = tiles.are_few && num_scores * kFloatBytes <= kMaxScoreBytes &&
                            (args.shared_chunks > 0 || args.max_blocks <= kBlocksPerChunk);
  std::shared_ptr<std::byte> scores;  // and the tickets after them
  if (keeps_scores) {
    scores = NewBuffer((num_scores + NumTickets(tiles.count, cache)) * kFloatBytes);
    args.scores = reinterpret_cast<float*>(scores.get());
    args.tickets = reinterpret_cast<int32_t*>(args.scores + num_scores);
  }
  Run("attention", [&] { return LaunchAttention(args, stream()); });
  return mixed;
}

}  // namespace expertile::cuda
