// Launching a kernel so that its blocks come up while the one before it ends.
// Not for a kernel that does not wait: WaitForEarlierKernels() comes before all that a thread of a
// chained kernel does with memory that another kernel of the step writes, or before it read.
#pragma once

#include <cuda_runtime.h>

#include <utility>

namespace expertile::cuda {

// In a kernel. What earlier kernels of the stream wrote is there after it.
__device__ inline void WaitForEarlierKernels() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}
// Blocks of the next kernel may come up from now on, where there is room for them.
__device__ inline void LetNextKernelBegin() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

// Lets a kernel have so much dynamic shared memory. The first call does, for all.
template <auto* kKernel, int kBytes>
cudaError_t AllowSharedBytes() {
  static const cudaError_t error =
      cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  return error;
}

template <typename... Parameters, typename... Args>
cudaError_t LaunchChained(void (*kernel)(Parameters...), dim3 blocks, int threads,
                          size_t shared_bytes, cudaStream_t stream, Args&&... args) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = blocks;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, kernel, std::forward<Args>(args)...);
}

}  // namespace expertile::cuda
