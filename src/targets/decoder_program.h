// The TargetProgram of any target whose Ops compute: a prepared decoder, and sessions that run the
// forward pass on it. Not for targets that emit a graph instead.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/checkpoint.h"
#include "model/forward.h"
#include "model/vision_forward.h"
#include "model/weight_shapes.h"
#include "targets/block_writing.h"
#include "targets/target.h"
#include "targets/weight_store.h"

namespace expertile {

inline std::string ActivationsOf(int64_t num_rows) {
  return fmt::format("the activations of {} rows", num_rows);
}

template <Ops O>
class DecoderSession : public TargetSession {
 public:
  DecoderSession(const DecoderSpec& spec, const Decoder<O>& decoder, O ops)
      : spec_(spec), decoder_(decoder), ops_(std::move(ops)) {}

  Status Run(const Step& step, std::span<float> logits) override {
    return CatchOutOfMemory(ActivationsOf(step.num_tokens()), [&]() -> Status {
      const auto rows = Forward(ops_, spec_, decoder_, step);
      EXPERTILE_RETURN_IF_ERROR(ops_.EndStep());
      std::ranges::copy(ops_.Values(rows), logits.begin());
      return {};
    });
  }

  Status RunMlp(int layer, StepKind kind, std::span<const float> x, std::span<float> y) override {
    const auto num_rows = static_cast<int64_t>(x.size()) / spec_.hidden_size;
    return CatchOutOfMemory(ActivationsOf(num_rows), [&]() -> Status {
      Step step;
      step.kind = kind;
      ops_.Begin(step);
      const auto input = ops_.FromHost(x, spec_.hidden_size);
      const auto output = MlpBranch(ops_, spec_, layer, decoder_.layers[layer], input, nullptr);
      EXPERTILE_RETURN_IF_ERROR(ops_.EndStep());
      std::ranges::copy(ops_.Values(output), y.begin());
      return {};
    });
  }

  const NspStatistics& nsp_statistics() const override { return ops_.nsp_statistics(); }

  void ReadKv(const KvSlot& slot, std::span<float> key, std::span<float> value) const override {
    ops_.ReadKv(slot, key, value);
  }
  void WriteKv(const KvSlot& slot, std::span<const float> key,
               std::span<const float> value) override {
    ops_.WriteKv(slot, key, value);
  }

 private:
  const DecoderSpec& spec_;
  const Decoder<O>& decoder_;
  O ops_;
};

// A prepared vision tower. O::Vision is the target's VisionOps.
template <typename O>
struct PreparedVision {
  VisionSpec spec;
  VisionTower<typename O::Vision> tower;
};

template <Ops O>
class DecoderProgram : public TargetProgram {
 public:
  DecoderProgram(DecoderSpec spec, Decoder<O> decoder, std::optional<PreparedVision<O>> vision,
                 std::shared_ptr<const WeightReader> weights, typename O::Context context)
      : spec_(std::move(spec)),
        decoder_(std::move(decoder)),
        vision_(std::move(vision)),
        weights_(std::move(weights)),
        context_(std::move(context)) {}

  Result<std::unique_ptr<TargetSession>> NewSession() const override {
    EXPERTILE_ASSIGN(O ops, O::Create(spec_, context_));
    return std::make_unique<DecoderSession<O>>(spec_, decoder_, std::move(ops));
  }
  Result<ImageFeatures> EncodeImage(const ImageGrid& grid,
                                    std::span<const float> patches) const override {
    if (!vision_) return Unsupported("images: the program has no vision part");
    const VisionSpec& spec = vision_->spec;
    EXPERTILE_ASSIGN(const VisionPositions positions,
                     ComputeVisionPositions({&grid, 1}, spec.prompt.merge_size, spec.grid_side));
    EXPERTILE_ASSIGN(auto ops, O::Vision::Create(spec, context_, grid.num_patches()));
    return CatchOutOfMemory(ActivationsOf(grid.num_patches()), [&]() -> Result<ImageFeatures> {
      const auto rows = VisionForward(ops, spec, vision_->tower, grid, positions, patches);
      EXPERTILE_RETURN_IF_ERROR(ops.EndStep());
      const auto copy = [&](const auto& tensor) {
        const std::span<const float> values = ops.Values(tensor);
        return std::vector<float>(values.begin(), values.end());
      };
      ImageFeatures features{copy(rows.embeddings), {}};
      for (const auto& feature : rows.deepstack) features.deepstack.push_back(copy(feature));
      return features;
    });
  }
  std::string_view isa() const override { return O::IsaOf(context_); }

 private:
  DecoderSpec spec_;
  Decoder<O> decoder_;
  std::optional<PreparedVision<O>> vision_;
  std::shared_ptr<const WeightReader> weights_;  // whose bytes the decoder and the tower use
  typename O::Context context_;  // options, workers, kernels: what the sessions share
};

// Opens packed weights through `opener`, a Packer that finds them in `weights`.
template <Ops O, typename Opener>
Result<std::unique_ptr<TargetProgram>> OpenDecoderProgram(
    const TargetModel& model, const TargetOptions& options,
    std::shared_ptr<const WeightReader> weights, Opener& opener, typename O::Context context) {
  EXPERTILE_ASSIGN(auto decoder, (Prepare<O>(ShapesOf(model.decoder), opener, {})));
  std::optional<PreparedVision<O>> vision;
  if (model.vision && !options.skip_vision) {
    vision.emplace(PreparedVision<O>{*model.vision, {}});
    EXPERTILE_ASSIGN(vision->tower,
                     (PrepareVision<typename O::Vision>(ShapesOf(*model.vision), opener)));
  }
  return std::make_unique<DecoderProgram<O>>(model.decoder, std::move(decoder), std::move(vision),
                                             std::move(weights), std::move(context));
}

// Packs all of a checkpoint that `options` want through `packer`, a Packer that writes.
template <typename Packer>
Status WriteWeights(const Checkpoint& checkpoint, const TargetOptions& options, Packer& packer) {
  EXPERTILE_RETURN_IF_ERROR(Prepare<WrittenWeights>(checkpoint.weights, packer, options.on_layer));
  if (!checkpoint.vision_weights || options.skip_vision) return {};
  EXPERTILE_RETURN_IF_ERROR(PrepareVision<WrittenWeights>(*checkpoint.vision_weights, packer));
  return {};
}

}  // namespace expertile
