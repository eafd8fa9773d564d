// StageClock: seconds that a target's ops took, by stage of the forward pass, from the host's
// clock; a target that computes elsewhere has one that reads its own events. Not what a stage has
// to do: model/stage_work.h.
#pragma once

#include <chrono>
#include <optional>
#include <utility>

#include "model/stage_work.h"

namespace expertile {

// Time passes for `stage` while it lives, but for what scopes within it take: every moment of a
// step is one stage's. Two readings of the clock each, some 50 ns on the host.
template <typename Clock>
class StageScope {
 public:
  StageScope(Clock& clock, Stage stage) : clock_(clock), outer_(clock.Switch(stage)) {}
  StageScope(const StageScope&) = delete;
  StageScope& operator=(const StageScope&) = delete;
  ~StageScope() { clock_.Switch(outer_); }

 private:
  Clock& clock_;
  std::optional<Stage> outer_;
};

class StageClock {
 public:
  using Scope = StageScope<StageClock>;

  void Add(Stage stage, double seconds) { seconds_[stage] += seconds; }
  const PerStage<double>& seconds() const { return seconds_; }
  // Of Scope: from now on time is `next`'s, or nobody's; returns whose it was.
  std::optional<Stage> Switch(std::optional<Stage> next) {
    const auto now = std::chrono::steady_clock::now();
    if (current_) Add(*current_, std::chrono::duration<double>(now - since_).count());
    since_ = now;
    return std::exchange(current_, next);
  }

 private:
  PerStage<double> seconds_ = {};
  std::optional<Stage> current_;
  std::chrono::steady_clock::time_point since_;
};

}  // namespace expertile
