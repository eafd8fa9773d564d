#include "targets/cpu/cpu_ops.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "targets/router.h"

namespace expertile::cpu {
namespace {

// sum x^2 in float64, four interleaved sums.
double SquareSum(std::span<const float> x) {
  double sums[4] = {0.0, 0.0, 0.0, 0.0};
  for (size_t i = 0; i < x.size(); ++i) {
    sums[i % 4] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
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
  const AttentionSpec& heads = AttentionOf(spec.layers[0]);  // every layer's are alike
  const int64_t max_in = std::max(H, heads.num_heads * heads.head_dim);
  EXPERTILE_ASSIGN(
      KvCache cache,
      KvCache::Create({static_cast<int>(spec.layers.size()), options.batch_size, heads.num_kv_heads,
                       options.ctx_len, heads.head_dim, table.panel_columns, options.kv_format}));
  EXPERTILE_ASSIGN(BlockAttention attention, BlockAttention::Create(table, cache, num_workers));
  EXPERTILE_ASSIGN(CpuRowOps rows, CpuRowOps::Create(context, max_rows, max_in));
  EXPERTILE_ASSIGN(cpu::Linear exact_product,
                   cpu::Linear::Create(table, ComputeType::kFloat32, max_rows, H, num_workers));
  EXPERTILE_ASSIGN(MoeBlock moe, MoeBlock::Create(table, type,
                                                  {max_rows, spec.moe.router.experts_per_token, H,
                                                   spec.moe.intermediate_size,
                                                   options.blocking.packed_chunk_size},
                                                  context.placement, num_workers));
  EXPERTILE_ASSIGN(
      cpu::GatedMlp mlp,
      cpu::GatedMlp::Create(table, type, {max_rows, H, LargestMlpOf(spec)}, num_workers));
  return CpuOps(std::move(rows), std::move(cache), std::move(attention), std::move(exact_product),
                std::move(moe), std::move(mlp));
}

CpuOps::CpuOps(CpuRowOps rows, KvCache cache, BlockAttention attention, cpu::Linear exact_product,
               MoeBlock moe, cpu::GatedMlp mlp)
    : CpuRowOps(std::move(rows)),
      cache_(std::move(cache)),
      attention_(std::move(attention)),
      exact_product_(std::move(exact_product)),
      moe_(std::move(moe)),
      mlp_(std::move(mlp)) {
  statistics_.rows.resize(context_.options.blocking.num_nsp);
  statistics_.busy_seconds.resize(context_.options.blocking.num_nsp);
}

Tensor CpuOps::Embed(const Embedding& table) {
  Tensor hidden = NewTensor(step_->num_tokens(), table.cols);
  ForRows(hidden.rows(), [&](int64_t t) { table.ReadRow(step_->token_ids[t], hidden.Row(t)); });
  return hidden;
}

Tensor CpuOps::ReplaceRows(Tensor x, std::span<const int32_t> rows, const Tensor& y) {
  ForRows(y.rows(), [&](int64_t i) { std::ranges::copy(y.Row(i), x.Row(rows[i]).begin()); });
  return x;
}

Tensor CpuOps::AddToRows(Tensor x, std::span<const int32_t> rows, const Tensor& y) {
  ForRows(y.rows(), [&](int64_t i) {
    const auto sum = x.Row(rows[i]);
    const auto added = y.Row(i);
    for (size_t j = 0; j < sum.size(); ++j) sum[j] += added[j];
  });
  return x;
}

Tensor CpuOps::RmsNorm(const Tensor& x, const Vector& weight, float epsilon) {
  Tensor y = NewTensor(x.rows(), x.width());
  const size_t size = weight.size();
  ForRows(x.rows(), [&](int64_t t) {
    for (size_t start = 0; start < x.Row(t).size(); start += size) {
      const auto group = x.Row(t).subspan(start, size);
      const auto normed = y.Row(t).subspan(start, size);
      const double mean_square = SquareSum(group) / static_cast<double>(size);
      const auto inverse = static_cast<float>(1.0 / std::sqrt(mean_square + epsilon));
      for (size_t i = 0; i < size; ++i) normed[i] = group[i] * inverse * weight[i];
    }
  });
  return y;
}

Tensor CpuOps::Attention(const AttentionArgs& args, const Tensor& query, const Tensor& key,
                         const Tensor& value, const Vector* sinks) {
  const KvShape& shape = cache_.shape();
  const int64_t D = shape.head_dim;
  context_.pool->ForEach(shape.num_kv_heads, [&](int64_t head, int) {
    for (int64_t t = 0; t < key.rows(); ++t) {
      cache_.Write(args.layer, step_->sequences[t], static_cast<int>(head), step_->positions[t],
                   key.Row(t).subspan(head * D, D), value.Row(t).subspan(head * D, D));
    }
  });
  Tensor mixed = NewTensor(query.rows(), query.width());
  const AttentionPass pass{
      args.layer,   args.window,       args.scale,       sinks != nullptr ? sinks->data() : nullptr,
      query.data(), query.width() / D, step_->sequences, step_->positions,
      mixed.data()};
  attention_.Run(pass, cache_, *context_.pool);
  return mixed;
}

CpuOps::Routing CpuOps::Route(const Tensor& x, const Linear& router, const RouterSpec& spec) {
  Tensor logits = NewTensor(x.rows(), router.out());  // [T,E]
  exact_product_.Run(x.data(), x.rows(), router, *context_.pool, logits.data());
  const int64_t K = spec.experts_per_token;
  Routing routing{spec.experts_per_token, std::vector<int32_t>(x.rows() * K),
                  std::vector<float>(x.rows() * K)};
  ForRows(x.rows(), [&](int64_t t) {
    SelectExperts(logits.Row(t), spec, std::span(routing.ids).subspan(t * K, K),
                  std::span(routing.weights).subspan(t * K, K));
  });
  return routing;
}

Tensor CpuOps::Moe(const Tensor& x, const Routing& routing, const Experts& experts,
                   const GatedMlpSpec& spec) {
  Tensor y = NewTensor(x.rows(), x.width());
  const RoutedTokens tokens{x.data(), routing.ids, routing.weights, x.rows(),
                            routing.experts_per_token};
  MoeStats stats;
  moe_.Run(tokens, experts, spec, *context_.pool, y.data(), &stats);
  for (size_t n = 0; n < stats.nsp.size(); ++n) {
    statistics_.rows[n] += stats.nsp[n].num_rows;
    statistics_.busy_seconds[n] += stats.nsp[n].busy_seconds;
  }
  return y;
}

Tensor CpuOps::GatedMlp(const Tensor& x, const Mlp& mlp, const GatedMlpSpec& spec) {
  Tensor y = NewTensor(x.rows(), x.width());
  mlp_.Run(x.data(), x.rows(), mlp, spec, *context_.pool, y.data());
  return y;
}

// The gate decides as a router does: in float32, whatever the arithmetic.
Tensor CpuOps::AddGated(Tensor x, const Tensor& y, const Tensor& z, const Linear& gate) {
  Tensor logits = NewTensor(z.rows(), 1);
  exact_product_.Run(z.data(), z.rows(), gate, *context_.pool, logits.data());
  ForRows(x.rows(), [&](int64_t t) {
    const float weight = 1.0f / (1.0f + std::exp(-logits.Row(t)[0]));
    const auto sum = x.Row(t);
    const auto added = y.Row(t);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += added[i] * weight;
  });
  return x;
}

}  // namespace expertile::cpu
