#include "jinja/loop.h"

#include "jinja/error.h"
#include "jinja/exchanged.h"
#include "jinja/interpreter.h"
#include "jinja/operators.h"
#include "jinja/parameters.h"

namespace jinja {

Result<Interpreter::Flow> Interpreter::ExecuteNode(const ForStatement& node) {
  JINJA_ASSIGN(const Value iterable, Evaluate(*node.iterable));
  return RunLoop(node, iterable, scope_, 0);
}

Result<Interpreter::Flow> Interpreter::RunLoop(const ForStatement& node, const Value& iterable,
                                               const std::shared_ptr<Scope>& outer,
                                               int64_t depth0) {
  const auto loop = std::make_shared<Loop>();
  loop->statement = &node;
  loop->outer = outer;
  loop->depth0 = depth0;
  JINJA_ASSIGN(loop->items, Iterate(iterable));
  loop->depth_of_items = iterable.is_undefined() ? 1 : iterable.depth();
  JINJA_RETURN_IF_ERROR(environment_.Allocate(loop->items.size() * sizeof(Value)));
  bool completed_one = false;
  while (true) {
    JINJA_ASSIGN(const bool advanced, Advance(*loop));
    if (!advanced) break;
    const Exchanged scope(&scope_, MakeScope(outer));
    JINJA_RETURN_IF_ERROR(Assign(node.target, loop->current));
    scope_->names.insert_or_assign("loop", Value(loop));
    JINJA_ASSIGN(const Flow flow, ExecuteBody(node.body));
    if (flow == Flow::kBreak) break;
    completed_one = completed_one || flow == Flow::kOn;
  }
  // As in Jinja, `else` also runs when every round was cut short by break or continue.
  if (completed_one || node.otherwise.empty()) return Flow::kOn;
  const Exchanged scope(&scope_, MakeScope(outer));
  return ExecuteBody(node.otherwise);
}

Result<bool> Interpreter::PassesFilter(const Loop& loop, const Value& item) {
  if (!loop.statement->filter) return true;
  const Exchanged scope(&scope_, MakeScope(loop.outer));
  JINJA_RETURN_IF_ERROR(Assign(loop.statement->target, item));
  JINJA_ASSIGN(const Value passes, Evaluate(*loop.statement->filter));
  return passes.Truth();
}

Status Interpreter::LookAhead(Loop& loop, size_t count) {
  while (loop.num_ahead() < count && loop.num_taken < loop.items.size()) {
    const Value item = loop.items[loop.num_taken++];
    JINJA_ASSIGN(const bool passes, PassesFilter(loop, item));
    if (passes) loop.ahead.push_back(item);
  }
  return {};
}

Result<bool> Interpreter::Advance(Loop& loop) {
  JINJA_RETURN_IF_ERROR(environment_.Step());
  JINJA_RETURN_IF_ERROR(LookAhead(loop, 1));
  if (loop.num_ahead() == 0) return false;
  if (loop.index0 >= 0) loop.previous = std::move(loop.current);
  loop.current = std::move(loop.ahead[loop.num_ahead_taken++]);
  ++loop.index0;
  return true;
}

Result<int64_t> Interpreter::LoopLength(Loop& loop) {
  JINJA_RETURN_IF_ERROR(LookAhead(loop, loop.items.size()));
  return static_cast<int64_t>(loop.ahead.size());
}

Result<std::optional<Value>> Interpreter::LoopAttribute(const std::shared_ptr<Loop>& loop,
                                                        std::string_view name) {
  if (name == "index") return Value(loop->index0 + 1);
  if (name == "index0") return Value(loop->index0);
  if (name == "first") return Value(loop->index0 == 0);
  if (name == "depth") return Value(loop->depth0 + 1);
  if (name == "depth0") return Value(loop->depth0);
  if (name == "previtem") {
    return loop->previous.value_or(Value::MakeUndefined("there is no previous item"));
  }
  if (name == "last" || name == "nextitem") {
    JINJA_RETURN_IF_ERROR(LookAhead(*loop, 1));
    const bool last = loop->num_ahead() == 0;
    if (name == "last") return Value(last);
    return last ? Value::MakeUndefined("there is no next item")
                : loop->ahead[loop->num_ahead_taken];
  }
  if (name == "length" || name == "revindex" || name == "revindex0") {
    JINJA_ASSIGN(const int64_t length, LoopLength(*loop));
    if (name == "length") return Value(length);
    return Value(length - loop->index0 - (name == "revindex" ? 0 : 1));
  }
  if (name != "cycle" && name != "changed") return std::nullopt;
  Callable method;
  method.name = name;
  method.self = Value(loop);
  return Value(std::move(method));
}

Result<Value> Interpreter::CallLoopMethod(const Callable& method, const Arguments& arguments) {
  Loop& loop = *method.self.loop();
  const List& values = arguments.positional;
  if (!arguments.keyword.empty()) {
    return Invalid("loop.{} takes no keyword arguments", method.name);
  }
  if (method.name == "cycle") {
    if (values.empty()) return Invalid("no items for cycling given");
    return values[static_cast<size_t>(loop.index0) % values.size()];
  }
  if (loop.last_changed) {
    JINJA_ASSIGN(const bool equal, Equals(environment_, Value::MakeList(values),
                                          Value::MakeList(*loop.last_changed)));
    if (equal) return Value(false);
  }
  if (!loop.last_changed) changed_loops_.push_back(method.self.loop());
  loop.last_changed = values;
  for (const Value& value : values) {
    loop.depth_of_items = std::max(loop.depth_of_items, value.depth() + 1);
  }
  if (loop.depth_of_items > kMaxValueDepth) return Invalid("values nested too deep");
  return Value(true);
}

Result<Value> Interpreter::CallLoop(const std::shared_ptr<Loop>& loop, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound, Parameters::Bind("loop", {"iterable"}, 1, arguments));
  if (!loop->statement->recursive) {
    return Invalid("the loop must be marked 'recursive' to be called");
  }
  std::string text;
  const Exchanged output(&output_, &text);
  JINJA_RETURN_IF_ERROR(RunLoop(*loop->statement, bound[0], loop->outer, loop->depth0 + 1));
  return Value(std::move(text));
}

}  // namespace jinja
