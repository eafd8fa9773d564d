// Programs on disk: compiling into the cache, and opening.
#include "compiling/compile.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/stopwatch.h"
#include "compiling/option_json.h"
#include "compiling/target_table.h"
#include "expertile/model.h"
#include "model/checkpoint.h"
#include "program/compile_cache.h"
#include "program/file_digests.h"
#include "program/package.h"
#include "running/session_state.h"

namespace expertile {
namespace {

// Passes a package's weights on, and gives back the pages of the checkpoint after every group: what
// is resident of it is one layer at most.
class LayerByLayer : public WeightWriter {
 public:
  LayerByLayer(const CheckpointTensors& tensors, PackageWriter& writer)
      : tensors_(tensors), writer_(writer) {}

  Status BeginGroup(std::string_view group) override {
    tensors_.ReleasePages();
    return writer_.BeginGroup(group);
  }
  Status Begin(const WeightBlock& block) override { return writer_.Begin(block); }
  Result<std::span<std::byte>> Piece(int64_t num_bytes) override {
    return writer_.Piece(num_bytes);
  }

 private:
  const CheckpointTensors& tensors_;
  PackageWriter& writer_;
};

struct Asset {
  std::string name;
  std::string content;
};

Result<std::vector<Asset>> ReadAssets(const std::filesystem::path& folder) {
  std::vector<std::string> names(std::begin(kModelAssets), std::end(kModelAssets));
  std::error_code ignored;  // no such folder: none
  for (const auto& entry : std::filesystem::directory_iterator(folder / kTemplateFolder, ignored)) {
    if (entry.path().extension() != ".jinja") continue;
    names.push_back(std::string(kTemplateFolder) + "/" + entry.path().filename().string());
  }
  std::sort(names.begin() + std::size(kModelAssets), names.end());
  std::vector<Asset> assets;
  for (const std::string& name : names) {
    if (!std::filesystem::exists(folder / name)) continue;
    EXPERTILE_ASSIGN(std::string content, ReadTextFile(folder / name));
    assets.push_back({name, std::move(content)});
  }
  return assets;
}

std::vector<Specialization> SpecializationsOf(const CompileOptions& options) {
  const int64_t ctx_len = *options.ctx_len;
  const Specialization prefill{"Prefill", options.batch_size, options.prefill_seq_len, ctx_len};
  const Specialization decode{"Decode", options.batch_size, 1, ctx_len};
  if (options.prefill_only.value_or(false)) return {prefill};
  if (options.prefill_seq_len == 1) return {decode};
  return {prefill, decode};
}

// Of the weights and config.json.
Result<std::string> DigestOf(const Checkpoint& checkpoint, const FileDigests& digests,
                             const Watch& watch) {
  EXPERTILE_ASSIGN(const std::string config,
                   ReadTextFile(checkpoint.config.folder / "config.json"));
  EXPERTILE_ASSIGN(const std::string weights, digests.DigestOf(checkpoint.tensors.files(), watch));
  return FingerprintOf(
      {{"weights", weights}, {"config", Sha256Hex(std::as_bytes(std::span(config)))}});
}

// Everything that changes what a program holds or does, and nothing else.
Result<ProgramOrigin> OriginOf(const Checkpoint& checkpoint, const CompileOptions& options,
                               const std::vector<Asset>& assets, const FileDigests& digests,
                               const Watch& watch) {
  ProgramOrigin origin;
  origin.model_type = checkpoint.config.spec.model_type;
  origin.target = options.target;
  EXPERTILE_ASSIGN(origin.isa, TargetOf(options).in_process.choose_isa());
  origin.options = OptionsToJson(options);
  origin.specializations = SpecializationsOf(options);
  nlohmann::json asset_digests = nlohmann::json::object();
  for (const Asset& asset : assets) {
    asset_digests[asset.name] = Sha256Hex(std::as_bytes(std::span(asset.content)));
  }
  EXPERTILE_ASSIGN(origin.model_digest, DigestOf(checkpoint, digests, watch));
  nlohmann::json named = {{"format_version", kPackageVersion},
                          {"model", origin.model_digest},
                          {"assets", asset_digests},
                          {"target", origin.target},
                          {"isa", origin.isa},
                          {"options", origin.options}};
  const int layout = TargetOf(options).in_process.layout;
  if (layout > 1) named["layout"] = layout;
  origin.fingerprint = FingerprintOf(named);
  return origin;
}

// The program's target, which runs here.
Result<const TargetRow*> RowOf(const ProgramOrigin& origin) {
  const TargetRow* target = FindTarget(origin.target);
  if (target != nullptr && target->runs_here()) return target;
  return Unsupported("target: {} is none that runs here", OneLine(origin.target));
}

// Says in front of an error which folder it is about.
template <typename T>
Result<T> InFolder(const std::filesystem::path& folder, Result<T> result) {
  if (result) return result;
  return Fail(result.error().code, "{}: {}", folder.string(), result.error().message);
}

}  // namespace

Result<std::string> DigestOfCheckpoint(const Checkpoint& checkpoint, const std::string& cache_dir,
                                       const Watch& watch) {
  EXPERTILE_ASSIGN(const CompileCache cache, CompileCache::At(cache_dir));
  return DigestOf(checkpoint, FileDigests(cache.digests_folder()), watch);
}

Result<CompiledProgram> Model::CompileToDisk(const CompileOptions& options,
                                             const OnProgress& on_progress,
                                             const IsCancelled& is_cancelled) const {
  const Watch watch = WatchOf(on_progress, is_cancelled);
  const Checkpoint& checkpoint = *state_->checkpoint;
  EXPERTILE_ASSIGN(const CompileOptions resolved, ResolveOptions(options, checkpoint.config));
  const TargetRow& target = TargetOf(resolved);
  if (!target.runs_here()) return target.make_files(checkpoint, resolved, watch);
  const Stopwatch stopwatch;
  EXPERTILE_ASSIGN(const CompileCache cache, CompileCache::At(resolved.cache_dir));
  EXPERTILE_ASSIGN(const std::vector<Asset> assets, ReadAssets(checkpoint.config.folder));
  const FileDigests digests(cache.digests_folder());
  EXPERTILE_ASSIGN(const ProgramOrigin origin,
                   OriginOf(checkpoint, resolved, assets, digests, watch));
  TargetOptions target_options = TargetOptionsOf(resolved);
  target_options.isa = origin.isa;
  target_options.on_layer = watch;
  const auto make = [&](PackageWriter& writer) -> Status {
    for (const Asset& asset : assets) {
      EXPERTILE_RETURN_IF_ERROR(
          writer.AddAsset(asset.name, std::as_bytes(std::span(asset.content))));
    }
    LayerByLayer layers(checkpoint.tensors, writer);
    return CatchOutOfMemory(
        "the weights", [&] { return target.in_process.pack(checkpoint, target_options, layers); });
  };
  EXPERTILE_ASSIGN(CachedProgram program,
                   cache.FindOrMake(origin, resolved.compile_dir, make, watch));
  Log(LogLevel::kInfo, "{}: {}, {:.3f} s", program.folder.string(),
      program.was_found ? "found in the cache" : "compiled", stopwatch.seconds());
  return CompiledProgram{std::move(program.folder), program.was_found, {}};
}

bool Program::IsProgram(const std::filesystem::path& folder) { return Package::IsPackage(folder); }

Result<Program> Program::Open(const std::filesystem::path& folder) {
  const Stopwatch stopwatch;
  EXPERTILE_ASSIGN(Package opened, Package::Open(folder));
  const auto package = std::make_shared<const Package>(std::move(opened));
  const ProgramOrigin& origin = package->manifest().origin;
  EXPERTILE_ASSIGN(ModelConfig model, ReadModelConfig(package->assets_folder()));
  EXPERTILE_ASSIGN(const JsonObject fields,
                   JsonObject::Parse(origin.options.dump(), (folder / kManifestName).string()));
  EXPERTILE_ASSIGN(CompileOptions options, OptionsFromJson(fields));
  EXPERTILE_ASSIGN(options, ResolveOptions(std::move(options), model));
  EXPERTILE_ASSIGN(const TargetRow* row, RowOf(origin));
  const KvFormat kv_format = KvFormatOf(options);
  TargetOptions target_options = TargetOptionsOf(options);
  target_options.isa = origin.isa;
  EXPERTILE_ASSIGN(auto target, InFolder(folder, CatchOutOfMemory("the program", [&] {
                                           return row->in_process.open(ModelOf(model),
                                                                       target_options, package);
                                         })));
  options.num_cores = CoresOf(options);
  Log(LogLevel::kInfo, "{}: a program for {} ({}, {} workers), opened in {:.3f} s", folder.string(),
      options.target, target->isa(), options.num_cores, stopwatch.seconds());
  return Program(std::make_shared<const Program::State>(
      Program::State{model, Describe(model), std::move(options), kv_format, std::move(target),
                     [digest = origin.model_digest]() -> Result<std::string> { return digest; }}));
}

}  // namespace expertile
