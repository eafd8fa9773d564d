// Number formats and roofs as the benchmarks' options and results name them, over the CPU target's.
// Not the formats themselves: targets/cpu/kernel_table.h.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/bench.h"
#include "targets/cpu/kernel_table.h"
#include "targets/cpu/roof.h"
#include "targets/target_row.h"

namespace expertile {

// The CPU target's arithmetic by name, with its rate in a Roof.
struct Arithmetic {
  std::string_view name;
  cpu::ComputeType type;
  double (*tflops)(const Roof& roof);
};

// What a MoE layer's weights are in, and what they are multiplied in.
struct MoeNumbers {
  std::string_view name;  // of the weights' format
  cpu::WeightFormat weights;
  Arithmetic arithmetic;
};

// What attention's products and the LM head are in, where `arithmetic` is of the other matrices.
const Arithmetic& BesideMatrices(const Arithmetic& arithmetic);

// Errors: a name that is none, named beside those that are.
Result<Arithmetic> ArithmeticNamed(std::string_view option, std::string_view name);
Result<MoeNumbers> MoeNumbersOf(const MoeBenchOptions& options);

// Bits of a value in a weight format by name; 32 for one that is none of the CPU target's.
double BitsOfFormat(std::string_view name);

Roof PublicRoof(const cpu::Roof& roof, const cpu::KernelTable& table, int workers);

// The row of a target that runs here. Errors: there is none of that name.
Result<const TargetRow*> RowOfTarget(const std::string& target);

double MedianOf(std::vector<double> values);

}  // namespace expertile
