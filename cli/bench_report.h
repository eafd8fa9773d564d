// What `expertile bench` prints of its results: a table for people, or one JSON object.
// Not the measuring: expertile/bench.h.
#pragma once

#include <string>

#include "expertile/bench.h"

namespace expertile::cli {

// What a whole model's result is of.
struct BenchedModel {
  std::string path;
  std::string dtype;
  int num_layers = 0;
  int64_t tokens = 0;
};

void Report(const Roof& roof, bool json);
void Report(const MoeBenchOptions& options, const MoeBenchResult& result, bool json);
void Report(const MoeBenchOptions& options, const MoeSweepResult& result, bool json);
void Report(const BenchedModel& model, const ModelBenchResult& result, bool json);

}  // namespace expertile::cli
