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
#include "targets/cpu/roof_kernels-inl.h"
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
// Activations rounded to bfloat16 but kept as floats: a product of two is exact in the FMA.
constexpr GemmKernels kBFloat16Kernels = {4,
                                          kBlockDepth,
                                          PackTile<true>,
                                          GateToTile<true>,
                                          SoftmaxOfPanels<FloatTile<true>>,
                                          TilesByRows<Float32Kernel>(kRowCounts),
                                          TilesByRows<BFloat16Kernel>(kRowCounts),
                                          true,
                                          ExpandMxfp4ToFloat32,
                                          ExpandMxfp6ToFloat32,
                                          ExpandMxint8Keys<ToFloat32>,
                                          ExpandMxint8Values<ToFloat32>};
constexpr KernelTable kTable = {Isa::kAvx2,      "avx2",           kPanelColumns, kTileRows,
                                kFloat32Kernels, kBFloat16Kernels, ExpandPanel,   Combine,
                                StoreRows,       MergeSoftmax,     StoreSoftmax,  PeakFloat32,
                                PeakFloat32,     PeakInt8,         ReadBytes};

}  // namespace
}  // namespace expertile::cpu::avx2
EXPERTILE_END_TARGET

namespace expertile::cpu {
const KernelTable& KernelsAvx2() { return avx2::kTable; }
}  // namespace expertile::cpu
