// Where a target's packed weights go when a program is compiled, and where they come from when one
// is opened. Not what is in them: a block is bytes that its target alone understands.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "expertile/result.h"

namespace expertile {

// Blocks lie at multiples of this many bytes, so that vectors of any instruction set load aligned.
inline constexpr int64_t kBlockAlignment = 4096;

// What a manifest tells about a block beside its bytes.
struct WeightBlock {
  std::string name;          // "layers.3.experts", unique in a program
  std::string format;        // of its elements, for people: "float32", "bfloat16", "mxfp4", "mxfp6"
  int64_t num_elements = 0;  // weights it holds, padding and scales not counted
  int64_t num_bytes = 0;
};

// Takes the blocks of a program, each in pieces, in any order of names but one block at a time:
// Begin, then Piece until its bytes are complete.
class WeightWriter {
 public:
  virtual ~WeightWriter() = default;
  // Blocks that belong together (one decoder layer) follow a BeginGroup: "layers.3". A store may
  // keep each group in a file of its own.
  virtual Status BeginGroup(std::string_view group) = 0;
  virtual Status Begin(const WeightBlock& block) = 0;
  // The next `num_bytes` bytes of the block: memory, zeroed, to be filled before the next call of
  // any function. Kept small (some MiB) by a writer to disk's caller, since it holds one piece.
  virtual Result<std::span<std::byte>> Piece(int64_t num_bytes) = 0;
};

// Gives the blocks of a program by name. The bytes live as long as the reader does.
class WeightReader {
 public:
  virtual ~WeightReader() = default;
  virtual bool Has(std::string_view name) const = 0;
  // Errors: kNotFound for a name that is not there, kInvalidData for a block that does not have
  // `num_bytes` bytes or `format`, both named.
  virtual Result<std::span<const std::byte>> Find(std::string_view name, std::string_view format,
                                                  int64_t num_bytes) const = 0;
  virtual Result<std::string> FormatOf(std::string_view name) const = 0;
};

// Both: what is written to it can be opened where it lies.
class WeightStore : public WeightWriter, public WeightReader {};

}  // namespace expertile
