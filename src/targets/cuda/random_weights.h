// RandomWeights: a store whose blocks are made on the device when they are asked for, so that a
// model of any size can be timed without its checkpoint. Not for results.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "targets/cuda/device_store.h"

namespace expertile::cuda {

class RandomWeights : public DeviceStore {
 public:
  // Experts in MXFP4, or in bfloat16 as all else.
  explicit RandomWeights(bool has_mxfp4_experts) : has_mxfp4_experts_(has_mxfp4_experts) {}

  bool is_filled() const override { return false; }
  bool Has(std::string_view) const override { return true; }
  Result<std::span<const std::byte>> Find(std::string_view name, std::string_view format,
                                          int64_t num_bytes) const override;
  Result<std::string> FormatOf(std::string_view name) const override;

 private:
  bool has_mxfp4_experts_;
  mutable std::map<std::string, DeviceMemory, std::less<>> made_;
};

}  // namespace expertile::cuda
