// EventClock: the time of steps by stage, from events on the stream between the stages' kernels; in
// a recorded graph they are recorded with the kernels. Off unless asked for: kernels on the two
// sides of an event do not overlap. Not what a stage has to do: model/stage_work.h.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "targets/stage_clock.h"

namespace expertile::cuda {

class EventClock : public StageClock {
 public:
  using Scope = StageScope<EventClock>;

  explicit EventClock(cudaStream_t stream) : stream_(stream) {}

  bool is_on() const { return is_on_; }
  void Turn(bool on) { is_on_ = on; }

  // Of Scope. The outermost scope of a step is the step: it ends after the host has waited for it.
  std::optional<Stage> Switch(std::optional<Stage> next);

  // Stages of the step so far, one for each event; a graph has the events that were marked while it
  // was recorded, and whoever replays it says so.
  const std::vector<Stage>& marks() const { return marks_; }
  void AddReplayed(std::span<const Stage> marks) {
    marks_.insert(marks_.end(), marks.begin(), marks.end());
  }

 private:
  struct Destroy {
    void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
  };
  using Event = std::unique_ptr<CUevent_st, Destroy>;

  // Records the event that ends what the last mark began.
  bool Record(size_t index);
  void AddTimes();

  cudaStream_t stream_;
  bool is_on_ = false;
  std::optional<Stage> current_;
  std::vector<Stage> marks_;   // stage i lasts from event i to event i + 1
  std::vector<Event> events_;  // of all steps, one after another
  bool has_failed_ = false;    // the step tells nothing
};

}  // namespace expertile::cuda
