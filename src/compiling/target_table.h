// Every target by name: the only place that knows them all.
// Not what a row says: targets/target_row.h.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "expertile/options.h"
#include "targets/target_row.h"

namespace expertile {

// Null if there is none of that name. A row stays where it is.
const TargetRow* FindTarget(std::string_view name);

// Adds a target to those that are there from the start. Errors: one of its name is there.
Status RegisterTarget(TargetRow row);

std::vector<std::string> TargetNames();
// Of every target's arithmetic: what CompileOptions::dtype may be.
std::vector<std::string> ArithmeticNames();

// The row and the arithmetic of options that CheckOptions() has passed.
const TargetRow& TargetOf(const CompileOptions& options);
MatmulArithmetic ArithmeticOf(const CompileOptions& options);

// "a", "a or b", "a, b or c".
std::string ListWords(const std::vector<std::string>& words, std::string_view last);

// PackAndOpen of the target of that name, which runs here.
Result<std::unique_ptr<TargetProgram>> PackAndOpen(std::string_view target,
                                                   const Checkpoint& checkpoint,
                                                   const TargetOptions& options);

}  // namespace expertile
