#include "targets/reference/reference_ops.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "targets/reference/arithmetic.h"
#include "targets/router.h"

namespace expertile::reference {

Result<ReferenceOps> ReferenceOps::Create(const DecoderSpec& spec, const Context& context) {
  const TargetOptions& options = context.options;
  std::vector<KvCache> caches;
  for (const LayerSpec& layer : spec.layers) {
    const AttentionSpec& attention = AttentionOf(layer);
    EXPERTILE_ASSIGN(auto cache, KvCache::Create(options.num_kv_blocks(), attention.num_kv_heads,
                                                 KvCodec(options.kv_format, attention.head_dim)));
    caches.push_back(std::move(cache));
  }
  ReferenceOps ops(context, std::move(caches));
  ops.statistics_.rows.resize(options.blocking.num_nsp);
  ops.statistics_.busy_seconds.resize(options.blocking.num_nsp);
  return ops;
}

Tensor ReferenceOps::Embed(const Embedding& table, const Inputs& inputs) const {
  Tensor hidden = Tensor::Zeros(inputs.num_tokens(), table.cols);
  for (int64_t t = 0; t < hidden.rows; ++t) table.ReadRow(inputs.token_ids[t], hidden.Row(t));
  return hidden;
}

Tensor ReferenceOps::PlaceImages(Tensor x, const Inputs& inputs) const {
  const ImageRows& images = inputs.images;
  for (size_t i = 0; i < images.rows.size(); ++i) {
    const auto row = images.embeddings.subspan(i * x.width, x.width);
    std::ranges::copy(row, x.Row(images.rows[i]).begin());
  }
  return x;
}

Tensor ReferenceOps::AddDeepstack(Tensor x, int layer, const Inputs& inputs) const {
  const ImageRows& images = inputs.images;
  if (layer >= static_cast<int>(images.deepstack.size())) return x;
  for (size_t i = 0; i < images.rows.size(); ++i) {
    const auto added = images.deepstack[layer].subspan(i * x.width, x.width);
    const auto sum = x.Row(images.rows[i]);
    for (size_t j = 0; j < sum.size(); ++j) sum[j] += added[j];
  }
  return x;
}

Tensor ReferenceOps::WantedRows(const Tensor& x, const Inputs& inputs) const {
  Tensor y = Tensor::Zeros(static_cast<int64_t>(inputs.logit_rows.size()), x.width);
  for (int64_t row = 0; row < y.rows; ++row) {
    std::ranges::copy(x.Row(inputs.logit_rows[row]), y.Row(row).begin());
  }
  return y;
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

void ReferenceOps::WriteStep(KvCache& cache, const Inputs& inputs, const Tensor& key,
                             const Tensor& value) {
  const StageClock::Scope time(stage_clock_, Stage::kKvWrite);
  const int64_t D = cache.head_dim();
  for (int64_t t = 0; t < key.rows; ++t) {
    for (int64_t head = 0; head < key.width / D; ++head) {
      cache.Write(inputs.block_tables[inputs.sequences[t]], static_cast<int>(head),
                  inputs.positions[t], key.Row(t).subspan(head * D, D),
                  value.Row(t).subspan(head * D, D));
    }
  }
}

Tensor ReferenceOps::Attention(int layer, const AttentionSpec& spec, const Inputs& inputs,
                               const Tensor& query, const Tensor& key, const Tensor& value,
                               const Vector* sinks) {
  KvCache& cache = caches_[layer];
  const int64_t D = spec.head_dim;
  WriteStep(cache, inputs, key, value);
  Tensor mixed = Tensor::Zeros(query.rows, query.width);
  pool().ForEach(query.rows * spec.num_heads, [&](int64_t piece, int) {
    const int64_t t = piece / spec.num_heads;
    const int64_t head = piece % spec.num_heads;
    const BlockTable blocks = inputs.block_tables[inputs.sequences[t]];
    const auto kv_head = static_cast<int>(head * spec.num_kv_heads / spec.num_heads);
    const int64_t end = inputs.positions[t] + 1;
    const int64_t begin = spec.window == 0 ? 0 : std::max<int64_t>(0, end - spec.window);
    AttendHead(
        query.Row(t).subspan(head * D, D),
        [&](int64_t position) { return cache.Key(blocks, kv_head, position); },
        [&](int64_t position) { return cache.Value(blocks, kv_head, position); }, begin, end,
        spec.scale, sinks != nullptr ? &(*sinks)[head] : nullptr,
        mixed.Row(t).subspan(head * D, D));
  });
  return mixed;
}

Status ReferenceOps::ReadKv(int layer, BlockTable blocks, int64_t n, std::span<float> keys,
                            std::span<float> values) {
  const KvCache& cache = caches_[layer];
  const auto num_rows = static_cast<int64_t>(keys.size()) / cache.head_dim();
  for (int64_t row = 0; row < num_rows; ++row) {
    const auto head = static_cast<int>(row / n);
    const int64_t first = row * cache.head_dim();
    std::ranges::copy(cache.Key(blocks, head, row % n), keys.begin() + first);
    std::ranges::copy(cache.Value(blocks, head, row % n), values.begin() + first);
  }
  return {};
}

Status ReferenceOps::WriteKv(int layer, BlockTable blocks, int64_t n, std::span<const float> keys,
                             std::span<const float> values) {
  KvCache& cache = caches_[layer];
  const int64_t D = cache.head_dim();
  for (int64_t row = 0; row < static_cast<int64_t>(keys.size()) / D; ++row) {
    cache.Write(blocks, static_cast<int>(row / n), row % n, keys.subspan(row * D, D),
                values.subspan(row * D, D));
  }
  return {};
}

Routing ReferenceOps::Route(const Tensor& x, const Linear& router, const RouterSpec& spec,
                            const Inputs&) const {
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
