#include "targets/reference/reference_ops.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "targets/reference/arithmetic.h"
#include "targets/router.h"

namespace expertile::reference {

Result<ReferenceOps> ReferenceOps::Create(const DecoderSpec& spec, const Context& context) {
  const AttentionSpec& attention = AttentionOf(spec.layers[0]);  // every layer's heads are alike
  const KvShape shape{static_cast<int>(spec.layers.size()), context.options.batch_size,
                      attention.num_kv_heads, context.options.ctx_len, attention.head_dim};
  EXPERTILE_ASSIGN(auto cache, KvCache<float>::Create(shape));
  ReferenceOps ops(context, std::move(cache));
  ops.statistics_.rows.resize(context.options.blocking.num_nsp);
  ops.statistics_.busy_seconds.resize(context.options.blocking.num_nsp);
  return ops;
}

Tensor ReferenceOps::Embed(const Embedding& table) const {
  Tensor hidden = Tensor::Zeros(step_->num_tokens(), table.cols);
  for (int64_t t = 0; t < hidden.rows; ++t) table.ReadRow(step_->token_ids[t], hidden.Row(t));
  return hidden;
}

Tensor ReferenceOps::ReplaceRows(Tensor x, std::span<const int32_t> rows, const Tensor& y) const {
  for (size_t i = 0; i < rows.size(); ++i) {
    std::ranges::copy(y.Row(static_cast<int64_t>(i)), x.Row(rows[i]).begin());
  }
  return x;
}

Tensor ReferenceOps::AddToRows(Tensor x, std::span<const int32_t> rows, const Tensor& y) const {
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto added = y.Row(static_cast<int64_t>(i));
    const auto sum = x.Row(rows[i]);
    for (size_t j = 0; j < sum.size(); ++j) sum[j] += added[j];
  }
  return x;
}

Tensor ReferenceOps::RmsNorm(const Tensor& x, const Vector& weight, float epsilon) const {
  Tensor y = x;
  const size_t size = weight.size();
  for (size_t start = 0; start < y.values.size(); start += size) {
    const std::span<float> group(y.values.data() + start, size);
    const double mean_square = Dot(group, group) / static_cast<double>(size);
    const auto inverse = static_cast<float>(1.0 / std::sqrt(mean_square + epsilon));
    for (size_t i = 0; i < size; ++i) group[i] = group[i] * inverse * weight[i];
  }
  return y;
}

Tensor ReferenceOps::Attention(const AttentionArgs& args, const Tensor& query, const Tensor& key,
                               const Tensor& value, const Vector* sinks) {
  const auto head_dim = static_cast<int64_t>(cache_.shape().head_dim);
  const int num_kv_heads = cache_.shape().num_kv_heads;
  const int64_t num_heads = query.width / head_dim;
  for (int64_t t = 0; t < query.rows; ++t) {
    for (int head = 0; head < num_kv_heads; ++head) {
      WriteKv({args.layer, step_->sequences[t], head, step_->positions[t]},
              key.Row(t).subspan(head * head_dim, head_dim),
              value.Row(t).subspan(head * head_dim, head_dim));
    }
  }
  Tensor mixed = Tensor::Zeros(query.rows, query.width);
  pool().ForEach(query.rows * num_heads, [&](int64_t piece, int) {
    const int64_t t = piece / num_heads;
    const int64_t head = piece % num_heads;
    const auto kv_head = static_cast<int>(head * num_kv_heads / num_heads);
    const int64_t end = step_->positions[t] + 1;
    const int64_t begin = args.window == 0 ? 0 : std::max<int64_t>(0, end - args.window);
    AttendHead(query.Row(t).subspan(head * head_dim, head_dim),
               cache_.Keys(args.layer, step_->sequences[t], kv_head),
               cache_.Values(args.layer, step_->sequences[t], kv_head), begin, end, args.scale,
               sinks != nullptr ? &(*sinks)[head] : nullptr,
               mixed.Row(t).subspan(head * head_dim, head_dim));
  });
  return mixed;
}

void ReferenceOps::ReadKv(const KvSlot& slot, std::span<float> key, std::span<float> value) const {
  const int64_t at = slot.position * cache_.shape().head_dim;
  std::copy_n(cache_.Keys(slot.layer, slot.sequence, slot.head) + at, key.size(), key.begin());
  std::copy_n(cache_.Values(slot.layer, slot.sequence, slot.head) + at, value.size(),
              value.begin());
}

void ReferenceOps::WriteKv(const KvSlot& slot, std::span<const float> key,
                           std::span<const float> value) {
  const int64_t at = slot.position * cache_.shape().head_dim;
  std::vector<std::byte> elements(codec_.row_bytes());
  std::vector<std::byte> scales(codec_.row_scales());
  const auto store = [&](std::span<const float> values, float* target) {
    codec_.Encode(values, 0, elements, scales);
    codec_.Decode(elements, scales, 0, {target, values.size()});
  };
  store(key, cache_.Keys(slot.layer, slot.sequence, slot.head) + at);
  store(value, cache_.Values(slot.layer, slot.sequence, slot.head) + at);
}

Routing ReferenceOps::Route(const Tensor& x, const Linear& router, const RouterSpec& spec) const {
  Tensor logits = Multiply(x, router);  // [T,E]
  const int K = spec.experts_per_token;
  Routing routing{K, std::vector<int32_t>(x.rows * K), Vector(x.rows * K)};
  for (int64_t t = 0; t < x.rows; ++t) {
    SelectExperts(logits.Row(t), spec, std::span(routing.ids).subspan(t * K, K),
                  std::span(routing.weights).subspan(t * K, K));
  }
  return routing;
}

Tensor ReferenceOps::GatedMlp(const Tensor& x, const Mlp& mlp, const GatedMlpSpec& spec) const {
  Tensor y = Tensor::Zeros(x.rows, x.width);
  pool().ForEach(x.rows, [&](int64_t t, int) { MlpRow(x.Row(t), mlp, spec, y.Row(t)); });
  return y;
}

Tensor ReferenceOps::AddGated(Tensor x, const Tensor& y, const Tensor& z,
                              const Linear& gate) const {
  const Tensor logits = Multiply(z, gate);  // [T,1]
  for (int64_t t = 0; t < x.rows; ++t) {
    const float weight = 1.0f / (1.0f + std::exp(-logits.Row(t)[0]));
    for (int64_t i = 0; i < x.width; ++i) x.Row(t)[i] += weight * y.Row(t)[i];
  }
  return x;
}

}  // namespace expertile::reference
