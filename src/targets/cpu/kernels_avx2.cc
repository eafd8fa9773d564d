#include <immintrin.h>

#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "formats/mxfp4.h"
#include "targets/cpu/kernel_table.h"
#include "targets/cpu/kernel_target.h"

EXPERTILE_BEGIN_TARGET("avx2,fma")
namespace expertile::cpu::avx2 {
namespace {
// Each builds on the ones before it.
// clang-format off
#include "targets/cpu/simd_avx2-inl.h"
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

constexpr KernelTable kTable = TableOf(Isa::kAvx2, "avx2", {RoundingKernels(), PeakFloat32},
                                       {Mxint8Kernels<WideDots>::kAll, PeakInt8<DotInt8>});
static_assert(Mxint8Fits(kTable));

}  // namespace
}  // namespace expertile::cpu::avx2
EXPERTILE_END_TARGET

namespace expertile::cpu {
const KernelTable& KernelsAvx2() { return avx2::kTable; }
}  // namespace expertile::cpu
