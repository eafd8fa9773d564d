#include <immintrin.h>

#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "formats/mxfp4.h"
#include "targets/cpu/kernel_table.h"
#include "targets/cpu/kernel_target.h"

EXPERTILE_BEGIN_TARGET(
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avx2,fma,amx-tile,amx-bf16,amx-int8")
namespace expertile::cpu::amx {
namespace {
#include "targets/cpu/amx_table-inl.h"
}  // namespace
}  // namespace expertile::cpu::amx
EXPERTILE_END_TARGET

namespace expertile::cpu {
const KernelTable& KernelsAmx() { return amx::kTable; }
}  // namespace expertile::cpu
