// A chat template: parsed once, rendered for many conversations. The Jinja2 that chat templates are
// written in, as transformers configures it. Not a general template engine: no include, no
// inheritance, no autoescape.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/error.h"

namespace jinja {

inline constexpr size_t kMaxTemplateSize = size_t{1} << 20;

// What one rendering may spend.
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

struct Statement;

class Template {
 public:
  // Errors name the line: syntax, unknown tags, filters and tests, a source beyond
  // kMaxTemplateSize.
  static Result<Template> Parse(std::string_view source);

  // `variables` is an object. raise_exception(message) in the template comes back as kRaised with
  // that message alone; every other error names the template's line. Safe to call from several
  // threads.
  Result<std::string> Render(const nlohmann::ordered_json& variables,
                             const RenderOptions& options = {}) const;

 private:
  std::shared_ptr<const std::vector<Statement>> body_;
};

}  // namespace jinja
