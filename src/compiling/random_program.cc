// Program::WithRandomWeights: a model of a config.json alone.
#include <utility>

#include "base/error.h"
#include "compiling/compile.h"
#include "compiling/target_table.h"
#include "expertile/model.h"
#include "running/session_state.h"

namespace expertile {
namespace {

std::vector<std::string> TargetsThatMakeWeights() {
  std::vector<std::string> names;
  for (const std::string& name : TargetNames()) {
    if (FindTarget(name)->bench.random_weights != nullptr) names.push_back(name);
  }
  return names;
}

// The configuration of the model's first layers; 0 = all.
Result<ModelConfig> FirstLayers(const std::filesystem::path& config, int num_layers) {
  EXPERTILE_ASSIGN(ModelConfig model, ReadLoneConfig(config));
  const auto has = static_cast<int>(model.spec.layers.size());
  if (num_layers < 0 || num_layers > has) {
    return InvalidArgument("layers: {}, the model has {}", num_layers, has);
  }
  if (num_layers > 0) model.spec.layers.resize(num_layers);
  return model;
}

}  // namespace

Result<Program> Program::WithRandomWeights(const std::filesystem::path& config, int num_layers,
                                           const CompileOptions& options) {
  EXPERTILE_ASSIGN(const ModelConfig model, FirstLayers(config, num_layers));
  EXPERTILE_ASSIGN(CompileOptions resolved, ResolveOptions(options, model));
  const TargetRow& row = TargetOf(resolved);
  if (row.bench.random_weights == nullptr) {
    return Unsupported(
        "{}: a configuration alone, for which the target {} makes no weights: {} does",
        config.string(), row.name, ListWords(TargetsThatMakeWeights(), "or"));
  }
  TargetOptions target_options = TargetOptionsOf(resolved);
  EXPERTILE_ASSIGN(target_options.isa, row.in_process.choose_isa());
  EXPERTILE_ASSIGN(auto target, CatchOutOfMemory("the weights", [&] {
                     return row.in_process.open(ModelOf(model), target_options,
                                                row.bench.random_weights(model.has_mxfp4_experts));
                   }));
  resolved.num_cores = CoresOf(resolved);
  const KvFormat kv_format = KvFormatOf(resolved);
  return Program(std::make_shared<const Program::State>(Program::State{
      model, Describe(model), std::move(resolved), kv_format, std::move(target),
      []() -> Result<std::string> { return Unsupported("random weights have no digest"); }}));
}

}  // namespace expertile
