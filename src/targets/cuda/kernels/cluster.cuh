// Blocks of threads that form a cluster, and how they write each other's shared memory.
// Not barriers within a block, nor copies: barriers.cuh.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace expertile::cuda {

// All threads of the cluster's blocks arrive, then wait. What they wrote before they arrived, to
// each other's shared memory, too, is there after the wait.
__device__ inline void ArriveAtCluster() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
__device__ inline void WaitForCluster() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
__device__ inline void SyncCluster() {
  ArriveAtCluster();
  WaitForCluster();
}

// Where the cluster's block `rank` has what this one has at `shared`. That block must have begun,
// and must not be over before a wait for the cluster after the store.
__device__ inline uint32_t PeerAddress(uint32_t shared, int rank) {
  uint32_t address;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(shared), "r"(rank));
  return address;
}
__device__ inline void StoreToPeer(uint32_t address, float value) {
  asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(address), "f"(value) : "memory");
}
__device__ inline void StoreToPeer(uint32_t address, uint2 value) {
  asm volatile("st.shared::cluster.v2.b32 [%0], {%1, %2};" ::"r"(address), "r"(value.x),
               "r"(value.y)
               : "memory");
}

}  // namespace expertile::cuda
