#include "targets/cuda/random_weights.h"

#include <utility>

#include "targets/cuda/kernels/bench.h"
#include "targets/cuda/kernels/tile_layout.h"

namespace expertile::cuda {
namespace {

Fill FillOf(std::string_view name, std::string_view format) {
  if (format == "float32") return name.ends_with("norm") ? Fill::kNearOne : Fill::kFloat32;
  if (format == "mxfp4") return Fill::kBytes;
  return format == kMxfp4ScaleFormat ? Fill::kE8m0 : Fill::kBFloat16;
}

}  // namespace

Result<std::span<const std::byte>> RandomWeights::Find(std::string_view name,
                                                       std::string_view format,
                                                       int64_t num_bytes) const {
  // Small enough for sums of thousands of products to stay numbers, whatever the depth.
  constexpr float kSize = 0.05f;
  EXPERTILE_ASSIGN(DeviceMemory memory, DeviceMemory::Allocate(num_bytes, std::string(name) + ":"));
  EXPERTILE_RETURN_IF_ERROR(
      Check(LaunchFill(FillOf(name, format), memory.data(), num_bytes, kSize, nullptr), "weights"));
  EXPERTILE_RETURN_IF_ERROR(Check(cudaDeviceSynchronize(), "weights"));
  const std::span<const std::byte> bytes(memory.data(), static_cast<size_t>(num_bytes));
  made_.insert_or_assign(std::string(name), std::move(memory));
  return bytes;
}

Result<std::string> RandomWeights::FormatOf(std::string_view name) const {
  const bool is_expert = name.ends_with(".gate_up") || name.ends_with(".down");
  return is_expert && has_mxfp4_experts_ ? "mxfp4" : "bfloat16";
}

}  // namespace expertile::cuda
