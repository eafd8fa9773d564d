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

// The operands of the products below: the sums' numbers in an instruction's text, 8 after 8, and
// what they stand for. Texts and constraints of n sums are those of the first n.
// clang-format off
#define NUMBERS_8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define NUMBERS_16 NUMBERS_8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define NUMBERS_24 NUMBERS_16 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define NUMBERS_32 NUMBERS_24 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define NUMBERS_40 NUMBERS_32 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define NUMBERS_48 NUMBERS_40 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define NUMBERS_56 NUMBERS_48 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define NUMBERS_64 NUMBERS_56 ", %56, %57, %58, %59, %60, %61, %62, %63"
#define NUMBERS_72 NUMBERS_64 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define NUMBERS_80 NUMBERS_72 ", %72, %73, %74, %75, %76, %77, %78, %79"
#define NUMBERS_88 NUMBERS_80 ", %80, %81, %82, %83, %84, %85, %86, %87"
#define NUMBERS_96 NUMBERS_88 ", %88, %89, %90, %91, %92, %93, %94, %95"
#define NUMBERS_104 NUMBERS_96 ", %96, %97, %98, %99, %100, %101, %102, %103"
#define NUMBERS_112 NUMBERS_104 ", %104, %105, %106, %107, %108, %109, %110, %111"
#define NUMBERS_120 NUMBERS_112 ", %112, %113, %114, %115, %116, %117, %118, %119"
#define NUMBERS_128 NUMBERS_120 ", %120, %121, %122, %123, %124, %125, %126, %127"
// clang-format on
#define SUMS_4(s, i) "+f"(s[i]), "+f"(s[i + 1]), "+f"(s[i + 2]), "+f"(s[i + 3])
#define SUMS_AT(s, i) SUMS_4(s, i), SUMS_4(s, i + 4)
#define SUMS_8(s) SUMS_AT(s, 0)
#define SUMS_16(s) SUMS_8(s), SUMS_AT(s, 8)
#define SUMS_24(s) SUMS_16(s), SUMS_AT(s, 16)
#define SUMS_32(s) SUMS_24(s), SUMS_AT(s, 24)
#define SUMS_40(s) SUMS_32(s), SUMS_AT(s, 32)
#define SUMS_48(s) SUMS_40(s), SUMS_AT(s, 40)
#define SUMS_56(s) SUMS_48(s), SUMS_AT(s, 48)
#define SUMS_64(s) SUMS_56(s), SUMS_AT(s, 56)
#define SUMS_72(s) SUMS_64(s), SUMS_AT(s, 64)
#define SUMS_80(s) SUMS_72(s), SUMS_AT(s, 72)
#define SUMS_88(s) SUMS_80(s), SUMS_AT(s, 80)
#define SUMS_96(s) SUMS_88(s), SUMS_AT(s, 88)
#define SUMS_104(s) SUMS_96(s), SUMS_AT(s, 96)
#define SUMS_112(s) SUMS_104(s), SUMS_AT(s, 104)
#define SUMS_120(s) SUMS_112(s), SUMS_AT(s, 112)
#define SUMS_128(s) SUMS_120(s), SUMS_AT(s, 120)

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

// A product m64n`n`k16, whose sums are `half` as many; `operands` are the numbers of a and b,
// `keeps` that of keeps, `flags` say that operands are taken as they are (1) and are not transposed
// (0).
#define PRODUCT(n, half, operands, keeps, flags)                                         \
  "{\n.reg .pred p;\nsetp.ne.b32 p, " keeps ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n \
  "k16.f32.bf16.bf16 {" NUMBERS_##half "}, " operands ", p, " flags ";\n}"

#define MULTIPLY(n, half, operands, keeps_number)                                             \
  template <>                                                                                 \
  __device__ inline void Multiply<n>(float(&sums)[half], uint64_t a, uint64_t b, int keeps) { \
    asm volatile(PRODUCT(n, half, operands, keeps_number, "1, 1, 0, 0")                       \
                 : SUMS_##half(sums)                                                          \
                 : "l"(a), "l"(b), "r"(keeps));                                               \
  }
MULTIPLY(32, 16, "%16, %17", "%18")
MULTIPLY(64, 32, "%32, %33", "%34")
MULTIPLY(128, 64, "%64, %65", "%66")
MULTIPLY(256, 128, "%128, %129", "%130")

