// Writing weights that every target stores alike, and whole blocks from values at hand.
// Not a target's packed layouts.
#pragma once

#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "formats/matrix_view.h"
#include "targets/weight_store.h"

namespace expertile {

// What Prepare() makes of weights that are written away: nothing.
struct WrittenWeights {
  struct Nothing {};
  using Tensor = Nothing;
  using Vector = Nothing;
  using Linear = Nothing;
  using Embedding = Nothing;
  using Experts = Nothing;
};

// Bytes of a piece at most, unless one row or one expert has more.
inline constexpr int64_t kMaxPieceBytes = int64_t{32} << 20;

// A vector view as floats; empty for none.
std::vector<float> FloatsOf(const std::optional<MatrixView>& vector);

// A block of float32 values, written at once.
Status WriteFloats(WeightWriter& writer, const std::string& name, std::span<const float> values);

// A table's rows as they lie in the checkpoint, "float32", "bfloat16" or "float16".
Status WriteTable(WeightWriter& writer, const std::string& name, const MatrixView& table);

// What WriteFloats() wrote, in place.
Result<std::span<const float>> ReadFloats(const WeightReader& reader, const std::string& name,
                                          int64_t count);

// What WriteTable() wrote, in place.
Result<MatrixView> ReadTable(const WeightReader& reader, const std::string& name, int64_t rows,
                             int64_t cols);

}  // namespace expertile
