// TargetRow: what a target is to everybody else: its name, what it honours, how it packs, opens, or
// writes files. Not the list of them: compiling/target_table.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "expertile/bench.h"
#include "expertile/model.h"
#include "expertile/option_table.h"
#include "model/checkpoint.h"
#include "targets/target.h"
#include "targets/weight_store.h"

namespace expertile {

// A target whose programs run in this process.
struct InProcessTarget {
  // The instruction set that programs are packed for on this machine: TargetOptions::isa. Errors:
  // one was asked for that cannot be honoured, or the machine has none.
  Result<std::string> (*choose_isa)() = nullptr;
  // Packs a checkpoint's weights: blocks of bytes that `open` alone understands.
  Status (*pack)(const Checkpoint& checkpoint, const TargetOptions& options,
                 WeightWriter& writer) = nullptr;
  // A program over packed weights, from a package or from new_store's, which it keeps alive.
  Result<std::unique_ptr<TargetProgram>> (*open)(
      const TargetModel& model, const TargetOptions& options,
      std::shared_ptr<const WeightReader> weights) = nullptr;
  // Where the weights of a program lie that is not kept on disk: this process's memory, a device's.
  std::shared_ptr<WeightStore> (*new_store)() = nullptr;
  // How packed weights lie: another number whenever `open` cannot read what an earlier `pack` wrote
  // of the same model, so that a cached program is made anew.
  int layout = 1;
};

// Compiles to files for another machine, in the cache or options.compile_dir. `options` are
// resolved.
using MakeFiles = Result<CompiledProgram> (*)(const Checkpoint& checkpoint,
                                              const CompileOptions& options, const Watch& watch);

// The runs of one MoE layer on a device, blocked in some ways in turns.
struct MoeRuns {
  std::vector<std::vector<double>> seconds;  // of each blocking: of each run
  double bytes = 0.0;                        // of the chosen experts' weights
  Roof roof;
};

// What `bench` measures of a device. Null for the processor's own targets: the processor is
// measured then, and its MoE layer is the target cpu's.
struct DeviceBench {
  Result<Roof> (*roof)() = nullptr;
  // A layer on options.num_runs runs of each of `blockings`. `routing`: recorded ids [T,K], none of
  // them padding, or empty: random ones.
  Result<MoeRuns> (*moe)(const MoeBenchOptions& options, std::span<const int32_t> routing,
                         std::span<const MoeBlocking> blockings) = nullptr;
  // A program's weights, made when `open` asks for them; experts in bfloat16 or in MXFP4.
  std::shared_ptr<const WeightReader> (*random_weights)(bool has_mxfp4_experts) = nullptr;
};

struct TargetRow {
  std::string_view name;   // CompileOptions::target
  std::string_view about;  // a line for --help and docs
  std::vector<MatmulArithmetic> arithmetics = {
      MatmulArithmetic::kFloat32};        // CompileOptions::dtype, its default first
  std::vector<OptionGroup> honours = {};  // beside OptionGroup::kGeneral
  int default_cores = 0;  // what num_cores 0 stands for; 0 = the processors this process may use
  // One graph is compiled for several shapes, so that decode's serves prefill, too, where nothing
  // needs a graph of its own.
  bool specialises_graphs = false;
  // Exactly one of the two.
  InProcessTarget in_process = {};
  MakeFiles make_files = nullptr;
  DeviceBench bench = {};

  bool runs_here() const { return make_files == nullptr; }
};

bool Honours(const TargetRow& target, OptionGroup group);

TargetModel ModelOf(const ModelConfig& config);

// Packs into the target's store and opens that, on the instruction set that it chooses.
Result<std::unique_ptr<TargetProgram>> PackAndOpen(const TargetRow& target,
                                                   const Checkpoint& checkpoint,
                                                   TargetOptions options);

}  // namespace expertile
