// Hopper's warpgroup matrix products (wgmma) of bfloat16 into float32 sums, as functions.
// Not a kernel: gemm.cu and attention.cu are. A warpgroup is four warps from a multiple of four on.
#pragma once

#include <cstdint>

namespace expertile::cuda {

// Sums of a product [64, n] of a warpgroup: thread t holds, for each block j of 8 columns, elements
// 4 j + {0, 1} of row 16 (t / 32) + t % 32 / 4 and 4 j + {2, 3} of the row 8 below it, both of
// columns 8 j + 2 (t % 4) + {0, 1}.

// A matrix in shared memory in rows of 128 bytes (64 elements), whose 16-byte chunk c of row r lies
// at chunk c ^ (r % 8); `address` is a multiple of 1024. Rows may be those of a product or, for
// a matrix that is used transposed, its depth; `next` is the distance in bytes from one 64 columns
// of the latter to the next 64.
__device__ inline uint64_t SwizzledMatrix(uint32_t address, uint32_t next = 16) {
  constexpr uint64_t kEightRows = 1024;
  constexpr uint64_t kSwizzle128 = 1;
  return static_cast<uint64_t>((address & 0x3ffff) >> 4) |
         (static_cast<uint64_t>(next >> 4) << 16) | ((kEightRows >> 4) << 32) | (kSwizzle128 << 62);
}
// The same matrix `num_bytes` further on.
__device__ inline uint64_t Advanced(uint64_t matrix, uint32_t num_bytes) {
  return matrix + (num_bytes >> 4);
}

// Before the first product that reads registers or sums that ordinary code wrote.
__device__ inline void BeginProducts() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void CommitProducts() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Waits until at most kPending committed groups are not done.
template <int kPending>
__device__ inline void WaitForProducts() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
// Keeps the compiler from moving accesses of sums over a wait.
template <int kCount>
__device__ inline void PinSums(float (&sums)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(sums[i])::"memory");
}

#define SUMS_4(s, i) "+f"(s[i]), "+f"(s[i + 1]), "+f"(s[i + 2]), "+f"(s[i + 3])
#define SUMS_16(s, i) SUMS_4(s, i), SUMS_4(s, i + 4), SUMS_4(s, i + 8), SUMS_4(s, i + 12)
#define SUMS_32(s, i) SUMS_16(s, i), SUMS_16(s, i + 16)
#define SUMS_64(s, i) SUMS_32(s, i), SUMS_32(s, i + 32)
#define SUMS_128(s, i) SUMS_64(s, i), SUMS_64(s, i + 64)

// sums [64, kColumns] = a b + (keeps ? sums : 0), over a depth of 16; a [64, 16] and b [kColumns,
// 16] are in shared memory.
template <int kColumns>
__device__ void Multiply(float (&sums)[kColumns / 2], uint64_t a, uint64_t b, int keeps);

// The same with a in registers, as CommitProducts' layout of sums has it, in pairs.
template <int kColumns>
__device__ void MultiplyRegisters(float (&sums)[kColumns / 2], const uint32_t (&a)[4], uint64_t b,
                                  int keeps);

// The same with b [16, kColumns], rows of which are a depth.
template <int kColumns>
__device__ void MultiplyTransposed(float (&sums)[kColumns / 2], const uint32_t (&a)[4], uint64_t b,
                                   int keeps);

template <>
__device__ inline void Multiply<32>(float (&sums)[16], uint64_t a, uint64_t b, int keeps) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "setp.ne.b32 p, %18, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
      "%12, %13, %14, %15}, "
      "%16, %17, p, 1, 1, 0, 0;\n}"
      : SUMS_16(sums, 0)
      : "l"(a), "l"(b), "r"(keeps));
}

template <>
__device__ inline void Multiply<64>(float (&sums)[32], uint64_t a, uint64_t b, int keeps) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "setp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
      "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "
      "%24, %25, %26, %27, %28, %29, %30, %31}, "
      "%32, %33, p, 1, 1, 0, 0;\n}"
      : SUMS_32(sums, 0)
      : "l"(a), "l"(b), "r"(keeps));
}

template <>
__device__ inline void Multiply<128>(float (&sums)[64], uint64_t a, uint64_t b, int keeps) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "setp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
      "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "
      "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, "
      "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, "
      "%60, %61, %62, %63}, "
      "%64, %65, p, 1, 1, 0, 0;\n}"
      : SUMS_64(sums, 0)
      : "l"(a), "l"(b), "r"(keeps));
}

template <>
__device__ inline void Multiply<256>(float (&sums)[128], uint64_t a, uint64_t b, int keeps) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "setp.ne.b32 p, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
      "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "
      "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, "
      "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, "
      "%60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71, "
      "%72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, "
      "%84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, "
      "%108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, "
      "%120, %121, %122, %123, %124, %125, %126, %127}, "
      "%128, %129, p, 1, 1, 0, 0;\n}"
      : SUMS_128(sums, 0)
      : "l"(a), "l"(b), "r"(keeps));
}

template <>
__device__ inline void MultiplyRegisters<64>(float (&sums)[32], const uint32_t (&a)[4], uint64_t b,
                                             int keeps) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "setp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
      "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "
      "%24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, %36, p, 1, 1, 0;\n}"
      : SUMS_32(sums, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keeps));
}

template <>
__device__ inline void MultiplyTransposed<64>(float (&sums)[32], const uint32_t (&a)[4], uint64_t b,
                                              int keeps) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "setp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
      "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "
      "%24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, %36, p, 1, 1, 1;\n}"
      : SUMS_32(sums, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keeps));
}

template <>
__device__ inline void MultiplyTransposed<128>(float (&sums)[64], const uint32_t (&a)[4],
                                               uint64_t b, int keeps) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "setp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
      "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "
      "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, "
      "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, "
      "%60, %61, %62, %63}, "
      "{%64, %65, %66, %67}, %68, p, 1, 1, 1;\n}"
      : SUMS_64(sums, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keeps));
}

template <>
__device__ inline void MultiplyTransposed<256>(float (&sums)[128], const uint32_t (&a)[4],
                                               uint64_t b, int keeps) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "setp.ne.b32 p, %133, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
      "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "
      "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, "
      "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, "
      "%60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71, "
      "%72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, "
      "%84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, "
      "%108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, "
      "%120, %121, %122, %123, %124, %125, %126, %127}, "
      "{%128, %129, %130, %131}, %132, p, 1, 1, 1;\n}"
      : SUMS_128(sums, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keeps));
}

#undef SUMS_4
#undef SUMS_16
#undef SUMS_32
#undef SUMS_64
#undef SUMS_128

}  // namespace expertile::cuda
