// The kernel tables that tests run: those of this processor, and of AMX over emulated tiles.
// Not used by the target.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "targets/cpu/isa.h"
#include "targets/cpu/kernel_table.h"

namespace expertile::cpu {

// The set `amx` with its tile instructions emulated; the rest needs AVX-512 BF16.
const KernelTable& KernelsEmulatedAmx();

struct TableHere {
  std::string name;
  const KernelTable* table;
};

std::vector<TableHere> TablesHere();

inline std::string NameOfTable(const testing::TestParamInfo<TableHere>& info) {
  return info.param.name;
}

}  // namespace expertile::cpu
