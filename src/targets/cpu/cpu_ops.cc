#include "targets/cpu/cpu_ops.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "targets/router.h"

namespace expertile::cpu {
namespace {

// One cache a layer: a layer's state is its mixer's.
Result<std::vector<KvCache>> CreateCaches(const DecoderSpec& spec,
                                          const CpuRowOps::Context& context) {
  std::vector<KvCache> caches;
  for (const LayerSpec& layer : spec.layers) {
    const AttentionSpec& attention = AttentionOf(layer);
    EXPERTILE_ASSIGN(KvCache cache,
                     KvCache::Create({context.options.num_kv_blocks(), attention.num_kv_heads,
                                      attention.head_dim, context.table->panel_columns,
                                      context.options.kv_format}));
    caches.push_back(std::move(cache));
  }
  return caches;
}

// The widest input of a product that is not an expert's.
int64_t MaxInputOf(const DecoderSpec& spec) {
  int64_t max_in = spec.hidden_size;
  for (const LayerSpec& layer : spec.layers) {
    const AttentionSpec& attention = AttentionOf(layer);
    max_in = std::max(max_in, attention.num_heads * attention.head_dim);
  }
  return max_in;
}

// The largest I of the MLPs that every token passes; 0 without any.
int64_t LargestMlpOf(const DecoderSpec& spec) {
  int64_t largest = 0;
  for (const LayerSpec& layer : spec.layers) {
    if (const auto* mlp = std::get_if<MlpSpec>(&layer.mlp)) {
      largest = std::max(largest, mlp->intermediate_size);
    } else if (const auto& shared = std::get<MoeSpec>(layer.mlp).shared) {
      largest = std::max(largest, shared->intermediate_size);
    }
  }
  return largest;
}

}  // namespace

Result<CpuOps> CpuOps::Create(const DecoderSpec& spec, const Context& context) {
  const TargetOptions& options = context.options;
  const KernelTable& table = *context.table;
  const int num_workers = context.pool->size();
  const ComputeType type = ComputeTypeOf(options);
  const int64_t H = spec.hidden_size;
  const int64_t max_rows = options.max_step_tokens;
  EXPERTILE_ASSIGN(std::vector<KvCache> caches, CreateCaches(spec, context));
  const KvCache& largest = *std::ranges::max_element(
      caches, {}, [](const KvCache& cache) { return cache.shape().head_dim; });
  EXPERTILE_ASSIGN(BlockAttention attention,
                   BlockAttention::Create(table, type, largest, num_workers));
  EXPERTILE_ASSIGN(CpuRowOps rows, CpuRowOps::Create(context, max_rows, MaxInputOf(spec)));
  const ComputeType exact =
      type == ComputeType::kFloat32 ? ComputeType::kFloat32 : ComputeType::kExact;
  EXPERTILE_ASSIGN(cpu::Linear exact_product,
                   cpu::Linear::Create(table, exact, max_rows, H, num_workers));
  EXPERTILE_ASSIGN(MoeBlock moe, MoeBlock::Create(table, type,
                                                  {max_rows, spec.moe.router.experts_per_token, H,
                                                   spec.moe.intermediate_size,
                                                   options.blocking.packed_chunk_size},
                                                  context.placement, num_workers));
  EXPERTILE_ASSIGN(
      cpu::GatedMlp mlp,
      cpu::GatedMlp::Create(table, type, {max_rows, H, LargestMlpOf(spec)}, num_workers));
  return CpuOps(std::move(rows), std::move(caches), std::move(attention), std::move(exact_product),
                std::move(moe), std::move(mlp));
}

CpuOps::CpuOps(CpuRowOps rows, std::vector<KvCache> caches, BlockAttention attention,
               cpu::Linear exact_product, MoeBlock moe, cpu::GatedMlp mlp)
    : CpuRowOps(std::move(rows)),
      caches_(std::move(caches)),
      attention_(std::move(attention)),
      exact_product_(std::move(exact_product)),
      moe_(std::move(moe)),
      mlp_(std::move(mlp)) {
  statistics_.rows.resize(context_.options.blocking.num_nsp);
  statistics_.busy_seconds.resize(context_.options.blocking.num_nsp);
}

Tensor CpuOps::Embed(const Embedding& table, const Inputs& inputs) {
  Tensor hidden = NewTensor(inputs.num_tokens(), table.cols);
  ForRows(hidden.rows(), [&](int64_t t) { table.ReadRow(inputs.token_ids[t], hidden.Row(t)); });
  return hidden;
}

Tensor CpuOps::PlaceImages(Tensor x, const Inputs& inputs) {
  const ImageRows& images = inputs.images;
  ForRows(static_cast<int64_t>(images.rows.size()), [&](int64_t i) {
    const auto row = images.embeddings.subspan(i * x.width(), x.width());
    std::ranges::copy(row, x.Row(images.rows[i]).begin());
  });
  return x;
}

Tensor CpuOps::AddDeepstack(Tensor x, int layer, const Inputs& inputs) {
  const ImageRows& images = inputs.images;
  if (layer >= static_cast<int>(images.deepstack.size())) return x;
  ForRows(static_cast<int64_t>(images.rows.size()), [&](int64_t i) {
    const auto sum = x.Row(images.rows[i]);
    const auto added = images.deepstack[layer].subspan(i * x.width(), x.width());
    for (size_t j = 0; j < sum.size(); ++j) sum[j] += added[j];
  });
  return x;
}

Tensor CpuOps::WantedRows(const Tensor& x, const Inputs& inputs) {
  Tensor y = NewTensor(static_cast<int64_t>(inputs.logit_rows.size()), x.width());
  ForRows(y.rows(), [&](int64_t row) {
    std::ranges::copy(x.Row(inputs.logit_rows[row]), y.Row(row).begin());
  });
  return y;
}

std::array<Tensor, 3> CpuOps::MultiplyThree(const Tensor& x, const Linear& query, const Linear& key,
                                            const Linear& value) {
  std::array<Tensor, 3> products = {NewTensor(x.rows(), query.out()),
                                    NewTensor(x.rows(), key.out()),
                                    NewTensor(x.rows(), value.out())};
  const LinearProduct parts[] = {
      {&query, products[0].data()}, {&key, products[1].data()}, {&value, products[2].data()}};
  Status outcome = product_.Run(x.data(), x.rows(), parts, *context_.pool);
  if (outcome) return products;
  for (Tensor& product : products) product = Finished(outcome, std::move(product));
  return products;
}

Tensor CpuOps::RmsNorm(const Tensor& x, const Vector& weight, float epsilon) {
  Tensor y = NewTensor(x.rows(), x.width());
  const RowKernels& rows = context_.table->rows;
  const size_t size = weight.size();
  ForRows(x.rows(), [&](int64_t t) {
    for (size_t start = 0; start < x.Row(t).size(); start += size) {
      rows.rms_norm(x.Row(t).data() + start, weight.data(), size, epsilon, y.Row(t).data() + start);
    }
  });
  return y;
}

Tensor CpuOps::Attention(int layer, const AttentionSpec& spec, const Inputs& inputs,
                         const Tensor& query, const Tensor& key, const Tensor& value,
                         const Vector* sinks) {
  KvCache& cache = caches_[layer];
  WriteKeysAndValues(inputs, key, value, cache);
  Tensor mixed = NewTensor(query.rows(), query.width());
  const AttentionPass pass{.window = spec.window,
                           .scale = spec.scale,
                           .sinks = sinks != nullptr ? sinks->data() : nullptr,
                           .query = query.data(),
                           .num_heads = spec.num_heads,
                           .sequences = inputs.sequences,
                           .positions = inputs.positions,
                           .block_tables = inputs.block_tables,
                           .mixed = mixed.data()};
  attention_.Run(pass, cache, *context_.pool);
  return mixed;
}

// The rows of a sequence that lie in one block, head by head: no two pieces write to the same.
void CpuOps::WriteKeysAndValues(const Inputs& inputs, const Tensor& key, const Tensor& value,
                                KvCache& cache) {
  const StageClock::Scope time(stage_clock_, Stage::kKvWrite);
  const KvShape& shape = cache.shape();
  const int64_t D = shape.head_dim;
  const auto block_of = [&](int64_t t) { return inputs.positions[t] / kKvBlockSize; };
  block_starts_.clear();
  for (int64_t t = 0; t < key.rows(); ++t) {
    const bool is_same =
        t > 0 && inputs.sequences[t] == inputs.sequences[t - 1] && block_of(t) == block_of(t - 1);
    if (!is_same) block_starts_.push_back(t);
  }
  block_starts_.push_back(key.rows());
  const auto num_pieces = static_cast<int64_t>(block_starts_.size() - 1) * shape.num_kv_heads;
  context_.pool->ForEach(num_pieces, [&](int64_t piece, int) {
    const int64_t head = piece % shape.num_kv_heads;
    const int64_t run = piece / shape.num_kv_heads;
    for (int64_t t = block_starts_[run]; t < block_starts_[run + 1]; ++t) {
      cache.Write(inputs.block_tables[inputs.sequences[t]], static_cast<int>(head),
                  inputs.positions[t], key.Row(t).subspan(head * D, D),
                  value.Row(t).subspan(head * D, D));
    }
  });
}

CpuOps::Routing CpuOps::Route(const Tensor& x, const Linear& router, const RouterSpec& spec,
                              const Inputs&) {
  Tensor logits = NewTensor(x.rows(), router.out());  // [T,E]
  const int64_t K = spec.experts_per_token;
  Routing routing{spec.experts_per_token, std::vector<int32_t>(x.rows() * K),
                  std::vector<float>(x.rows() * K)};
  const auto select = [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      SelectExperts(logits.Row(t), spec, std::span(routing.ids).subspan(t * K, K),
                    std::span(routing.weights).subspan(t * K, K));
    }
  };
  const LinearProduct part{&router, logits.data()};
  Status outcome = exact_product_.RunByRows(x.data(), x.rows(), part, *context_.pool, select);
  if (!outcome) {
    logits = Finished(std::move(outcome), std::move(logits));
    select(0, x.rows());
  }
  return routing;
}

