// A sequence's KV cache as values, out of one session and into another.
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "running/session_state.h"

namespace expertile {
namespace {

// Every layer of the model, with the sizes that it has.
Status CheckLayers(const KvView& state, const DecoderSpec& spec) {
  if (state.layers.size() != spec.layers.size()) {
    return InvalidArgument("KV state: {} layers, the model has {}", state.layers.size(),
                           spec.layers.size());
  }
  for (size_t i = 0; i < state.layers.size(); ++i) {
    const AttentionSpec& attention = AttentionOf(spec.layers[i]);
    const KvView::Layer& layer = state.layers[i];
    if (layer.num_kv_heads != attention.num_kv_heads || layer.head_dim != attention.head_dim) {
      return InvalidArgument("KV state: layer {}: {} heads of {}, the model has {} of {}", i,
                             layer.num_kv_heads, layer.head_dim, attention.num_kv_heads,
                             attention.head_dim);
    }
    const int64_t expected = attention.num_kv_heads * state.num_tokens * attention.head_dim;
    for (const std::span<const float>* rows : {&layer.keys, &layer.values}) {
      if (static_cast<int64_t>(rows->size()) == expected) continue;
      return InvalidArgument("KV state: layer {}: {} values, expected {}", i, rows->size(),
                             expected);
    }
  }
  return {};
}

Status CheckDeltas(std::span<const int32_t> deltas, int64_t num_tokens) {
  if (static_cast<int64_t>(deltas.size()) != num_tokens) {
    return InvalidArgument("KV state: {} next_deltas, expected {}", deltas.size(), num_tokens);
  }
  for (int64_t p = 0; p < num_tokens; ++p) {
    if (deltas[p] == Sequences::kNoDelta || (deltas[p] <= 0 && deltas[p] >= -p - 1)) continue;
    return InvalidArgument("KV state: next_deltas: {} at position {}", deltas[p], p);
  }
  if (deltas.back() != Sequences::kNoDelta) return {};
  return InvalidArgument("KV state: next_deltas: it ends inside an image");
}

}  // namespace

Result<KvState> Session::ReadKv(int64_t sequence) const {
  EXPERTILE_RETURN_IF_ERROR(state_->sequences.Check(sequence));
  KvState kv;
  kv.num_tokens = state_->sequences.length(sequence);
  if (kv.num_tokens == 0) return InvalidArgument("sequence {}: no tokens", sequence);
  const auto deltas = state_->sequences.next_deltas(sequence);
  kv.next_deltas.assign(deltas.begin(), deltas.end());
  const DecoderSpec& spec = state_->program->model.spec;
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    const AttentionSpec& attention = AttentionOf(spec.layers[i]);
    const int64_t size = attention.num_kv_heads * kv.num_tokens * attention.head_dim;
    KvState::Layer layer{attention.num_kv_heads, attention.head_dim, std::vector<float>(size),
                         std::vector<float>(size)};
    EXPERTILE_RETURN_IF_ERROR(state_->target->ReadKv(static_cast<int>(i),
                                                     state_->sequences.blocks(sequence),
                                                     kv.num_tokens, layer.keys, layer.values));
    kv.layers.push_back(std::move(layer));
  }
  return kv;
}

Status Session::WriteKv(int64_t sequence, const KvView& kv) {
  EXPERTILE_RETURN_IF_ERROR(state_->sequences.Check(sequence));
  const int64_t held = state_->sequences.length(sequence);
  if (held != 0) {
    return InvalidArgument("sequence {}: holds {} tokens, expected an empty one", sequence, held);
  }
  if (kv.num_tokens < 1 || kv.num_tokens > ctx_len()) {
    return InvalidArgument("KV state: {} tokens, expected 1 to {} (ctx_len)", kv.num_tokens,
                           ctx_len());
  }
  EXPERTILE_RETURN_IF_ERROR(CheckLayers(kv, state_->program->model.spec));
  std::vector<int32_t> deltas(kv.next_deltas.begin(), kv.next_deltas.end());
  if (deltas.empty()) deltas.resize(kv.num_tokens);
  EXPERTILE_RETURN_IF_ERROR(CheckDeltas(deltas, kv.num_tokens));
  const Sequences::Growth growth{sequence, kv.num_tokens};
  EXPERTILE_RETURN_IF_ERROR(state_->Reserve({&growth, 1}));
  Status outcome;
  for (size_t i = 0; outcome && i < kv.layers.size(); ++i) {
    outcome = state_->target->WriteKv(static_cast<int>(i), state_->sequences.blocks(sequence),
                                      kv.num_tokens, kv.layers[i].keys, kv.layers[i].values);
  }
  if (outcome) state_->sequences.Append(sequence, deltas);
  state_->sequences.Trim(sequence);
  return outcome;
}

}  // namespace expertile
