#include "benchmarks/numbers.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/dtype.h"
#include "base/error.h"
#include "base/processors.h"
#include "base/worker_pool.h"
#include "compiling/target_table.h"
#include "targets/target.h"

namespace expertile {
namespace {

constexpr std::array kArithmetics = {
    Arithmetic{NameOf(MatmulArithmetic::kFloat32), cpu::ComputeType::kFloat32,
               [](const Roof& roof) { return roof.float32_tflops; }},
    Arithmetic{NameOf(MatmulArithmetic::kBFloat16), cpu::ComputeType::kBFloat16,
               [](const Roof& roof) { return roof.bfloat16_tflops; }},
    Arithmetic{NameOf(MatmulArithmetic::kMxint8), cpu::ComputeType::kBFloat16,
               [](const Roof& roof) { return roof.int8_tops.value_or(0.0); }}};
constexpr const Arithmetic& kFloat32 = kArithmetics[0];
constexpr const Arithmetic& kBFloat16 = kArithmetics[1];
constexpr const Arithmetic& kMxint8 = kArithmetics[2];

// The CPU target's weights by name; `own` is the arithmetic that loses nothing of them, or the only
// one that they have. A block of the MX formats is 32 codes and a scale of 8 bits.
struct Weights {
  std::string_view name;
  cpu::WeightFormat format;
  double bits;
  const Arithmetic& own;
};
constexpr std::array kWeights = {
    Weights{kFloat32.name, cpu::WeightFormat::kFloat32, 32.0, kFloat32},
    Weights{kBFloat16.name, cpu::WeightFormat::kBFloat16, 16.0, kBFloat16},
    Weights{"mxfp4", cpu::WeightFormat::kMxfp4, 4.25, kFloat32},
    Weights{"mxfp6", cpu::WeightFormat::kMxfp6, 6.25, kFloat32},
    Weights{kMxint8.name, cpu::WeightFormat::kMxint8, 8.25, kMxint8}};

template <typename Rows>
auto FindNamed(const Rows& rows, std::string_view option, std::string_view name)
    -> Result<const typename Rows::value_type*> {
  std::string names;
  for (const auto& row : rows) {
    if (row.name == name) return &row;
    names += (names.empty() ? "" : ", ") + std::string(row.name);
  }
  return InvalidArgument("{}: {}, expected one of {}", option, OneLine(name), names);
}

}  // namespace

Result<Arithmetic> ArithmeticNamed(std::string_view option, std::string_view name) {
  EXPERTILE_ASSIGN(const Arithmetic* arithmetic, FindNamed(kArithmetics, option, name));
  return *arithmetic;
}

Result<MoeNumbers> MoeNumbersOf(const MoeBenchOptions& options) {
  const std::string_view dtype =
      options.dtype.empty() ? kFloat32.name : std::string_view(options.dtype);
  EXPERTILE_ASSIGN(const Weights* weights, FindNamed(kWeights, "dtype", dtype));
  if (options.arithmetic.empty()) return MoeNumbers{weights->name, weights->format, weights->own};
  EXPERTILE_ASSIGN(const Arithmetic arithmetic, ArithmeticNamed("arithmetic", options.arithmetic));
  const bool takes = (arithmetic.name == kMxint8.name) == (weights->name == kMxint8.name) &&
                     (arithmetic.name == kFloat32.name || weights->name != kFloat32.name);
  if (!takes) {
    return InvalidArgument("arithmetic: {}, which does not take weights in {}", arithmetic.name,
                           weights->name);
  }
  return MoeNumbers{weights->name, weights->format, arithmetic};
}

const Arithmetic& BesideMatrices(const Arithmetic& arithmetic) {
  return arithmetic.name == kMxint8.name ? kBFloat16 : arithmetic;
}

double BitsOfFormat(std::string_view name) {
  const auto weights = std::ranges::find(kWeights, name, &Weights::name);
  if (weights != kWeights.end()) return weights->bits;
  return name == LongNameOf(DType::kF16) ? 16.0 : 32.0;
}

Roof PublicRoof(const cpu::Roof& roof, const cpu::KernelTable& table, int workers) {
  return {std::string(table.name),
          workers,
          roof.float32_flops * 1e-12,
          roof.bfloat16_flops * 1e-12,
          roof.int8_ops > 0.0 ? std::optional(roof.int8_ops * 1e-12) : std::nullopt,
          roof.read_bytes * 1e-9};
}

Result<const TargetRow*> RowOfTarget(const std::string& target) {
  const TargetRow* row = FindTarget(target);
  if (row != nullptr && row->runs_here()) return row;
  return InvalidArgument("target: {} is none that runs here", OneLine(target));
}

Result<Roof> MeasureRoof(const std::string& target, int num_workers) {
  EXPERTILE_ASSIGN(const TargetRow* row, RowOfTarget(target));
  return row->bench.roof != nullptr ? row->bench.roof() : MeasureRoof(num_workers);
}

Result<Roof> MeasureRoof(int num_workers) {
  EXPERTILE_ASSIGN(const cpu::Isa isa, cpu::ChooseIsa());
  const cpu::KernelTable& table = cpu::KernelsFor(isa);
  WorkerPool pool(num_workers > 0 ? num_workers : NumUsableProcessors());
  EXPERTILE_ASSIGN(const cpu::Roof roof, cpu::MeasureRoof(table, pool));
  return PublicRoof(roof, table, pool.size());
}

double MedianOf(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<int64_t>(values.size() / 2));
  return values[values.size() / 2];
}

}  // namespace expertile
