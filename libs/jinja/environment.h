// What one rendering may spend, and what it may see of the outside (the clock). Every loop and
// every allocation a template can ask for is charged here. Not a scope: variables live in
// interpreter.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "jinja/error.h"
#include "jinja/value.h"

namespace jinja {

struct RenderLimits {
  int64_t max_steps = 5'000'000;              // nodes evaluated, elements compared, text scanned
  size_t max_output_size = size_t{64} << 20;  // bytes of the output and of any one string
  size_t max_memory = size_t{1} << 30;        // bytes of values made during one rendering, together
  int max_depth = 400;                        // nested evaluations, macro calls included
};

struct RenderOptions {
  RenderLimits limits;
  std::function<std::tm()> clock;  // what strftime_now sees; empty: local time
};

class Environment {
 public:
  explicit Environment(const RenderOptions& options) : options_(options) {}
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  // Namespaces may hold each other in a ring: emptied here, so that none keeps another alive.
  ~Environment() {
    for (const auto& entry : namespaces_) entry->attributes = Dict();
  }

  // Each of these is a failure beyond its limit.
  void Step(int64_t num_steps = 1) {
    num_steps_ += num_steps;
    if (num_steps_ > limits().max_steps) Invalid("more than {} steps", limits().max_steps);
  }
  void CheckSize(size_t size) const {
    if (size <= limits().max_output_size) return;
    Invalid("a value of {} bytes, limit {}", size, limits().max_output_size);
  }
  // To be asked before a value of `size` bytes is made.
  void Allocate(size_t size) {
    CheckSize(size);
    memory_ += size;
    if (memory_ <= limits().max_memory) return;
    Invalid("values of more than {} bytes together", limits().max_memory);
  }
  // Pays for looking for `needle` in `text`.
  void Scan(std::string_view text, std::string_view needle) {
    Step(static_cast<int64_t>(text.size() * (needle.size() + 16) / 4096));
  }

  std::tm Now() const {
    if (options_.clock) return options_.clock();
    const std::time_t now = std::time(nullptr);
    std::tm local = {};
    localtime_r(&now, &local);
    return local;
  }
  std::shared_ptr<Namespace> MakeNamespace() {
    namespaces_.push_back(std::make_shared<Namespace>());
    return namespaces_.back();
  }
  const RenderLimits& limits() const { return options_.limits; }

 private:
  const RenderOptions& options_;  // outlives this
  int64_t num_steps_ = 0;
  size_t memory_ = 0;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
};

// A variable set for the time of a C++ scope, and set back at its end.
template <typename T>
class Exchanged {
 public:
  Exchanged(T* variable, T value) : variable_(*variable), before_(std::move(*variable)) {
    variable_ = std::move(value);
  }
  Exchanged(const Exchanged&) = delete;
  Exchanged& operator=(const Exchanged&) = delete;
  ~Exchanged() { variable_ = std::move(before_); }

 private:
  T& variable_;
  T before_;
};

}  // namespace jinja
