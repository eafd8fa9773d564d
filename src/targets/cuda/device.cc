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

Result<DeviceProperties> FindDevice() {
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) {
    cudaGetLastError();
    return Unsupported("cuda: no device: {}", cudaGetErrorString(error));
  }
  if (count == 0) return Unsupported("cuda: no device");
  cudaDeviceProp properties;
  EXPERTILE_RETURN_IF_ERROR(Check(cudaGetDeviceProperties(&properties, 0), "device"));
  if (properties.major != 9 || properties.minor != 0) {
    return Unsupported("cuda: {} has compute capability {}.{}, expected 9.0", properties.name,
                       properties.major, properties.minor);
  }
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
