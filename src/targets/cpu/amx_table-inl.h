// The kernels of the set `amx`, over whatever the tile intrinsics (_tile_*) are where it is
// included. Not a header of its own: included inside a namespace and target region, after
// kernel_table.h.

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
#include "targets/cpu/amx_softmax-inl.h"
#include "targets/cpu/amx_bfloat16-inl.h"
#include "targets/cpu/amx_mxint8-inl.h"
#include "targets/cpu/amx_exact-inl.h"
// clang-format on

constexpr KernelTable kTable = TableOf(Isa::kAmx, "amx", {AmxKernels(), PeakAmxBFloat16},
                                       {AmxMxint8Kernels(), PeakAmxInt8}, AmxExactKernels());
static_assert(Mxint8Fits(kTable));
