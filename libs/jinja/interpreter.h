// Walks a syntax tree and writes the output: scopes, loops, macros. What values do is elsewhere
// (operators.h, filters.h, methods.h).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/ast.h"
#include "jinja/environment.h"
#include "jinja/error.h"
#include "jinja/loop.h"

namespace jinja {

// One level of variables. Reading looks outward; setting changes the innermost level only. One
// difference from Jinja: a name that the template sets on its top level, and reads only in loops or
// macros that run before, is seen there as the caller gave it (Jinja has it undefined).
struct Scope {
  std::shared_ptr<Scope> parent;
  std::map<std::string, Value, std::less<>> names;
};

class Interpreter {
 public:
  // `variables` is a dict. `options` outlives this.
  Interpreter(const RenderOptions& options, const Value& variables);
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;
  // Undoes the rings: of macros and the scopes they live in, of loops and what changed() has kept.
  ~Interpreter();

  // Errors name the line, but for those of raise_exception.
  Result<std::string> Run(const Body& body);

 private:
  enum class Flow { kOn, kBreak, kContinue };

  Result<Flow> ExecuteBody(const Body& body);
  Result<Flow> Execute(const Statement& statement);
  Result<Flow> ExecuteNode(const TextStatement& node);
  Result<Flow> ExecuteNode(const PrintStatement& node);
  Result<Flow> ExecuteNode(const IfStatement& node);
  Result<Flow> ExecuteNode(const ForStatement& node);
  Result<Flow> ExecuteNode(const SetStatement& node);
  Result<Flow> ExecuteNode(const SetBlockStatement& node);
  Result<Flow> ExecuteNode(const MacroStatement& node);
  Result<Flow> ExecuteNode(const CallBlockStatement& node);
  Result<Flow> ExecuteNode(const FilterBlockStatement& node);
  Result<Flow> ExecuteNode(const ScopeStatement& node);
  Result<Flow> ExecuteNode(const BreakStatement&) { return Flow::kBreak; }
  Result<Flow> ExecuteNode(const ContinueStatement&) { return Flow::kContinue; }

  Result<Flow> RunLoop(const ForStatement& node, const Value& iterable,
                       const std::shared_ptr<Scope>& outer, int64_t depth0);
  // Looks for further items that pass the loop's filter until `count` wait for their turn.
  Status LookAhead(Loop& loop, size_t count);
  Result<bool> PassesFilter(const Loop& loop, const Value& item);
  // Makes the next item the current one; false when there is none.
  Result<bool> Advance(Loop& loop);
  Result<std::optional<Value>> LoopAttribute(const std::shared_ptr<Loop>& loop,
                                             std::string_view name);
  Result<int64_t> LoopLength(Loop& loop);
  Result<Value> CallLoop(const std::shared_ptr<Loop>& loop, const Arguments& arguments);
  Result<Value> CallLoopMethod(const Callable& method, const Arguments& arguments);

  Result<Value> Evaluate(const Expression& expression);
  Result<Value> EvaluateNode(const LiteralExpression& node);
  Result<Value> EvaluateNode(const NameExpression& node);
  Result<Value> EvaluateNode(const SequenceExpression& node);
  Result<Value> EvaluateNode(const DictExpression& node);
  Result<Value> EvaluateNode(const AttributeExpression& node);
  Result<Value> EvaluateNode(const SubscriptExpression& node);
  Result<Value> EvaluateNode(const SliceExpression& node);
  Result<Value> EvaluateNode(const CallExpression& node);
  Result<Value> EvaluateNode(const FilterExpression& node);
  Result<Value> EvaluateNode(const PredicateExpression& node);
  Result<Value> EvaluateNode(const UnaryExpression& node);
  Result<Value> EvaluateNode(const ArithmeticExpression& node);
  Result<Value> EvaluateNode(const LogicExpression& node);
  Result<Value> EvaluateNode(const ConcatExpression& node);
  Result<Value> EvaluateNode(const CompareExpression& node);
  Result<Value> EvaluateNode(const ConditionalExpression& node);

  // none for an expression that is left out.
  Result<Value> EvaluateOptional(const ExpressionPtr& expression);
  Result<Arguments> EvaluateArguments(const CallArguments& arguments);
  Status SpreadArguments(const CallArguments& spread, Arguments* arguments);
  Result<Value> Call(const Value& callee, const Arguments& arguments);
  Result<Value> CallMacro(const Callable& callable, const Arguments& arguments);
  Status BindMacro(const MacroStatement& macro, const Arguments& arguments);
  Value MakeMacro(const MacroStatement& macro);
  // Charges a step and the sizes of a native operation's operands.
  Status ChargeOperands(const Value& value);

  Status Assign(const Target& target, Value value);
  Value Lookup(const std::string& name) const;
  Status Write(std::string_view text);
  // The output of `body`, run in a scope of its own.
  Result<std::string> Capture(const Body& body);

  std::shared_ptr<Scope> MakeScope(std::shared_ptr<Scope> parent) const {
    return std::make_shared<Scope>(Scope{std::move(parent), {}});
  }

  Environment environment_;
  std::shared_ptr<Scope> scope_;
  std::vector<std::shared_ptr<Scope>> macro_scopes_;
  std::vector<std::shared_ptr<Loop>> changed_loops_;  // whose changed() has been called
  std::string* output_ = nullptr;
  const Value* captured_ = nullptr;  // what a chain of filters without input works on
  int depth_ = 0;
  int line_ = 1;
};

}  // namespace jinja
