// What is said of a machine without a device that the kernels run on.
#include "targets/cuda/device.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace expertile::cuda {
namespace {

std::string Said(cudaError_t error, int driver_version) {
  const Error said = NoDevice(error, driver_version, 13000);
  EXPECT_EQ(said.code, ErrorCode::kUnsupported);
  return said.message;
}

TEST(Device, WhyThereIsNone) {
  EXPECT_EQ(Said(cudaErrorInsufficientDriver, 0), "cuda: no NVIDIA driver is installed");
  EXPECT_EQ(Said(cudaErrorInsufficientDriver, 12040),
            "cuda: the driver is of CUDA 12.4, this build needs one of 13.0");
  EXPECT_EQ(Said(cudaErrorNoDevice, 13000), "cuda: the driver sees no GPU");
  EXPECT_EQ(Said(cudaSuccess, 13000), "cuda: the driver sees no GPU");
  EXPECT_TRUE(Said(cudaErrorUnknown, 13000).starts_with("cuda: no GPU: "));
}

TEST(Device, OfAnotherGeneration) {
  EXPECT_TRUE(CheckCapability("NVIDIA H100", 9, 0));
  for (const auto& [major, minor] : {std::pair(8, 0), {8, 9}, {9, 1}, {10, 0}}) {
    const Status refused = CheckCapability("NVIDIA A100", major, minor);
    ASSERT_FALSE(refused);
    EXPECT_EQ(
        refused.error().message,
        fmt::format("cuda: NVIDIA A100 has compute capability {}.{}, expected 9.0 (H100, H200)",
                    major, minor));
  }
}

}  // namespace
}  // namespace expertile::cuda
