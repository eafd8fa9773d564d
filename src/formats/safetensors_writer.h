// Writing safetensors files as a stream: all names and shapes first, then the data in that order.
// Not for changing files that exist.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/tensor.h"
#include "expertile/result.h"
#include "formats/safetensors.h"

namespace expertile {

struct TensorDeclaration {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
};

// Writes one file, which appears under its name only when Finish() succeeds. Holds no data: a file
// may be larger than memory. Data begins 8-byte aligned, and tensors follow one another without
// gaps, so a writer that wants each one aligned declares the wider dtypes first.
class SafetensorsWriter {
 public:
  // Refuses names that are empty, repeated, kSafetensorsMetadataKey or not UTF-8, and shapes that
  // are negative or overflow.
  static Result<SafetensorsWriter> Create(const std::filesystem::path& path,
                                          std::span<const TensorDeclaration> tensors,
                                          const StringMap& metadata = {});

  // The next bytes of the data, in any portions: they need not be whole tensors. Refuses bytes
  // beyond the declared ones.
  Status Append(std::span<const std::byte> bytes);

  // Refuses to finish before all declared bytes are there.
  Status Finish();

 private:
  SafetensorsWriter(AtomicFile file, std::string path, uint64_t declared_size)
      : file_(std::move(file)), path_(std::move(path)), declared_size_(declared_size) {}

  AtomicFile file_;
  std::string path_;
  uint64_t declared_size_;
  uint64_t written_size_ = 0;
};

struct NamedTensor {
  std::string name;
  TensorView tensor;
};

// Writes tensors that are all in memory.
Status WriteSafetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                        const StringMap& metadata = {});

}  // namespace expertile
