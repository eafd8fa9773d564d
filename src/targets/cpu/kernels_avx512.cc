#include <immintrin.h>

#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "formats/mxfp4.h"
#include "targets/cpu/kernel_table.h"
#include "targets/cpu/kernel_target.h"

EXPERTILE_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
namespace expertile::cpu::avx512 {
namespace {
// Each builds on the ones before it.
// clang-format off
#include "targets/cpu/simd_avx512-inl.h"
#include "targets/cpu/tile_kernels-inl.h"
#include "targets/cpu/epilogues-inl.h"
#include "targets/cpu/mxfp4-inl.h"
#include "targets/cpu/mxfp6-inl.h"
#include "targets/cpu/mxint8-inl.h"
#include "targets/cpu/softmax-inl.h"
#include "targets/cpu/row_kernels-inl.h"
#include "targets/cpu/roof_kernels-inl.h"
#include "targets/cpu/mxint8_tiles-inl.h"
#include "targets/cpu/kernel_sets-inl.h"
// clang-format on

constexpr KernelSet kRounding = {RoundingKernels(), PeakFloat32};
constexpr KernelTable kTable =
    TableOf(Isa::kAvx512, "avx512", kRounding, {Mxint8Kernels<WideDots>::kAll, PeakInt8<DotInt8>});
static_assert(Mxint8Fits(kTable));

}  // namespace
EXPERTILE_END_TARGET

// The same bits, sooner, on the many processors that have VNNI beside AVX-512.
EXPERTILE_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")
namespace {
namespace vnni {
// clang-format off
#include "targets/cpu/mxint8_tiles-inl.h"
#include "targets/cpu/mxint8_vnni-inl.h"
// clang-format on

constexpr KernelTable kTable =
    TableOf(Isa::kAvx512, "avx512", kRounding, {Mxint8Kernels<VnniDots>::kAll, PeakInt8<DotVnni>});
static_assert(Mxint8Fits(kTable));

}  // namespace vnni
}  // namespace
EXPERTILE_END_TARGET
}  // namespace expertile::cpu::avx512

namespace expertile::cpu {
const KernelTable& KernelsAvx512WithoutVnni() { return avx512::kTable; }
const KernelTable& KernelsAvx512() {
  return __builtin_cpu_supports("avx512vnni") != 0 ? avx512::vnni::kTable : avx512::kTable;
}
}  // namespace expertile::cpu
