// What one rendering may spend, and what it may see of the outside (the clock). Every loop and
// every allocation a template can ask for is charged here. Not a scope: variables live in
// interpreter.h.
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
  ~Environment();

  Status Step(int64_t num_steps = 1);
  // To be asked before a value of `size` bytes is made.
  Status Allocate(size_t size);
  Status CheckSize(size_t size) const;
  std::tm Now() const;
  std::shared_ptr<Namespace> MakeNamespace();
  const RenderLimits& limits() const { return options_.limits; }

 private:
  const RenderOptions& options_;  // outlives this
  int64_t num_steps_ = 0;
  size_t memory_ = 0;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
};

// What looking for `needle` in `text` costs at worst, in steps.
inline int64_t ScanSteps(std::string_view text, std::string_view needle) {
  return static_cast<int64_t>(text.size() * (needle.size() + 16) / 4096);
}

}  // namespace jinja
