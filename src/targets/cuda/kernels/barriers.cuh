// Hopper's asynchronous copies and barriers as functions: mbarrier, cp.async, bulk copies, fences.
// Not matrix products: wgmma.cuh.
#pragma once

#include <cstdint>

namespace expertile::cuda {

__device__ inline uint32_t SharedAddress(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// A barrier is given by its address in shared memory, or by a pointer, from which that is found
// each time.
__device__ inline void InitBarrier(uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals));
}
__device__ inline void InitBarrier(uint64_t* barrier, int arrivals) {
  InitBarrier(SharedAddress(barrier), arrivals);
}

// Makes initialised barriers visible to the copy engine.
__device__ inline void FenceBarrierInit() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ inline void Arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
__device__ inline void Arrive(uint64_t* barrier) { Arrive(SharedAddress(barrier)); }

__device__ inline void ArriveExpecting(uint32_t barrier, uint32_t num_bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier),
               "r"(num_bytes)
               : "memory");
}
__device__ inline void ArriveExpecting(uint64_t* barrier, uint32_t num_bytes) {
  ArriveExpecting(SharedAddress(barrier), num_bytes);
}

__device__ inline void Wait(uint32_t barrier, uint32_t parity) {
  uint32_t done = 0;
  while (done == 0) {
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
  }
}
__device__ inline void Wait(uint64_t* barrier, uint32_t parity) {
  Wait(SharedAddress(barrier), parity);
}

// `num_bytes`, a multiple of 16, from global to shared memory; the barrier counts them.
__device__ inline void BulkCopy(uint32_t shared, const void* global, uint32_t num_bytes,
                                uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared),
      "l"(global), "r"(num_bytes), "r"(barrier)
      : "memory");
}
__device__ inline void BulkCopy(uint32_t shared, const void* global, uint32_t num_bytes,
                                uint64_t* barrier) {
  BulkCopy(shared, global, num_bytes, SharedAddress(barrier));
}

// Has `num_bytes`, a multiple of 16, brought to the second-level cache.
__device__ inline void PrefetchToL2(const void* global, uint32_t num_bytes) {
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(global), "r"(num_bytes)
               : "memory");
}

// 16 bytes.
__device__ inline void CopyChunk(uint32_t shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(global) : "memory");
}
// The same if `is_there`, without a branch.
__device__ inline void CopyChunkIf(bool is_there, uint32_t shared, const void* global) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "setp.ne.b32 p, %2, 0;\n"
      "@p cp.async.cg.shared.global [%0], [%1], 16;\n}" ::"r"(shared),
      "l"(global), "r"(static_cast<int>(is_there))
      : "memory");
}

// This thread arrives once its CopyChunks are done.
__device__ inline void ArriveAfterCopies(uint32_t barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}
__device__ inline void ArriveAfterCopies(uint64_t* barrier) {
  ArriveAfterCopies(SharedAddress(barrier));
}

// CopyChunks since the last one are a group.
__device__ inline void CommitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most kPending groups of this thread are not done.
template <int kPending>
__device__ inline void WaitForCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// Orders ordinary accesses of shared memory before those of wgmma and the copy engine.
__device__ inline void FenceAsyncProxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// A barrier of `num_threads` threads of the block; 0 is __syncthreads'.
__device__ inline void SyncThreads(int id, int num_threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(num_threads) : "memory");
}

template <int kRegisters>
__device__ inline void GiveRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void TakeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

}  // namespace expertile::cuda
