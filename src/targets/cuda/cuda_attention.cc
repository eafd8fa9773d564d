// The CUDA target's attention: heads on their way to the cache, and the memory that its kernels
// need.
#include "targets/cuda/cuda_ops.h"

namespace expertile::cuda {
namespace {

constexpr int64_t kFloatBytes = sizeof(float);

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
                                                 const Tensor& key, const Tensor& value,
                                                 std::span<int32_t> tickets) {
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
                               .queries = reinterpret_cast<__nv_bfloat16*>(queries.get()),
                               .tickets = tickets.data(),
                               .num_tickets = static_cast<int64_t>(tickets.size())},
                              stream());
  });
  return queries;
}

Tensor CudaOps::Attention(int layer, const AttentionSpec& spec, const Inputs& inputs,
                          const Tensor& query, const Tensor& key, const Tensor& value,
                          const Vector* sinks) {
  const KvPlanes& cache = caches_[layer].planes();
  const AttentionTiles& tiles = inputs.tiles.at(spec.num_heads / spec.num_kv_heads);
  const int shared_chunks = SharedChunksOf(tiles, spec.num_kv_heads);
  const auto max_blocks =
      static_cast<int>(RoundUp(context_.options.ctx_len, kKeysPerBlock) / kKeysPerBlock);
  // By attention_few_rows.cu, which counts a tile's chunks that are done.
  const bool takes_few = tiles.are_few && tiles.count <= MaxFewTiles(cache) &&
                         (shared_chunks > 0 || max_blocks <= kBlocksPerChunk);
  const int64_t num_tickets = takes_few ? NumTickets(tiles.count, cache) : 0;
  std::shared_ptr<std::byte> tickets;
  if (takes_few) tickets = NewBuffer(num_tickets * static_cast<int64_t>(sizeof(int32_t)));
  auto* first_ticket = reinterpret_cast<int32_t*>(tickets.get());
  const auto queries = PrepareHeads(cache, spec.num_heads, inputs, query, key, value,
                                    std::span(first_ticket, static_cast<size_t>(num_tickets)));
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
                     .shared_chunks = shared_chunks,
                     .tickets = first_ticket,
                     .max_blocks = max_blocks};
  const auto partials =
      NewBuffer(PartialFloats(tiles.count, cache, args.shared_chunks) * kFloatBytes);
  args.partials = reinterpret_cast<float*>(partials.get());
  Run("attention", [&] { return LaunchAttention(args, stream()); });
  return mixed;
}

}  // namespace expertile::cuda
