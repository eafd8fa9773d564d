#include "running/finite_logits.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace expertile {
namespace {

std::string OriginOf(const FiniteRows& finite, int64_t row, const Step& step) {
  const auto layer = finite.FirstLayer(row);
  if (!layer) return "first after the last layer, in the final norm or the LM head";
  if (*layer != FiniteRows::kInput) return fmt::format("first in layer {}", *layer);
  const bool is_image = std::ranges::find(step.images.rows, row) != step.images.rows.end();
  return is_image ? std::string("first in the image's row that goes into layer 0")
                  : fmt::format("first in the embedding of token {} that goes into layer 0",
                                step.token_ids[row]);
}

// One pass without a branch a value: adding one to an exponent of all ones, and to no other,
// carries into the sign's place.
bool AreFinite(std::span<const float> values) {
  uint32_t carries = 0;
  for (const float x : values) {
    carries |= (std::bit_cast<uint32_t>(x) & 0x7fffffffu) + 0x00800000u;
  }
  return (carries & 0x80000000u) == 0;
}

}  // namespace

Status CheckFinite(TargetSession& target, const Step& step,
                   std::span<const PlacedExtension> extensions, std::span<const float> logits) {
  if (AreFinite(logits)) return {};
  const auto fault = std::ranges::find_if(logits, [](float x) { return !std::isfinite(x); });
  const size_t vocab_size = logits.size() / step.logit_rows.size();
  const size_t index = (fault - logits.begin()) / vocab_size;
  const int32_t row = step.logit_rows[index];
  FiniteRows finite(step.num_tokens());
  Step repeated = step;
  repeated.trace = nullptr;
  repeated.finite = &finite;
  repeated.logit_rows = step.logit_rows.subspan(index, 1);
  std::vector<float> same_logits(vocab_size);
  EXPERTILE_RETURN_IF_ERROR(target.Run(repeated, same_logits));
  return Fail(ErrorCode::kNotFinite, "sequence {}, position {}: logits that are not finite, {}",
              extensions[step.sequences[row]].sequence, step.positions[row],
              OriginOf(finite, row, step));
}

}  // namespace expertile
