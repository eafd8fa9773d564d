// The state of one rendering (its variables, its output, where it is, what it has spent), and what
// runs in it: the functions that the parser makes of a template. Every loop and every allocation
// that a template can ask for is charged here. Not the language (parser.cc).
#pragma once

#include <functional>
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
  explicit Environment(const RenderOptions& with) : options(with), limits_(with.limits) {}
  Environment(const Environment&) = delete;
  // Namespaces may hold each other in a ring, and so may scopes and the macros in them: emptied
  // here, so that none keeps another alive.
  ~Environment() {
    for (const auto& space : namespaces_) space->attributes = Dict();
    for (const auto& kept : kept_scopes_) kept->names.clear();
  }

  // Each of these is a failure beyond its limit.
  void Step(int64_t num_steps = 1) {
    num_steps_ += num_steps;
    if (num_steps_ > limits_.max_steps) Invalid("more than {} steps", limits_.max_steps);
  }
  void CheckSize(size_t size) const {
    if (size <= limits_.max_output_size) return;
    Invalid("a value of {} bytes, limit {}", size, limits_.max_output_size);
  }
  // To be asked before a value of `size` bytes is made.
  void Allocate(size_t size) {
    CheckSize(size);
    memory_ += size;
    if (memory_ <= limits_.max_memory) return;
    Invalid("values of more than {} bytes together", limits_.max_memory);
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
    if (depth_ < limits_.max_depth) return {&depth_, depth_ + 1};
    Invalid("nested deeper than {}", limits_.max_depth);
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
  const RenderLimits& limits_;
  int64_t num_steps_ = 0;
  size_t memory_ = 0;
  int depth_ = 0;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
  std::vector<ScopePtr> kept_scopes_;
};

struct Expression {
  int line = 0;
  int depth = 0;                                // levels of expressions below and with this one
  std::function<Value(Environment&)> evaluate;  // empty: left out

  Value operator()(Environment& environment) const {
    const auto nesting = environment.Enter(line);
    return evaluate(environment);
  }
  explicit operator bool() const { return evaluate != nullptr; }
};

// Of a call, filter or test; or a parameter of a macro, whose value is its default or left out.
struct Argument {
  std::string name;  // empty by position; "*" and "**" spread a list and a dict
  Expression value;
};

enum class Flow { kOn, kBreak, kContinue };

struct Statement {
  int line = 0;
  std::function<Flow(Environment&)> run;
};
using Body = std::vector<Statement>;

// Failures name the line. What this library lacks, or does not know, of filters, tests and the like
// is a failure only when it is reached.
Body ParseSource(std::string_view source);

Flow Run(Environment& environment, const Body& body);

}  // namespace jinja