Tensor CpuOps::Moe(const Tensor& x, const Routing& routing, const Experts& experts,
                   const GatedMlpSpec& spec) {
  Tensor y = NewTensor(x.rows(), x.width());
  const RoutedTokens tokens{x.data(), routing.ids, routing.weights, x.rows(),
                            routing.experts_per_token};
  MoeStats stats;
  Status outcome = moe_.Run(tokens, experts, spec, *context_.pool, y.data(), &stats);
  y = Finished(std::move(outcome), std::move(y));
  stage_clock_.Add(Stage::kExperts, -stats.combine_seconds);
  stage_clock_.Add(Stage::kCombine, stats.combine_seconds);
  if (is_repeated_) return y;
  for (size_t n = 0; n < stats.nsp.size(); ++n) {
    statistics_.rows[n] += stats.nsp[n].num_rows;
    statistics_.busy_seconds[n] += stats.nsp[n].busy_seconds;
  }
  if (!stats.expert_busy_seconds.empty()) {
    statistics_.expert_seconds.resize(caches_.size());
    std::vector<double>& seconds = statistics_.expert_seconds[layer_];
    seconds.resize(stats.expert_busy_seconds.size());
    for (size_t e = 0; e < seconds.size(); ++e) seconds[e] += stats.expert_busy_seconds[e];
  }
  statistics_.busiest_worker_seconds += stats.workers().busiest_seconds;
  statistics_.mean_worker_seconds += stats.workers().mean_seconds;
  if (stats.cut) statistics_.cut = *stats.cut;
  return y;
}

