#include "targets/cuda/device.h"

#include <algorithm>

#include "base/error.h"

namespace expertile::cuda {
namespace {

double GigabytesOf(int64_t num_bytes) { return static_cast<double>(num_bytes) * 1e-9; }

}  // namespace

Status Check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return {};
  cudaGetLastError();  // one that is not sticky is told once
  const ErrorCode code =
      error == cudaErrorMemoryAllocation ? ErrorCode::kOutOfMemory : ErrorCode::kUnsupported;
  return Fail(code, "cuda: {} ({})", cudaGetErrorString(error), what);
}

Error NoDevice(cudaError_t error, int driver_version, int runtime_version) {
  const auto text = [](int version) {
    return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
  };
  if (error == cudaErrorInsufficientDriver && driver_version == 0) {
    return {ErrorCode::kUnsupported, "cuda: no NVIDIA driver is installed"};
  }
  if (error == cudaErrorInsufficientDriver) {
    return {ErrorCode::kUnsupported,
            fmt::format("cuda: the driver is of CUDA {}, this build needs one of {}",
                        text(driver_version), text(runtime_version))};
  }
  if (error == cudaErrorNoDevice || error == cudaSuccess) {
    return {ErrorCode::kUnsupported, "cuda: the driver sees no GPU"};
  }
  return {ErrorCode::kUnsupported, fmt::format("cuda: no GPU: {}", cudaGetErrorString(error))};
}

Status CheckCapability(std::string_view name, int major, int minor) {
  if (major == 9 && minor == 0) return {};
  return Unsupported("cuda: {} has compute capability {}.{}, expected 9.0 (H100, H200)", name,
                     major, minor);
}

Result<DeviceProperties> FindDevice() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    cudaGetLastError();
    int driver_version = 0;
    cudaDriverGetVersion(&driver_version);
    return tl::unexpected(NoDevice(error, driver_version, CUDART_VERSION));
  }
  cudaDeviceProp properties;
  EXPERTILE_RETURN_IF_ERROR(Check(cudaGetDeviceProperties(&properties, 0), "device"));
  EXPERTILE_RETURN_IF_ERROR(CheckCapability(properties.name, properties.major, properties.minor));
  return DeviceProperties{properties.name, properties.multiProcessorCount};
}

Status CheckFreeMemory(int64_t num_bytes, const std::string& what) {
  size_t free_bytes = 0;
  size_t all_bytes = 0;
  EXPERTILE_RETURN_IF_ERROR(Check(cudaMemGetInfo(&free_bytes, &all_bytes), "memory"));
  if (num_bytes <= static_cast<int64_t>(free_bytes)) return {};
  return Fail(ErrorCode::kOutOfMemory,
              "cuda: {} need {:.3f} GB, the device has {:.3f} GB free of "
              "{:.3f}",
              what, GigabytesOf(num_bytes), GigabytesOf(static_cast<int64_t>(free_bytes)),
              GigabytesOf(static_cast<int64_t>(all_bytes)));
}

Result<DeviceMemory> DeviceMemory::Allocate(int64_t num_bytes, const std::string& what) {
  DeviceMemory memory;
  memory.size_ = num_bytes;
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, static_cast<size_t>(std::max<int64_t>(num_bytes, 1)));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    EXPERTILE_RETURN_IF_ERROR(CheckFreeMemory(num_bytes, what));
    return Fail(ErrorCode::kOutOfMemory, "cuda: {} need {:.3f} GB in one piece", what,
                GigabytesOf(num_bytes));
  }
  EXPERTILE_RETURN_IF_ERROR(Check(error, "allocation"));
  memory.data_.reset(static_cast<std::byte*>(data));
  return memory;
}

Result<PinnedMemory> PinnedMemory::Allocate(int64_t num_bytes) {
  PinnedMemory memory;
  memory.size_ = num_bytes;
  void* data = nullptr;
  EXPERTILE_RETURN_IF_ERROR(
      Check(cudaMallocHost(&data, static_cast<size_t>(std::max<int64_t>(num_bytes, 1))),
            "pinned host memory"));
  memory.data_.reset(static_cast<std::byte*>(data));
  return memory;
}

Result<Stream> Stream::Create() {
  Stream stream;
  cudaStream_t made = nullptr;
  EXPERTILE_RETURN_IF_ERROR(
      Check(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "stream"));
  stream.stream_.reset(made);
  return stream;
}

}  // namespace expertile::cuda
