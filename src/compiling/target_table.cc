#include "compiling/target_table.h"

#include <algorithm>
#include <deque>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "compiling/graph_exports.h"
#include "compiling/qaic_programs.h"
#include "expertile/targets.h"
#include "targets/cpu/cpu_program.h"
#include "targets/cuda/cuda_program.h"
#include "targets/reference/reference_program.h"

namespace expertile {
namespace {

struct Table {
  std::mutex mutex;
  std::deque<TargetRow> rows = {reference::ReferenceTarget(), cpu::CpuTarget(), cuda::CudaTarget(),
                                OnnxTarget(), QaicTarget()};
};

Table& TheTable() {
  static Table table;
  return table;
}

// Null, or the row; the caller holds the table's mutex.
const TargetRow* Find(const Table& table, std::string_view name) {
  const auto row = std::ranges::find(table.rows, name, &TargetRow::name);
  return row == table.rows.end() ? nullptr : &*row;
}

template <typename Visitor>
void VisitRows(Visitor visit) {
  Table& table = TheTable();
  const std::lock_guard lock(table.mutex);
  for (const TargetRow& row : table.rows) visit(row);
}

}  // namespace

const TargetRow* FindTarget(std::string_view name) {
  Table& table = TheTable();
  const std::lock_guard lock(table.mutex);
  return Find(table, name);
}

Status RegisterTarget(TargetRow row) {
  Table& table = TheTable();
  const std::lock_guard lock(table.mutex);
  if (Find(table, row.name) != nullptr) {
    return InvalidArgument("target: there is one of the name {} already", row.name);
  }
  table.rows.push_back(std::move(row));
  return {};
}

std::vector<std::string> TargetNames() {
  std::vector<std::string> names;
  VisitRows([&](const TargetRow& row) { names.emplace_back(row.name); });
  return names;
}

std::vector<std::string> ArithmeticNames() {
  std::vector<std::string> names;
  VisitRows([&](const TargetRow& row) {
    for (const MatmulArithmetic each : row.arithmetics) {
      const std::string name(NameOf(each));
      if (std::ranges::count(names, name) == 0) names.push_back(name);
    }
  });
  return names;
}

const TargetRow& TargetOf(const CompileOptions& options) {
  const TargetRow* row = FindTarget(options.target);
  EXPERTILE_DCHECK(row != nullptr);
  return *row;
}

MatmulArithmetic ArithmeticOf(const CompileOptions& options) {
  const std::vector<MatmulArithmetic>& has = TargetOf(options).arithmetics;
  if (options.dtype.empty()) return has[0];
  const auto named = std::ranges::find(
      has, options.dtype, [](MatmulArithmetic arithmetic) { return NameOf(arithmetic); });
  EXPERTILE_DCHECK(named != has.end());
  return *named;
}

std::string ListWords(const std::vector<std::string>& words, std::string_view last) {
  std::string list;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) list += i + 1 < words.size() ? ", " : fmt::format(" {} ", last);
    list += words[i];
  }
  return list;
}

Result<std::unique_ptr<TargetProgram>> PackAndOpen(std::string_view target,
                                                   const Checkpoint& checkpoint,
                                                   const TargetOptions& options) {
  const TargetRow* row = FindTarget(target);
  if (row == nullptr || !row->runs_here()) {
    return Unsupported("target: {} is none that runs here", OneLine(target));
  }
  return PackAndOpen(*row, checkpoint, options);
}

std::vector<TargetDescription> Targets() {
  std::vector<TargetDescription> targets;
  VisitRows([&](const TargetRow& row) {
    TargetDescription target{
        std::string(row.name), std::string(row.about), row.runs_here(), {}, row.honours};
    for (const MatmulArithmetic each : row.arithmetics) target.dtypes.emplace_back(NameOf(each));
    targets.push_back(std::move(target));
  });
  return targets;
}

}  // namespace expertile
