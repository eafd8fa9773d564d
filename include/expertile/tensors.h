// Writing named tensors to a safetensors file.
// Not for reading checkpoints: Model does that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "expertile/result.h"

namespace expertile {

struct OutputTensor {
  std::string name;
  std::string dtype;  // "F32" or "I32"
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // row-major
};

// The file is written whole or not at all.
Status WriteTensors(const std::filesystem::path& path, std::span<const OutputTensor> tensors);

}  // namespace expertile
