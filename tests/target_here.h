// Whether a target's programs run on this machine: a device's need the device.
// Not for tests that are about the refusal.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "compiling/target_table.h"

namespace expertile {

// What is missing; empty if nothing is.
inline std::string MissingFor(const std::string& target) {
  const auto isa = FindTarget(target)->in_process.choose_isa();
  return isa ? "" : isa.error().message;
}

}  // namespace expertile

// Leaves a test that reports itself skipped, unless the target runs here.
#define EXPERTILE_SKIP_UNLESS_HERE(target)                                         \
  if (const std::string missing = expertile::MissingFor(target); !missing.empty()) \
  GTEST_SKIP() << missing
