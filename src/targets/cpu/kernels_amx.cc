#include <immintrin.h>

#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "formats/mxfp4.h"
#include "targets/cpu/kernel_table.h"
#include "targets/cpu/kernel_target.h"

EXPERTILE_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,amx-tile,amx-bf16")
namespace expertile::cpu::amx {
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
#include "targets/cpu/dot_bfloat16-inl.h"
#include "targets/cpu/amx_bfloat16-inl.h"
// clang-format on

constexpr auto kRowCounts = std::make_integer_sequence<int, kTileRows>();
constexpr auto kAmxRowCounts = std::make_integer_sequence<int, kAmxMaxRows>();
constexpr GemmKernels kFloat32Kernels = {.activation_size = 4,
                                         .block_depth = kBlockDepth,
                                         .max_tile_rows = kTileRows,
                                         .slice_depth = kSliceDepth,
                                         .weights_rows = 8,
                                         .pack = PackTile<false>,
                                         .gate = GateToTile<false>,
                                         .softmax = SoftmaxOfPanels<FloatTile<false>>,
                                         .float32 = TilesByRows<Float32Kernel>(kRowCounts),
                                         .bfloat16 = TilesByRows<BFloat16Kernel>(kRowCounts),
                                         .expand_pays = true,
                                         .expand_mxfp4 = ExpandMxfp4ToFloat32,
                                         .expand_mxfp6 = ExpandMxfp6ToFloat32,
                                         .expand_mxint8_keys = ExpandMxint8Keys<ToFloat32>,
                                         .expand_mxint8_values = ExpandMxint8Values<ToFloat32>};
constexpr GemmKernels kBFloat16Kernels = {.activation_size = 2,
                                          .block_depth = kPairBlockDepth,
                                          .max_tile_rows = kAmxMaxRows,
                                          .slice_depth = kAmxSliceDepth,
                                          .weights_rows = 64,
                                          .pack = PackPairTile,
                                          .gate = GateToPairTile,
                                          .softmax = SoftmaxOfPanels<PairTile>,
                                          .bfloat16 = TilesByRows<AmxBFloat16Kernel>(kAmxRowCounts),
                                          .expand_mxfp4 = ExpandMxfp4ToPairs,
                                          .expand_mxfp6 = ExpandMxfp6ToPairs,
                                          .expand_mxint8_keys = ExpandMxint8Keys<ToPairs>,
                                          .expand_mxint8_values = ExpandMxint8Values<ToPairs>,
                                          .begin = BeginTiles,
                                          .end = EndTiles};
constexpr KernelTable kTable = {.isa = Isa::kAmx,
                                .name = "amx",
                                .panel_columns = kPanelColumns,
                                .float32 = kFloat32Kernels,
                                .bfloat16 = kBFloat16Kernels,
                                .expand_panel = ExpandPanel,
                                .combine = Combine,
                                .store_rows = StoreRows,
                                .merge_softmax = MergeSoftmax,
                                .store_softmax = StoreSoftmax,
                                .peak_float32 = PeakFloat32,
                                .peak_bfloat16 = PeakAmxBFloat16,
                                .peak_int8 = PeakInt8,
                                .read_bytes = ReadBytes,
                                .rows = kRowKernels};

}  // namespace
}  // namespace expertile::cpu::amx
EXPERTILE_END_TARGET

namespace expertile::cpu {
const KernelTable& KernelsAmx() { return amx::kTable; }
}  // namespace expertile::cpu
