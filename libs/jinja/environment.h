// The state of one rendering: its variables, its output, where it is, and what it has spent. Every
// loop and every allocation that a template can ask for is charged here. Not the language
// (parser.cc).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/template.h"
#include "jinja/value.h"

namespace jinja {

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

// One level of variables. Reading looks outward; setting changes the innermost level only. One
// difference from Jinja: a name that the template sets on its top level, and reads only in loops or
// macros that run before, is seen there as the caller gave it (Jinja has it undefined).
struct Scope {
  std::shared_ptr<Scope> outer;
  std::map<std::string, Value, std::less<>> names;
};
using ScopePtr = std::shared_ptr<Scope>;

class Environment {
 public:
  explicit Environment(const RenderOptions& with) : options(with) {}
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  // Namespaces may hold each other in a ring, and so may scopes and the macros in them: emptied
  // here, so that none keeps another alive.
  ~Environment() {
    for (const auto& space : namespaces_) space->attributes = Dict();
    for (const auto& kept : kept_scopes_) kept->names.clear();
  }

  // Each of these is a failure beyond its limit.
  void Step(int64_t num_steps = 1) {
    num_steps_ += num_steps;
    const int64_t limit = options.limits.max_steps;
    if (num_steps_ > limit) Invalid("more than {} steps", limit);
  }
  void CheckSize(size_t size) const {
    const size_t limit = options.limits.max_output_size;
    if (size > limit) Invalid("a value of {} bytes, limit {}", size, limit);
  }
  // To be asked before a value of `size` bytes is made.
  void Allocate(size_t size) {
    CheckSize(size);
    memory_ += size;
    const size_t limit = options.limits.max_memory;
    if (memory_ > limit) Invalid("values of more than {} bytes together", limit);
  }
  // Pays for a value that was made, and returns it.
  Value Made(Value value) {
    if (value.depth() > kMaxValueDepth) Invalid("values nested deeper than {}", kMaxValueDepth);
    Allocate(value.shallow_size());
    return value;
  }
  // Pays for looking for `needle` in `text`.
  void Scan(std::string_view text, std::string_view needle) {
    Step(static_cast<int64_t>(text.size() * (needle.size() + 16) / 4096));
  }
  // Begins what stands on `new_line`, one level deeper until the result goes.
  Exchanged<int> Enter(int new_line) {
    line = new_line;
    Step();
    const int limit = options.limits.max_depth;
    if (depth_ >= limit) Invalid("nested deeper than {}", limit);
    return {&depth_, depth_ + 1};
  }

  Value Lookup(const std::string& name) const {
    for (const Scope* level = scope.get(); level != nullptr; level = level->outer.get()) {
      const auto place = level->names.find(name);
      if (place != level->names.end()) return place->second;
    }
    if (name != "varargs" && name != "kwargs") {
      return Value::MakeUndefined("'" + name + "' is undefined");
    }
    Unsupported("the variable '{}' is not supported", name);
  }
  void Set(const std::string& name, Value value) {
    scope->names.insert_or_assign(name, std::move(value));
  }
  // A scope inside of `outer` until the result goes.
  Exchanged<ScopePtr> Open(const ScopePtr& outer) {
    return {&scope, std::make_shared<Scope>(Scope{outer, {}})};
  }
  // The current scope, for a macro.
  ScopePtr KeepScope() { return kept_scopes_.emplace_back(scope); }
  Value MakeNamespace(Dict attributes) {
    const auto space = std::make_shared<Namespace>(Namespace{std::move(attributes)});
    return Value(namespaces_.emplace_back(space));
  }
  void Write(std::string_view text) {
    CheckSize(output.size() + text.size());
    Allocate(text.size());
    output += text;
  }

  const RenderOptions& options;  // outlives this
  ScopePtr scope = std::make_shared<Scope>();
  std::string output;
  Value captured;  // the text of the block that goes through filters next
  int line = 1;

 private:
  int64_t num_steps_ = 0;
  size_t memory_ = 0;
  int depth_ = 0;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
  std::vector<ScopePtr> kept_scopes_;
};

}  // namespace jinja
