// What is behind the public Model, Program and Session.
// Not public: include/expertile/model.h is.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "expertile/model.h"
#include "model/checkpoint.h"
#include "running/kv_file.h"
#include "running/sequences.h"
#include "running/step_rows.h"
#include "targets/target.h"

namespace expertile {

struct Model::State {
  std::shared_ptr<const Checkpoint> checkpoint;
  ModelDescription description;
};

struct Program::State {
  ModelConfig model;
  ModelDescription description;
  CompileOptions options;  // resolved
  KvFormat kv_format;      // of its sessions' caches
  std::unique_ptr<TargetProgram> target;
  // Of the weights and config.json; a program of a checkpoint computes it when it is asked for.
  std::function<Result<std::string>()> model_digest;
};

// Which experts lie on which of `num_nsp` NSPs. Errors: fewer experts than NSPs.
Result<NspPlacement> PlacementOf(int num_experts, int num_nsp);

struct Session::State {
  std::shared_ptr<const Program::State> program;
  std::unique_ptr<TargetSession> target;
  Sequences sequences;
  IsCancelled is_cancelled = nullptr;

  // What a KV cache file of a sequence must say.
  Result<KvHeader> HeaderOf(int64_t sequence) const;

  // Blocks for `growths`, with what they hold so far.
  Status Reserve(std::span<const Sequences::Growth> growths);
  // Runs the extensions in steps of at most `step_limit` tokens of each.
  Result<std::vector<float>> Extend(std::span<const Extension> extensions, int64_t step_limit,
                                    LogitsWanted wanted, MoeTrace* trace);
  // Those of one batch; `logits` receives NumLogitRows() rows.
  Status RunSteps(std::span<const PlacedExtension> placed, int64_t step_limit, LogitsWanted wanted,
                  MoeTrace* trace, std::span<float> logits);
};

}  // namespace expertile
