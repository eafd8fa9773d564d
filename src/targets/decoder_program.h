// The TargetProgram of any target whose Ops compute: a prepared decoder, and sessions that run the
// forward pass on it. Not for targets that emit a graph instead.
#pragma once

#include <algorithm>
#include <memory>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/checkpoint.h"
#include "model/forward.h"
#include "model/vision_forward.h"
#include "targets/block_writing.h"
#include "targets/target.h"
#include "targets/weight_store.h"

namespace expertile {

template <Ops O>
class DecoderSession : public TargetSession {
 public:
  DecoderSession(const DecoderSpec& spec, const DecoderWeights<O>& decoder, O ops)
      : spec_(spec), decoder_(decoder), ops_(std::move(ops)) {}

  Status Run(const Step& step, std::span<float> logits) override {
    try {
      const auto rows = Forward(ops_, spec_, decoder_, step);
      std::ranges::copy(ops_.Values(rows), logits.begin());
      return {};
    } catch (const std::bad_alloc&) {
      return Fail(ErrorCode::kOutOfMemory, "no memory for the activations of {} tokens",
                  step.num_tokens());
    }
  }

  Status RunMlp(int layer, StepKind kind, std::span<const float> x, std::span<float> y) override {
    Step step;
    step.kind = kind;
    ops_.Begin(step);
    const auto input = ops_.FromHost(x, spec_.hidden_size);
    const auto output = MlpBranch(ops_, spec_, decoder_, layer, input, nullptr);
    std::ranges::copy(ops_.Values(output), y.begin());
    return {};
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
  const DecoderWeights<O>& decoder_;
  O ops_;
};

// A prepared vision tower. O::Vision is the target's VisionOps.
template <typename O>
struct PreparedVision {
  VisionSpec spec;
  VisionWeights<typename O::Vision> tower;
};

template <Ops O>
class DecoderProgram : public TargetProgram {
 public:
  DecoderProgram(DecoderSpec spec, DecoderWeights<O> decoder,
                 std::optional<PreparedVision<O>> vision,
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
    const auto rows = VisionForward(ops, spec, vision_->tower, grid, positions, patches);
    const auto copy = [&](const auto& tensor) {
      const std::span<const float> values = ops.Values(tensor);
      return std::vector<float>(values.begin(), values.end());
    };
    ImageFeatures features{copy(rows.embeddings), {}};
    for (const auto& feature : rows.deepstack) features.deepstack.push_back(copy(feature));
    return features;
  }
  std::string_view isa() const override { return O::IsaOf(context_); }

 private:
  DecoderSpec spec_;
  DecoderWeights<O> decoder_;
  std::optional<PreparedVision<O>> vision_;
  std::shared_ptr<const WeightReader> weights_;  // whose bytes the decoder and the tower use
  typename O::Context context_;  // options, workers, kernels: what the sessions share
};

// A visitor that has an Opener find each weight: `opener` has
//   Status Open(const Weight& weight, T& slot) for every type T of a weight of O and O::Vision.
template <typename Opener>
struct OpeningVisitor {
  Opener& opener;

  Status BeginGroup(const std::string&) { return {}; }
  template <typename Slot>
  Status operator()(const Weight& weight, Slot& slot) {
    return opener.Open(weight, slot);
  }
};

template <Ops O, typename Opener>
Result<std::unique_ptr<TargetProgram>> OpenDecoderProgram(
    const TargetModel& model, const TargetOptions& options,
    std::shared_ptr<const WeightReader> weights, Opener& opener, typename O::Context context) {
  OpeningVisitor<Opener> visitor{opener};
  DecoderWeights<O> decoder;
  EXPERTILE_RETURN_IF_ERROR(VisitWeights(model.decoder, visitor, decoder));
  std::optional<PreparedVision<O>> vision;
  if (model.vision && !options.skip_vision) {
    vision.emplace(PreparedVision<O>{*model.vision, {}});
    EXPERTILE_RETURN_IF_ERROR(VisitWeights(*model.vision, visitor, vision->tower));
  }
  return std::make_unique<DecoderProgram<O>>(model.decoder, std::move(decoder), std::move(vision),
                                             std::move(weights), std::move(context));
}

}  // namespace expertile
