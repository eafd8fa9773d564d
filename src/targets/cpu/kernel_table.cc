#include "targets/cpu/kernel_table.h"

namespace expertile::cpu {

const KernelTable& KernelsFor(Isa isa) {
  switch (isa) {
    case Isa::kAmx:
      return KernelsAmx();
    case Isa::kAvx512Bf16:
      return KernelsAvx512Bf16();
    case Isa::kAvx512:
      return KernelsAvx512();
    case Isa::kAvx2:
      break;
  }
  return KernelsAvx2();
}

}  // namespace expertile::cpu