Tensor CpuOps::GatedMlp(const Tensor& x, const Mlp& mlp, const GatedMlpSpec& spec) {
  Tensor y = NewTensor(x.rows(), x.width());
  Status outcome = mlp_.Run(x.data(), x.rows(), mlp, spec, *context_.pool, y.data());
  return Finished(std::move(outcome), std::move(y));
}

void CpuOps::TraceMoe(const Inputs& inputs, int layer, const Tensor& x, const Routing& routing,
                      const Tensor& y) const {
  if (inputs.trace == nullptr) return;
  inputs.trace->Record(layer, x.values(), routing.ids, routing.weights, y.values());
}

Status CpuOps::ReadKv(int layer, BlockTable blocks, int64_t n, std::span<float> keys,
                      std::span<float> values) const {
  const KvShape& shape = caches_[layer].shape();
  for (int64_t row = 0; row < shape.num_kv_heads * n; ++row) {
    const auto of_row = [&](std::span<float> rows) {
      return rows.subspan(row * shape.head_dim, shape.head_dim);
    };
    caches_[layer].Read(blocks, static_cast<int>(row / n), row % n, of_row(keys), of_row(values));
  }
  return {};
}

Status CpuOps::WriteKv(int layer, BlockTable blocks, int64_t n, std::span<const float> keys,
                       std::span<const float> values) {
  const KvShape& shape = caches_[layer].shape();
  for (int64_t row = 0; row < shape.num_kv_heads * n; ++row) {
    const auto of_row = [&](std::span<const float> rows) {
      return rows.subspan(row * shape.head_dim, shape.head_dim);
    };
    caches_[layer].Write(blocks, static_cast<int>(row / n), row % n, of_row(keys), of_row(values));
  }
  return {};
}

// The gate decides as a router does: in float32, whatever the arithmetic.
Tensor CpuOps::AddGated(Tensor x, const Tensor& y, const Tensor& z, const Linear& gate) {
  Tensor logits = NewTensor(z.rows(), 1);
  const LinearProduct part{&gate, logits.data()};
  Status outcome = exact_product_.Run(z.data(), z.rows(), {&part, 1}, *context_.pool);
  logits = Finished(std::move(outcome), std::move(logits));
  ForRows(x.rows(), [&](int64_t t) {
    const float weight = 1.0f / (1.0f + std::exp(-logits.Row(t)[0]));
    const auto sum = x.Row(t);
    const auto added = y.Row(t);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += added[i] * weight;
  });
  return x;
}

}  // namespace expertile::cpu
