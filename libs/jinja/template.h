// A chat template: parsed once, rendered for many conversations. The Jinja2 that chat templates are
// written in, as transformers configures it. Not a general template engine: no include, no
// inheritance, no autoescape.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "jinja/environment.h"
#include "jinja/error.h"

namespace jinja {

inline constexpr size_t kMaxTemplateSize = size_t{1} << 20;

class Template {
 public:
  // Errors name the line: syntax, unknown tags, filters and tests, a source beyond
  // kMaxTemplateSize.
  static Result<Template> Parse(std::string_view source);
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;
  ~Template();

  // `variables` is an object. raise_exception(message) in the template comes back as
  // kInvalidArgument with that message; every other error names the template's line. Safe to call
  // from several threads.
  Result<std::string> Render(const nlohmann::ordered_json& variables,
                             const RenderOptions& options = {}) const;

 private:
  struct Tree;
  explicit Template(std::unique_ptr<const Tree> tree);
  std::unique_ptr<const Tree> tree_;
};

}  // namespace jinja
