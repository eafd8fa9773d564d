#include <immintrin.h>

#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "formats/mxfp4.h"
#include "targets/cpu/kernel_table.h"
#include "targets/cpu/kernel_target.h"

EXPERTILE_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")
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
#include "targets/cpu/roof_kernels-inl.h"
#include "targets/cpu/dot_bfloat16-inl.h"
// clang-format on

constexpr auto kRowCounts = std::make_integer_sequence<int, kTileRows>();
constexpr GemmKernels kFloat32Kernels = {4,
                                         kBlockDepth,
                                         PackTile<false>,
                                         GateToTile<false>,
                                         SoftmaxOfPanels<FloatTile<false>>,
                                         TilesByRows<Float32Kernel>(kRowCounts),
                                         TilesByRows<BFloat16Kernel>(kRowCounts),
                                         true,
                                         ExpandMxfp4ToFloat32,
                                         ExpandMxfp6ToFloat32,
                                         ExpandMxint8Keys<ToFloat32>,
                                         ExpandMxint8Values<ToFloat32>};
constexpr GemmKernels kBFloat16Kernels = {2,
                                          kPairBlockDepth,
                                          PackPairTile,
                                          GateToPairTile,
                                          SoftmaxOfPanels<PairTile>,
                                          {},
                                          TilesByRows<DotBFloat16Kernel>(kRowCounts),
                                          false,
                                          ExpandMxfp4ToPairs,
                                          ExpandMxfp6ToPairs,
                                          ExpandMxint8Keys<ToPairs>,
                                          ExpandMxint8Values<ToPairs>};
constexpr KernelTable kTable = {Isa::kAvx512Bf16, "avx512bf16",     kPanelColumns, kTileRows,
                                kFloat32Kernels,  kBFloat16Kernels, ExpandPanel,   Combine,
                                StoreRows,        MergeSoftmax,     StoreSoftmax,  PeakFloat32,
                                PeakDotBFloat16,  PeakInt8,         ReadBytes};

}  // namespace
}  // namespace expertile::cpu::avx512bf16
EXPERTILE_END_TARGET

namespace expertile::cpu {
const KernelTable& KernelsAvx512Bf16() { return avx512bf16::kTable; }
}  // namespace expertile::cpu
