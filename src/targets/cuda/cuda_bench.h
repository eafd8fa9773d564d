// Times a MoE layer on random weights and routing on the device, next to the device's measured
// roof. Not a command: what it measures, commands print (TargetRow::bench).
#pragma once

#include <cstdint>
#include <span>

#include "expertile/bench.h"

namespace expertile::cuda {

// The device's copy bandwidth, and wgmma's rate with operands in shared memory.
Result<Roof> MeasureRoof();

// `routing`: recorded ids [T,K], or empty: random ones of options.skew.
Result<MoeBenchResult> BenchMoe(const MoeBenchOptions& options, std::span<const int32_t> routing);

}  // namespace expertile::cuda
