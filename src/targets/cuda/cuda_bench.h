// Times a MoE layer on random weights and routing on the device, next to the device's measured
// roof. Not a command: what it measures, commands print (TargetRow::bench).
#pragma once

#include <cstdint>
#include <span>

#include "expertile/bench.h"
#include "targets/target_row.h"

namespace expertile::cuda {

// The device's copy bandwidth, and wgmma's rate with operands in shared memory.
Result<Roof> MeasureRoof();

// A layer blocked in each of the ways, in turns. `routing`: recorded ids [T,K], or empty: random
// ones of options.skew.
Result<MoeRuns> BenchMoe(const MoeBenchOptions& options, std::span<const int32_t> routing,
                         std::span<const MoeBlocking> blockings);

}  // namespace expertile::cuda
