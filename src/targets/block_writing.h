// Packing a checkpoint's weights, and the blocks of those that every target stores alike.
// Not a target's own layouts: those are its Packer's.
#pragma once

#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "formats/matrix_view.h"
#include "model/checkpoint.h"
#include "targets/target.h"
#include "targets/weight_store.h"

namespace expertile {

// Writes the weights of a checkpoint in one target's formats.
class Packer {
 public:
  virtual ~Packer() = default;
  // The blocks of one weight; `name` is its name in a program, and what theirs begin with.
  virtual Status Pack(const std::string& name, const WeightView& view, WeightRole role) = 0;
};

// Packs all of a checkpoint that `options` want, group by group.
Status PackCheckpoint(const Checkpoint& checkpoint, const TargetOptions& options,
                      WeightWriter& writer, Packer& packer);

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
