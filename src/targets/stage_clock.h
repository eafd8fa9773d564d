// StageClock: seconds that a target's ops took, by stage of the forward pass. TimedOps fills one
// from the host's clock; a target that computes elsewhere adds what its own events say.
// Not what a stage has to do: model/stage_work.h.
#pragma once

#include <chrono>
#include <optional>
#include <utility>

#include "model/stage_work.h"

namespace expertile {

class StageClock {
 public:
  // Time passes for `stage` while it lives, but for what scopes within it take: every moment of a
  // step is one stage's. Two readings of the clock each, some 50 ns.
  class Scope {
   public:
    Scope(StageClock& clock, Stage stage) : clock_(clock), outer_(clock.Switch(stage)) {}
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() { clock_.Switch(outer_); }

   private:
    StageClock& clock_;
    std::optional<Stage> outer_;
  };

  void Add(Stage stage, double seconds) { seconds_[stage] += seconds; }
  const PerStage<double>& seconds() const { return seconds_; }

 private:
  // From now on time is `next`'s, or nobody's; returns whose it was.
  std::optional<Stage> Switch(std::optional<Stage> next) {
    const auto now = std::chrono::steady_clock::now();
    if (current_) Add(*current_, std::chrono::duration<double>(now - since_).count());
    since_ = now;
    return std::exchange(current_, next);
  }

  PerStage<double> seconds_ = {};
  std::optional<Stage> current_;
  std::chrono::steady_clock::time_point since_;
};

}  // namespace expertile
