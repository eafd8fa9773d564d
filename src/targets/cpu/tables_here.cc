#include "targets/cpu/tables_here.h"

#include <immintrin.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/dtype.h"
#include "formats/mxfp4.h"
#include "targets/cpu/kernel_target.h"

EXPERTILE_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avx2,fma")
#include "targets/cpu/emulated_tiles.h"
namespace expertile::cpu::emulated_amx {
namespace {
#include "targets/cpu/amx_table-inl.h"
}  // namespace
}  // namespace expertile::cpu::emulated_amx
EXPERTILE_END_TARGET

namespace expertile::cpu {

const KernelTable& KernelsEmulatedAmx() { return emulated_amx::kTable; }

std::vector<TableHere> TablesHere() {
  std::vector<TableHere> tables;
  for (const Isa isa : SupportedIsas()) {
    tables.push_back({std::string(NameOf(isa)), &KernelsFor(isa)});
    if (isa == Isa::kAvx512) tables.push_back({"avx512_without_vnni", &KernelsAvx512WithoutVnni()});
    if (isa == Isa::kAvx512Bf16) tables.push_back({"emulated_amx", &KernelsEmulatedAmx()});
  }
  return tables;
}

}  // namespace expertile::cpu
