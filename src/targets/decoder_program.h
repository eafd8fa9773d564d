// The TargetProgram of any target whose Ops compute: a prepared decoder, and sessions that run the
// forward pass on it. Not for targets that emit a graph instead.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/checkpoint.h"
#include "model/forward.h"
#include "model/vision_forward.h"
#include "targets/block_writing.h"
#include "targets/target.h"
#include "targets/timed_ops.h"
#include "targets/weight_store.h"

namespace expertile {

inline std::string ActivationsOf(int64_t num_rows) {
  return fmt::format("the activations of {} rows", num_rows);
}

template <ComputingOps O>
class DecoderSession : public TargetSession {
 public:
  DecoderSession(const DecoderSpec& spec, const DecoderWeights<O>& decoder, O ops)
      : spec_(spec), decoder_(decoder), ops_(std::move(ops)) {}

  Status Run(const Step& step, std::span<float> logits) override {
    return CatchOutOfMemory(ActivationsOf(step.num_tokens()), [&]() -> Status {
      [[maybe_unused]] const auto time = TimeStep();
      EXPERTILE_ASSIGN(const auto inputs, ops_.Begin(step));
      const auto forward = [&] { return Forward(ops_, spec_, decoder_, inputs); };
      if constexpr (requires { ops_.Replay(inputs, forward); }) {
        EXPERTILE_RETURN_IF_ERROR(ops_.Fetch(ops_.Replay(inputs, forward), logits));
      } else {
        EXPERTILE_RETURN_IF_ERROR(ops_.Fetch(forward(), logits));
      }
      if (step.cancellation == nullptr || !step.cancellation->was_cancelled()) return {};
      return Fail(ErrorCode::kCancelled, "cancelled in a step of {} tokens", step.num_tokens());
    });
  }

  Status RunMlp(int layer, std::span<const float> x, std::span<float> y) override {
    const auto num_rows = static_cast<int64_t>(x.size()) / spec_.hidden_size;
    return CatchOutOfMemory(ActivationsOf(num_rows), [&]() -> Status {
      EXPERTILE_ASSIGN(const auto inputs, ops_.Begin(Step()));
      const auto input = ops_.FromHost(x, spec_.hidden_size);
      return ops_.Fetch(MlpBranch(ops_, spec_, decoder_, layer, inputs, input), y);
    });
  }

  const NspStatistics& nsp_statistics() const override { return ops_.nsp_statistics(); }
  const StageClock* stage_clock() const override {
    if constexpr (kTimesOnDemand) return ops_.times_stages() ? &ops_.stage_clock() : nullptr;
    if constexpr (kHasStageClock) return &ops_.stage_clock();
    return nullptr;
  }
  void TimeStages([[maybe_unused]] bool on) override {
    if constexpr (kTimesOnDemand) ops_.TimeStages(on);
  }

  Status CopyBlock(int32_t from, int32_t to) override { return ops_.CopyBlock(from, to); }
  Status ReadKv(int layer, BlockTable blocks, int64_t n, std::span<float> keys,
                std::span<float> values) override {
    return ops_.ReadKv(layer, blocks, n, keys, values);
  }
  Status WriteKv(int layer, BlockTable blocks, int64_t n, std::span<const float> keys,
                 std::span<const float> values) override {
    return ops_.WriteKv(layer, blocks, n, keys, values);
  }

 private:
  static constexpr bool kHasStageClock = requires(O & ops) { ops.stage_clock(); };
  static constexpr bool kTimesOnDemand = requires(O & ops) { ops.TimeStages(true); };

  // What no op's stage takes of a step is Stage::kOther's.
  auto TimeStep() {
    if constexpr (kHasStageClock) {
      using Clock = std::remove_reference_t<decltype(ops_.stage_clock())>;
      return typename Clock::Scope(ops_.stage_clock(), Stage::kOther);
    } else {
      return 0;
    }
  }

  const DecoderSpec& spec_;
  const DecoderWeights<O>& decoder_;
  O ops_;
};

// Whether a target has ops of a vision tower, O::Vision.
template <typename O>
concept HasVision = requires {
  typename O::Vision;
};

// A prepared vision tower; nothing for a target that has none.
template <typename O>
struct PreparedVision {};
template <HasVision O>
struct PreparedVision<O> {
  VisionSpec spec;
  VisionWeights<typename O::Vision> tower;
};

template <ComputingOps O>
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
  Result<ImageFeatures> EncodeImage(const ImageGrid& grid, std::span<const float> patches,
                                    StepCancellation& cancellation) const override {
    if constexpr (HasVision<O>) {
      if (vision_) return Encode(grid, patches, cancellation);
    }
    return Unsupported("images: the program has no vision part");
  }
  std::string_view isa() const override { return O::IsaOf(context_); }
  std::string FormatOf(const Weight& weight) const override {
    if constexpr (requires { O::BlockOf(weight); }) {
      return weights_->FormatOf(O::BlockOf(weight)).value_or("");
    }
    return weights_->FormatOf(weight.name).value_or("");
  }
  StageFusion stage_fusion() const override {
    if constexpr (requires { O::kStageFusion; }) return O::kStageFusion;
    return {};
  }

 private:
  Result<ImageFeatures> Encode(const ImageGrid& grid, std::span<const float> patches,
                               StepCancellation& cancellation) const requires HasVision<O> {
    const VisionSpec& spec = vision_->spec;
    EXPERTILE_ASSIGN(const VisionPositions positions,
                     ComputeVisionPositions({&grid, 1}, spec.prompt.merge_size, spec.grid_side));
    EXPERTILE_ASSIGN(auto ops, O::Vision::Create(spec, context_, grid.num_patches()));
    return CatchOutOfMemory(ActivationsOf(grid.num_patches()), [&]() -> Result<ImageFeatures> {
      const auto rows =
          VisionForward(ops, spec, vision_->tower, grid, positions, patches, cancellation);
      if (cancellation.was_cancelled()) {
        return Fail(ErrorCode::kCancelled, "cancelled in an image of {} patches",
                    grid.num_patches());
      }
      const size_t size = grid.num_tokens(spec.prompt.merge_size) * spec.output_size;
      ImageFeatures features;
      features.embeddings.resize(size);
      EXPERTILE_RETURN_IF_ERROR(ops.Fetch(rows.embeddings, features.embeddings));
      for (const auto& feature : rows.deepstack) {
        EXPERTILE_RETURN_IF_ERROR(ops.Fetch(feature, features.deepstack.emplace_back(size)));
      }
      return features;
    });
  }

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
  if constexpr (HasVision<O>) {
    if (model.vision && !options.skip_vision) {
      vision.emplace(PreparedVision<O>{*model.vision, {}});
      EXPERTILE_RETURN_IF_ERROR(VisitWeights(*model.vision, visitor, vision->tower));
    }
  }
  return std::make_unique<DecoderProgram<O>>(model.decoder, std::move(decoder), std::move(vision),
                                             std::move(weights), std::move(context));
}

}  // namespace expertile
