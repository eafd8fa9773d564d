// The TargetProgram of any target whose Ops compute: a prepared decoder, and sessions that run the
// forward pass on it. Not for targets that emit a graph instead.
#pragma once

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

#include "base/error.h"
#include "model/forward.h"
#include "targets/target.h"

namespace expertile {

template <Ops O>
class DecoderSession : public TargetSession {
 public:
  DecoderSession(const DecoderSpec& spec, const Decoder<O>& decoder, O ops)
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
    const auto output = MlpBranch(ops_, spec_, layer, decoder_.layers[layer], input, nullptr);
    std::ranges::copy(ops_.Values(output), y.begin());
    return {};
  }

  const NspStatistics& nsp_statistics() const override { return ops_.nsp_statistics(); }

 private:
  const DecoderSpec& spec_;
  const Decoder<O>& decoder_;
  O ops_;
};

template <Ops O>
class DecoderProgram : public TargetProgram {
 public:
  DecoderProgram(DecoderSpec spec, Decoder<O> decoder, typename O::Context context)
      : spec_(std::move(spec)), decoder_(std::move(decoder)), context_(std::move(context)) {}

  Result<std::unique_ptr<TargetSession>> NewSession() const override {
    EXPERTILE_ASSIGN(O ops, O::Create(spec_, context_));
    return std::make_unique<DecoderSession<O>>(spec_, decoder_, std::move(ops));
  }
  std::string_view isa() const override { return O::IsaOf(context_); }

 private:
  DecoderSpec spec_;
  Decoder<O> decoder_;
  typename O::Context context_;  // options, workers, kernels: what the sessions share
};

}  // namespace expertile
