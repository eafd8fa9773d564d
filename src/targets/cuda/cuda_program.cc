#include "targets/cuda/cuda_program.h"

#include <memory>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/processors.h"
#include "base/worker_pool.h"
#include "targets/cuda/cuda_bench.h"
#include "targets/cuda/cuda_ops.h"
#include "targets/cuda/device_store.h"
#include "targets/cuda/random_weights.h"
#include "targets/cuda/weight_packing.h"
#include "targets/decoder_program.h"

namespace expertile::cuda {
namespace {

constexpr const char* kIsa = "sm_90a";
constexpr int kLayout = 2;  // 1 had MXFP4 blocks column by column

Result<std::string> ChooseIsa() {
  EXPERTILE_ASSIGN(const DeviceProperties device, FindDevice());
  Log(LogLevel::kInfo, "cuda: {}, {} multiprocessors", device.name, device.num_processors);
  return kIsa;
}

bool HasMxfp4Experts(const Checkpoint& checkpoint) {
  for (const LayerViews& layer : checkpoint.weights.layers) {
    const auto* moe = std::get_if<MoeViews>(&layer.mlp);
    if (moe != nullptr) return moe->experts[0].gate.weight.is_mxfp4();
  }
  return false;
}

// Of packed weights: how many layers have experts, and how many of these have them in MXFP4.
struct ExpertFormats {
  int num_layers = 0;
  int num_mxfp4 = 0;
};
ExpertFormats ExpertFormatsOf(const DecoderSpec& spec, const WeightReader& reader) {
  struct Visitor {
    const WeightReader& reader;
    ExpertFormats formats = {};
    Status BeginGroup(const std::string&) { return {}; }
    Status operator()(const Weight& weight) {
      if (weight.role != WeightRole::kExperts) return {};
      ++formats.num_layers;
      formats.num_mxfp4 += reader.FormatOf(CudaOps::BlockOf(weight)) == "mxfp4";
      return {};
    }
  };
  Visitor visitor{reader};
  static_cast<void>(VisitWeights(spec, visitor));  // looking does not fail
  return visitor.formats;
}

// For weights that come to the device as they are asked for, before the first does.
Status CheckRoom(const DecoderSpec& spec, const WeightReader& reader, bool has_mxfp4) {
  const auto* store = dynamic_cast<const DeviceStore*>(&reader);
  if (store != nullptr && store->is_filled()) return {};
  return CheckFreeMemory(PackedBytes(spec, has_mxfp4), "the weights");
}

// Images are encoded elsewhere: the vision part is left out.
Status Pack(const Checkpoint& checkpoint, const TargetOptions& options, WeightWriter& writer) {
  auto* store = dynamic_cast<DeviceStore*>(&writer);
  if (store != nullptr) {
    EXPERTILE_RETURN_IF_ERROR(CheckFreeMemory(
        PackedBytes(checkpoint.config.spec, HasMxfp4Experts(checkpoint)), "the weights"));
  }
  TargetOptions text_options = options;
  text_options.skip_vision = true;
  WorkerPool pool(NumUsableProcessors());
  TilePacker packer(pool, writer);
  EXPERTILE_RETURN_IF_ERROR(PackCheckpoint(checkpoint, text_options, writer, packer));
  return store != nullptr ? store->Finish() : Status();
}

Result<std::unique_ptr<TargetProgram>> Open(const TargetModel& model, const TargetOptions& options,
                                            std::shared_ptr<const WeightReader> reader) {
  EXPERTILE_ASSIGN(DeviceProperties device, FindDevice());
  const ExpertFormats formats = ExpertFormatsOf(model.decoder, *reader);
  const bool has_mxfp4 = formats.num_mxfp4 > 0;
  EXPERTILE_RETURN_IF_ERROR(CheckRoom(model.decoder, *reader, has_mxfp4));
  const bool has_mxfp4_experts = has_mxfp4 && formats.num_mxfp4 == formats.num_layers;
  DeviceWeights weights(std::move(reader));
  TileOpener opener(weights);
  OpeningVisitor<TileOpener> visitor{opener};
  DecoderWeights<TimedOps<CudaOps>> decoder;
  EXPERTILE_RETURN_IF_ERROR(VisitWeights(model.decoder, visitor, decoder));
  EXPERTILE_ASSIGN(auto kept, weights.Finish());
  return std::make_unique<DecoderProgram<TimedOps<CudaOps>>>(
      model.decoder, std::move(decoder), std::nullopt, std::move(kept),
      CudaOps::Context{options, std::move(device), has_mxfp4_experts});
}

}  // namespace

TargetRow CudaTarget() {
  return {.name = "cuda",
          .about = "a Hopper GPU (H100, H200), text only; in builds with nvcc",
          .arithmetics = {MatmulArithmetic::kBFloat16},
          // NSPs that `auto` takes: one of all multiprocessors is never behind, since no NSP waits
          // for another's tokens (docs/cuda.md).
          .default_cores = 1,
          .in_process = {ChooseIsa, Pack, Open, NewDeviceStore, kLayout},
          .bench = {MeasureRoof, BenchMoe, [](bool has_mxfp4_experts) {
                      return std::shared_ptr<const WeightReader>(
                          std::make_shared<RandomWeights>(has_mxfp4_experts));
                    }}};
}

}  // namespace expertile::cuda
