// Walks a syntax tree and writes the output: expressions, scopes, loops, macros. What values do is
// elsewhere (operators.h, functions.h).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jinja/ast.h"
#include "jinja/environment.h"

namespace jinja {

// One level of variables. Reading looks outward; setting changes the innermost level only. One
// difference from Jinja: a name that the template sets on its top level, and reads only in loops or
// macros that run before, is seen there as the caller gave it (Jinja has it undefined).
struct Scope {
  std::shared_ptr<Scope> parent;
  std::map<std::string, Value, std::less<>> names;
};

// The state behind the variable `loop` of one for statement.
struct Loop {
  const Node* statement = nullptr;
  std::shared_ptr<Scope> outer;  // the scope around the loop: what its filter and body see
  List items;                    // before the loop's `if`
  size_t num_asked = 0;          // items already asked whether they pass
  List passed;                   // items that passed, those before the current one included
  int64_t index0 = -1;           // of the current item in `passed`
};

class Interpreter {
 public:
  // `variables` is a dict. `options` outlives this.
  Interpreter(const RenderOptions& options, const Value& variables);
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;
  // Undoes the rings of macros and the scopes they live in.
  ~Interpreter();

  // Errors name the line, but for those of raise_exception.
  std::string Run(const Body& body);

 private:
  enum class Flow { kOn, kBreak, kContinue };

  Flow ExecuteBody(const Body& body);
  Flow Execute(const Node& node);
  Flow ExecuteNode(const Node& node);
  Flow RunIf(const Node& node);
  Flow RunLoop(const Node& node);
  void RunCallBlock(const Node& node);
  void Write(std::string_view text);
  void WriteValue(const Value& value);
  // The output of `body`, run in a scope of its own.
  Value Capture(const Body& body);
  // `text` through a chain of filters without input, if there is one.
  Value Filtered(const NodePtr& chain, Value text);

  // Looks for further items that pass the loop's filter until `count` have passed.
  void LookAhead(Loop& loop, size_t count);
  std::optional<Value> LoopAttribute(Loop& loop, std::string_view name);

  Value Evaluate(const Node& node);
  Value EvaluateNode(const Node& node);
  Value EvaluateName(const Node& node);
  Value EvaluateItems(const Node& node);
  Value EvaluateAttribute(const Node& node);
  Value EvaluateSlice(const Node& node);
  Value EvaluateFunction(const Node& node);
  Value EvaluateSign(const Node& node);
  Value EvaluateConcat(const Node& node);
  Value EvaluateCompare(const Node& node);
  Value EvaluateConditional(const Node& node);

  Arguments EvaluateArguments(const Node& node);
  void Spread(const std::string& stars, const Value& value, Arguments* arguments);
  Value CallValue(const Value& callee, const Arguments& arguments);
  Value CallMacro(const Callable& callable, const Arguments& arguments);
  void BindMacro(const Node& macro, const Arguments& arguments);
  Value MakeMacro(const Node& macro);
  // A step for each 256 bytes of an operand.
  void Charge(const Value& value);

  void Assign(const Node& target, Value value);
  Value Lookup(const std::string& name) const;

  std::shared_ptr<Scope> MakeScope(std::shared_ptr<Scope> parent) const {
    return std::make_shared<Scope>(Scope{std::move(parent), {}});
  }

  Environment environment_;
  std::shared_ptr<Scope> scope_;
  std::vector<std::shared_ptr<Scope>> macro_scopes_;
  std::string* output_ = nullptr;
  const Value* captured_ = nullptr;  // what a chain of filters without input works on
  int depth_ = 0;
  int line_ = 1;
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