#define MULTIPLY_REGISTERS(name, n, half, operands, keeps_number, is_transposed)        \
  template <>                                                                           \
  __device__ inline void name<n>(float(&sums)[half], const uint32_t(&a)[4], uint64_t b, \
                                 int keeps) {                                           \
    asm volatile(PRODUCT(n, half, operands, keeps_number, "1, 1, " is_transposed)       \
                 : SUMS_##half(sums)                                                    \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keeps));     \
  }
MULTIPLY_REGISTERS(MultiplyRegisters, 16, 8, "{%8, %9, %10, %11}, %12", "%13", "0")
MULTIPLY_REGISTERS(MultiplyRegisters, 32, 16, "{%16, %17, %18, %19}, %20", "%21", "0")
MULTIPLY_REGISTERS(MultiplyRegisters, 48, 24, "{%24, %25, %26, %27}, %28", "%29", "0")
MULTIPLY_REGISTERS(MultiplyRegisters, 64, 32, "{%32, %33, %34, %35}, %36", "%37", "0")
MULTIPLY_REGISTERS(MultiplyRegisters, 80, 40, "{%40, %41, %42, %43}, %44", "%45", "0")
MULTIPLY_REGISTERS(MultiplyRegisters, 96, 48, "{%48, %49, %50, %51}, %52", "%53", "0")
MULTIPLY_REGISTERS(MultiplyRegisters, 112, 56, "{%56, %57, %58, %59}, %60", "%61", "0")
MULTIPLY_REGISTERS(MultiplyRegisters, 128, 64, "{%64, %65, %66, %67}, %68", "%69", "0")
MULTIPLY_REGISTERS(MultiplyRegisters, 144, 72, "{%72, %73, %74, %75}, %76", "%77", "0")
MULTIPLY_REGISTERS(MultiplyRegisters, 160, 80, "{%80, %81, %82, %83}, %84", "%85", "0")
MULTIPLY_REGISTERS(MultiplyRegisters, 176, 88, "{%88, %89, %90, %91}, %92", "%93", "0")
MULTIPLY_REGISTERS(MultiplyRegisters, 192, 96, "{%96, %97, %98, %99}, %100", "%101", "0")
MULTIPLY_REGISTERS(MultiplyRegisters, 208, 104, "{%104, %105, %106, %107}, %108", "%109", "0")
MULTIPLY_REGISTERS(MultiplyRegisters, 224, 112, "{%112, %113, %114, %115}, %116", "%117", "0")
MULTIPLY_REGISTERS(MultiplyRegisters, 240, 120, "{%120, %121, %122, %123}, %124", "%125", "0")
MULTIPLY_REGISTERS(MultiplyRegisters, 256, 128, "{%128, %129, %130, %131}, %132", "%133", "0")
MULTIPLY_REGISTERS(MultiplyTransposed, 64, 32, "{%32, %33, %34, %35}, %36", "%37", "1")
MULTIPLY_REGISTERS(MultiplyTransposed, 128, 64, "{%64, %65, %66, %67}, %68", "%69", "1")
MULTIPLY_REGISTERS(MultiplyTransposed, 256, 128, "{%128, %129, %130, %131}, %132", "%133", "1")

#undef MULTIPLY_REGISTERS
#undef MULTIPLY
#undef PRODUCT
#undef NUMBERS_8
#undef NUMBERS_16
#undef NUMBERS_24
#undef NUMBERS_32
#undef NUMBERS_40
#undef NUMBERS_48
#undef NUMBERS_56
#undef NUMBERS_64
#undef NUMBERS_72
#undef NUMBERS_80
#undef NUMBERS_88
#undef NUMBERS_96
#undef NUMBERS_104
#undef NUMBERS_112
#undef NUMBERS_120
#undef NUMBERS_128
#undef SUMS_4
#undef SUMS_AT
#undef SUMS_8
#undef SUMS_16
#undef SUMS_24
#undef SUMS_32
#undef SUMS_40
#undef SUMS_48
#undef SUMS_56
#undef SUMS_64
#undef SUMS_72
#undef SUMS_80
#undef SUMS_88
#undef SUMS_96
#undef SUMS_104
#undef SUMS_112
#undef SUMS_120
#undef SUMS_128

}  // namespace expertile::cuda
