// The targets that programs can be compiled for, and what each one honours.
// Not how they compute or what they write.
#pragma once

#include <string>
#include <vector>

#include "expertile/option_table.h"

namespace expertile {

struct TargetDescription {
  std::string name;                  // CompileOptions::target
  std::string about;                 // a line
  bool runs_here = false;            // its programs run in this process; else it makes files
  std::vector<std::string> dtypes;   // CompileOptions::dtype
  std::vector<OptionGroup> honours;  // beside OptionGroup::kGeneral
};

std::vector<TargetDescription> Targets();

}  // namespace expertile
