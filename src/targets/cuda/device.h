// The device as values: its memory, a stream, copies from pinned memory; failures are Results.
// Not kernels, and not which buffers a session has (tensor.h).
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "expertile/result.h"

namespace expertile::cuda {

// An error of the runtime as one line: "cuda: an illegal memory access was encountered (Fetch)".
// One that is sticky fails every call after it, and so ends a session.
Status Check(cudaError_t error, const char* what);

struct DeviceProperties {
  std::string name;
  int num_processors = 0;  // streaming multiprocessors
};

// Why the driver counts no device: versions as the runtime has them, 13000 for 13.0; 0: none.
Error NoDevice(cudaError_t error, int driver_version, int runtime_version);
// Errors: kUnsupported for a device that the kernels are not compiled for.
Status CheckCapability(std::string_view name, int major, int minor);

// The device that programs run on: the one CUDA counts first. Errors: kUnsupported without one of
// compute capability 9.0, or without a driver.
Result<DeviceProperties> FindDevice();

// Memory of the device; moves keep its address.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  // Errors: kOutOfMemory, which says what for, how much, and how much is free.
  static Result<DeviceMemory> Allocate(int64_t num_bytes, const std::string& what);

  std::byte* data() const { return data_.get(); }
  template <typename T>
  T* As() const {
    return reinterpret_cast<T*>(data_.get());
  }
  int64_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* data) const { cudaFree(data); }
  };
  std::unique_ptr<std::byte, Free> data_;
  int64_t size_ = 0;
};

// kOutOfMemory, naming both sizes, unless the device has `num_bytes` free.
Status CheckFreeMemory(int64_t num_bytes, const std::string& what);

// Host memory that the copy engine reads while the host goes on.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  static Result<PinnedMemory> Allocate(int64_t num_bytes);
  std::byte* data() const { return data_.get(); }
  int64_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* data) const { cudaFreeHost(data); }
  };
  std::unique_ptr<std::byte, Free> data_;
  int64_t size_ = 0;
};

class Stream {
 public:
  static Result<Stream> Create();
  cudaStream_t get() const { return stream_.get(); }
  Status Synchronize(const char* what) const { return Check(cudaStreamSynchronize(get()), what); }

 private:
  struct Destroy {
    void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
  };
  std::unique_ptr<CUstream_st, Destroy> stream_;
};

}  // namespace expertile::cuda
