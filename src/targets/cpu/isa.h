// Which instruction set the CPU target's kernels use, chosen once at run time.
// Not the kernels themselves (targets/cpu/kernel_table.h).
#pragma once

#include <string_view>
#include <vector>

#include "expertile/result.h"

namespace expertile::cpu {

// In order of width; each includes the ones before it.
enum class Isa { kAvx2, kAvx512, kAvx512Bf16, kAmx };

// As EXPERTILE_ISA spells it: avx2, avx512, avx512bf16, amx.
std::string_view NameOf(Isa isa);

// The instruction set of that name. Errors: an unknown name, or one that this processor lacks.
Result<Isa> IsaNamed(std::string_view name);

// What the processor has and the operating system saves; empty without AVX2 and FMA.
std::vector<Isa> SupportedIsas();

// The instruction set named by the environment variable EXPERTILE_ISA, else the one with the
// highest rate on this processor. Errors: an unknown or unsupported name, or a processor without
// AVX2+FMA.
Result<Isa> ChooseIsa();

// ChooseIsa with the variable's value given: empty means that it is not set.
Result<Isa> ChooseIsa(std::string_view forced);

}  // namespace expertile::cpu
