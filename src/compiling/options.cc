// Checks compile options against their ranges, against what the target honours, and against each
// other.
#include "expertile/options.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "compiling/target_table.h"
#include "expertile/option_table.h"

namespace expertile {
namespace {

Status CheckValue(const OptionRow& row, int64_t value) {
  if (value == row.auto_value) return {};
  if (value < row.min || value > row.max) {
    return InvalidArgument("{}: {}, expected {}", row.name, value, ValuesOf(row));
  }
  return {};
}
Status CheckValue(const OptionRow&, bool) { return {}; }
Status CheckValue(const OptionRow& row, int value) { return CheckValue(row, int64_t{value}); }
Status CheckValue(const OptionRow& row, const std::string& value) {
  if (row.choices == nullptr || (value.empty() && !row.unset.empty())) return {};
  const std::vector<std::string> choices = row.choices();
  if (std::ranges::count(choices, value) > 0) return {};
  return InvalidArgument("{}: {}, expected {}", row.name, OneLine(value), ValuesOf(row));
}
Status CheckValue(const OptionRow&, const std::vector<std::string>&) { return {}; }
template <typename T>
Status CheckValue(const OptionRow& row, const std::optional<T>& value) {
  return value ? CheckValue(row, *value) : Status();
}

// An option that the target does not honour is refused, never ignored. (retain_full_kv is honoured
// always: caches keep every position of windowed layers, too.)
Status RefuseUnhonoured(const CompileOptions& options) {
  const TargetRow& target = TargetOf(options);
  for (const OptionRow& row : OptionTable()) {
    if (!Honours(target, row.group) && !IsDefault(row, options)) {
      return Unsupported("{}: the target {} does not have this option", row.name, target.name);
    }
  }
  if (options.dtype.empty()) return {};
  std::vector<std::string> has;
  for (const MatmulArithmetic each : target.arithmetics) has.emplace_back(NameOf(each));
  if (std::ranges::count(has, options.dtype) > 0) return {};
  return InvalidArgument("dtype: {}, the target {} has {}{}", options.dtype, target.name,
                         ListWords(has, "and"), has.size() == 1 ? " only" : "");
}

Status CheckPartitions(const CompileOptions& options) {
  const QaicOptions& qaic = options.qaic;
  if (qaic.mdp_num_partitions > options.num_devices) {
    return InvalidArgument("mdp_num_partitions: {}, expected 1 to {} (num_devices)",
                           qaic.mdp_num_partitions, options.num_devices);
  }
  if (options.num_devices % qaic.mdp_num_partitions != 0) {
    return InvalidArgument("mdp_num_partitions: {}, which does not divide num_devices {}",
                           qaic.mdp_num_partitions, options.num_devices);
  }
  if (!qaic.mdp_load_partition_config.empty() && qaic.mdp_num_partitions > 1) {
    return InvalidArgument(
        "mdp_load_partition_config: a partition file and mdp_num_partitions {}, expected one of "
        "the two",
        qaic.mdp_num_partitions);
  }
  return {};
}

}  // namespace

Status CheckOptions(const CompileOptions& options) {
  for (const OptionRow& row : OptionTable()) {
    EXPERTILE_RETURN_IF_ERROR(
        VisitOption(row, options, [&](const auto& value) { return CheckValue(row, value); }));
  }
  if (options.prefill_only.value_or(false) && options.prefill_seq_len == 1) {
    return InvalidArgument(
        "prefill_only: true with prefill_seq_len: 1, which makes a decode program");
  }
  EXPERTILE_RETURN_IF_ERROR(RefuseUnhonoured(options));
  if (options.mxfp6_matmul && ArithmeticOf(options) == MatmulArithmetic::kMxint8) {
    return InvalidArgument("mxfp6_matmul: true with dtype: {}, expected one format of matrices",
                           options.dtype);
  }
  return CheckPartitions(options);
}

}  // namespace expertile
