// Model: a checkpoint described, its options resolved, its weights prepared for a target.
#include "expertile/model.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/processors.h"
#include "base/stopwatch.h"
#include "base/worker_pool.h"
#include "compiling/compile.h"
#include "compiling/target_table.h"
#include "dispatch/auto_blocking.h"
#include "dispatch/placement.h"
#include "model/mrope_positions.h"
#include "running/session_state.h"

namespace expertile {
namespace {

constexpr int64_t kDefaultCtxLen = 4096;

// Of options with a ctx_len.
int64_t MaxStepTokens(const CompileOptions& options) {
  return options.batch_size * std::min(options.prefill_seq_len, *options.ctx_len);
}

// What auto stands for. A graph's NSPs are the card's cores.
void ResolveBlocking(const DecoderSpec& spec, CompileOptions& options) {
  const AutoBlocking chosen = ChooseBlocking(spec.moe.num_experts, CoresOf(options));
  if (options.moe_prefill_num_nsp == CompileOptions::kAutoNumNsp) {
    options.moe_prefill_num_nsp = chosen.num_nsp;
  }
  if (options.moe_prefill_packed_chunk_size == CompileOptions::kAutoChunkSize) {
    options.moe_prefill_packed_chunk_size = chosen.packed_chunk_size;
  }
}

}  // namespace

Result<CompileOptions> ResolveOptions(CompileOptions options, const ModelConfig& model) {
  EXPERTILE_RETURN_IF_ERROR(CheckOptions(options));
  const DecoderSpec& spec = model.spec;
  if (options.skip_vision && !model.vision) {
    return InvalidArgument("skip_vision: the model {} has no vision part", spec.model_type);
  }
  const bool has_vision = HasVision(options, model);
  if (options.skip_lang && !has_vision) {
    return InvalidArgument("skip_lang: without a vision part there is nothing left");
  }
  if ((options.height || options.width) && !has_vision) {
    return InvalidArgument("height, width: there is no vision graph that they would be of");
  }
  options.dtype = NameOf(ArithmeticOf(options));
  if (!options.ctx_len) options.ctx_len = std::min(kDefaultCtxLen, spec.max_positions);
  if (*options.ctx_len > spec.max_positions) {
    return InvalidArgument("ctx_len: {}, the model has {} positions", *options.ctx_len,
                           spec.max_positions);
  }
  ResolveBlocking(spec, options);
  if (options.moe_prefill_num_nsp) {
    EXPERTILE_RETURN_IF_ERROR(
        Placement::Create(spec.moe.num_experts, *options.moe_prefill_num_nsp));
  }
  return options;
}

int CoresOf(const CompileOptions& options) {
  if (options.num_cores != 0) return options.num_cores;
  const int cores = TargetOf(options).default_cores;
  return cores != 0 ? cores : NumUsableProcessors();
}

KvFormat KvFormatOf(const CompileOptions& options) {
  if (options.mxint8_kv_cache) return KvFormat::kMxInt8;
  const bool is_float32 = ArithmeticOf(options) == MatmulArithmetic::kFloat32;
  return is_float32 ? KvFormat::kFloat32 : KvFormat::kBFloat16;
}

TargetOptions TargetOptionsOf(const CompileOptions& options) {
  return {
      .arithmetic = ArithmeticOf(options),
      .blocking = {options.moe_prefill_num_nsp.value_or(0), options.moe_prefill_packed_chunk_size},
      .num_workers = CoresOf(options),
      .batch_size = options.batch_size,
      .ctx_len = *options.ctx_len,
      .max_step_tokens = MaxStepTokens(options),
      .skip_vision = options.skip_vision,
      .mxfp6_matmul = options.mxfp6_matmul,
      .kv_format = KvFormatOf(options)};
}

Model::Model(std::shared_ptr<const State> state) : state_(std::move(state)) {}

Result<Model> Model::Load(const std::filesystem::path& folder) {
  const Stopwatch watch;
  EXPERTILE_ASSIGN(auto checkpoint,
                   CatchOutOfMemory("the checkpoint", [&] { return LoadCheckpoint(folder); }));
  auto description = Describe(*checkpoint);
  Log(LogLevel::kInfo, "{}: {}, {} layers, {} files, {:.1f} MiB of tensors, {:.3f} s",
      folder.string(), description.model_type, description.num_layers,
      checkpoint->tensors.files().size(),
      static_cast<double>(description.checkpoint_bytes) / 1048576.0, watch.seconds());
  return Model(std::make_shared<const State>(State{std::move(checkpoint), std::move(description)}));
}

const ModelDescription& Model::description() const { return state_->description; }
const std::filesystem::path& Model::folder() const { return state_->checkpoint->config.folder; }

Result<NspPlacement> Model::PlacementOn(int num_nsp) const {
  return PlacementOf(state_->checkpoint->config.spec.moe.num_experts, num_nsp);
}

Result<std::vector<int32_t>> Model::RopePositions(std::span<const int32_t> token_ids,
                                                  std::span<const PatchGrid> grids) const {
  const ModelConfig& model = state_->checkpoint->config;
  if (!model.vision) {
    return InvalidArgument("images: the model {} reads text only", model.spec.model_type);
  }
  const ImagePromptSpec& prompt = model.vision->spec.prompt;
  std::vector<ImageGrid> patches;
  for (const auto& [t, h, w] : grids) {
    patches.push_back({t, h, w});
    if (patches.back().IsStill(prompt.merge_size)) continue;
    return InvalidArgument("a grid of {} x {} x {} patches, expected 1 x {}n x {}n", t, h, w,
                           prompt.merge_size, prompt.merge_size);
  }
  EXPERTILE_ASSIGN(MropePositions mrope, ComputeMropePositions(token_ids, patches, prompt));
  return std::move(mrope.positions);
}

Result<Program> Model::Compile(const CompileOptions& options, const OnProgress& on_progress,
                               const IsCancelled& is_cancelled) const {
  EXPERTILE_ASSIGN(CompileOptions resolved, ResolveOptions(options, state_->checkpoint->config));
  const TargetRow& target_row = TargetOf(resolved);
  if (!target_row.runs_here()) {
    return Unsupported("target: {} makes files for other machines, and runs nothing here",
                       resolved.target);
  }
  if (!resolved.compile_dir.empty() || !resolved.cache_dir.empty()) {
    EXPERTILE_ASSIGN(const CompiledProgram compiled,
                     CompileToDisk(options, on_progress, is_cancelled));
    return Program::Open(compiled.folder);
  }
  const Stopwatch watch;
  TargetOptions target_options = TargetOptionsOf(resolved);
  target_options.on_layer = WatchOf(on_progress, is_cancelled);
  EXPERTILE_ASSIGN(auto target, CatchOutOfMemory("the weights", [&] {
                     return PackAndOpen(target_row, *state_->checkpoint, target_options);
                   }));
  resolved.num_cores = CoresOf(resolved);
  Log(LogLevel::kInfo, "packed for {} ({}, {} workers), {:.3f} s", resolved.target, target->isa(),
      resolved.num_cores, watch.seconds());
  const KvFormat kv_format = KvFormatOf(resolved);
  return Program(std::make_shared<const Program::State>(Program::State{
      state_->checkpoint->config, state_->description, std::move(resolved), kv_format,
      std::move(target), [checkpoint = state_->checkpoint, cache_dir = options.cache_dir] {
        return DigestOfCheckpoint(*checkpoint, cache_dir);
      }}));
}

}  // namespace expertile
