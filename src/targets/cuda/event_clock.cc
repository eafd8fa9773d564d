#include "targets/cuda/event_clock.h"

#include <utility>

namespace expertile::cuda {

bool EventClock::Record(size_t index) {
  while (events_.size() <= index) {
    cudaEvent_t event = nullptr;
    if (cudaEventCreate(&event) != cudaSuccess) return false;
    events_.emplace_back(event);
  }
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  if (cudaStreamIsCapturing(stream_, &status) != cudaSuccess) return false;
  const unsigned flags =
      status == cudaStreamCaptureStatusActive ? cudaEventRecordExternal : cudaEventRecordDefault;
  return cudaEventRecordWithFlags(events_[index].get(), stream_, flags) == cudaSuccess;
}

std::optional<Stage> EventClock::Switch(std::optional<Stage> next) {
  if (is_on_ && next != current_) {
    if (!current_) {
      marks_.clear();
      has_failed_ = false;
    }
    has_failed_ = has_failed_ || !Record(marks_.size());
    if (next) {
      marks_.push_back(*next);
    } else {
      AddTimes();
    }
  }
  return std::exchange(current_, next);
}

void EventClock::AddTimes() {
  if (has_failed_ || cudaEventSynchronize(events_[marks_.size()].get()) != cudaSuccess) return;
  for (size_t i = 0; i < marks_.size(); ++i) {
    float milliseconds = 0.0f;
    if (cudaEventElapsedTime(&milliseconds, events_[i].get(), events_[i + 1].get()) == cudaSuccess)
      Add(marks_[i], milliseconds * 1e-3);
  }
}

}  // namespace expertile::cuda
