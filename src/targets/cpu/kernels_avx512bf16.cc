#include <immintrin.h>

#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "formats/mxfp4.h"
#include "targets/cpu/kernel_table.h"
#include "targets/cpu/kernel_target.h"

EXPERTILE_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avx2,fma")
namespace expertile::cpu::avx512bf16 {
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
#include "targets/cpu/mxint8_vnni-inl.h"
#include "targets/cpu/kernel_sets-inl.h"
#include "targets/cpu/dot_bfloat16-inl.h"
// clang-format on

constexpr KernelTable kTable =
    TableOf(Isa::kAvx512Bf16, "avx512bf16", {kDotKernels, PeakDotBFloat16},
            {Mxint8Kernels<VnniDots>::kAll, PeakInt8<DotVnni>});
static_assert(Mxint8Fits(kTable));

}  // namespace
}  // namespace expertile::cpu::avx512bf16
EXPERTILE_END_TARGET

namespace expertile::cpu {
const KernelTable& KernelsAvx512Bf16() { return avx512bf16::kTable; }
}  // namespace expertile::cpu
