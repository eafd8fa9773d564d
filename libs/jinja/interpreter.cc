#include "jinja/interpreter.h"

#include <algorithm>

#include "jinja/functions.h"
#include "jinja/operators.h"
#include "jinja/value_text.h"

namespace jinja {

Interpreter::Interpreter(const RenderOptions& options, const Value& variables)
    : environment_(options) {
  auto global_scope = MakeScope(nullptr);
  for (const Function& row : Globals()) {
    const std::string name(row.names);
    global_scope->names.emplace(name, Value(Callable{name, "function", &row, Value()}));
  }
  global_scope->names.emplace("self", Value(environment_.MakeNamespace()));  // no blocks
  for (const auto& [key, value] : variables.dict().entries()) {
    if (key.is_string()) global_scope->names.insert_or_assign(key.string(), value);
  }
  scope_ = MakeScope(std::move(global_scope));
}

Interpreter::~Interpreter() {
  for (const auto& scope : macro_scopes_) scope->names.clear();
}

std::string Interpreter::Run(const Body& body) {
  std::string output;
  output_ = &output;
  try {
    ExecuteBody(body);
  } catch (const Failure& failure) {
    if (failure.error.kind == ErrorKind::kRaised) throw;
    Fail(failure.error.kind, "template line {}: {}", line_, failure.error.message);
  }
  return output;
}

Interpreter::Flow Interpreter::ExecuteBody(const Body& body) {
  for (const NodePtr& node : body) {
    if (const Flow flow = Execute(*node); flow != Flow::kOn) return flow;
  }
  return Flow::kOn;
}

Interpreter::Flow Interpreter::Execute(const Node& node) {
  line_ = node.line;
  environment_.Step();
  const Exchanged nesting(&depth_, depth_ + 1);
  if (depth_ > environment_.limits().max_depth) {
    Invalid("nested deeper than {}", environment_.limits().max_depth);
  }
  return ExecuteNode(node);
}

Interpreter::Flow Interpreter::ExecuteNode(const Node& node) {
  switch (node.kind) {
    case NodeKind::kText:
      Write(node.name);
      break;
    case NodeKind::kPrint:
      WriteValue(Evaluate(*node.parts[0]));
      break;
    case NodeKind::kIf:
      return RunIf(node);
    case NodeKind::kFor:
      return RunLoop(node);
    case NodeKind::kSet:
      Assign(*node.parts[0], Evaluate(*node.parts[1]));
      break;
    case NodeKind::kSetBlock:
      Assign(*node.parts[0], Filtered(node.parts[1], Capture(node.bodies[0])));
      break;
    case NodeKind::kMacro:
      scope_->names.insert_or_assign(node.name, MakeMacro(node));
      break;
    case NodeKind::kCallBlock:
      RunCallBlock(node);
      break;
    case NodeKind::kFilterBlock:
      WriteValue(Filtered(node.parts[0], Capture(node.bodies[0])));
      break;
    case NodeKind::kScope: {
      const Exchanged scope(&scope_, MakeScope(scope_));
      return ExecuteBody(node.bodies[0]);
    }
    case NodeKind::kBreak:
      return Flow::kBreak;
    case NodeKind::kContinue:
      return Flow::kContinue;
    default:
      Unsupported("{} is not supported", node.name);
  }
  return Flow::kOn;
}

void Interpreter::Write(std::string_view text) {
  environment_.CheckSize(output_->size() + text.size());
  environment_.Allocate(text.size());
  *output_ += text;
}

void Interpreter::WriteValue(const Value& value) {
  value.is_string() ? Write(value.string()) : Write(ToText(environment_, value));
}

Value Interpreter::Capture(const Body& body) {
  std::string text;
  const Exchanged output(&output_, &text);
  const Exchanged scope(&scope_, MakeScope(scope_));
  ExecuteBody(body);
  return Value(std::move(text));
}

Value Interpreter::Filtered(const NodePtr& chain, Value text) {
  if (!chain) return text;
  const Exchanged<const Value*> captured(&captured_, &text);
  return Evaluate(*chain);
}

Interpreter::Flow Interpreter::RunIf(const Node& node) {
  for (size_t i = 0; i < node.parts.size(); ++i) {
    if (Evaluate(*node.parts[i]).Truth()) return ExecuteBody(node.bodies[i]);
  }
  return ExecuteBody(node.bodies.back());
}

Interpreter::Flow Interpreter::RunLoop(const Node& node) {
  const Value iterable = Evaluate(*node.parts[1]);
  const auto loop = std::make_shared<Loop>();
  loop->statement = &node;
  loop->outer = scope_;
  loop->items = Iterate(iterable);
  environment_.Allocate(loop->items.size() * sizeof(Value));
  bool completed_one = false;
  while (true) {
    environment_.Step();
    const size_t index = static_cast<size_t>(loop->index0 + 1);
    LookAhead(*loop, index + 1);
    if (index == loop->passed.size()) break;
    ++loop->index0;
    const Exchanged scope(&scope_, MakeScope(loop->outer));
    Assign(*node.parts[0], loop->passed[index]);
    scope_->names.insert_or_assign("loop", Value(loop));
    const Flow flow = ExecuteBody(node.bodies[0]);
    if (flow == Flow::kBreak) break;
    completed_one = completed_one || flow == Flow::kOn;
  }
  // As in Jinja, `else` also runs when every round was cut short by break or continue.
  if (completed_one || node.bodies[1].empty()) return Flow::kOn;
  const Exchanged scope(&scope_, MakeScope(loop->outer));
  return ExecuteBody(node.bodies[1]);
}

void Interpreter::LookAhead(Loop& loop, size_t count) {
  const NodePtr& filter = loop.statement->parts[2];
  while (loop.passed.size() < count && loop.num_asked < loop.items.size()) {
    const Value item = loop.items[loop.num_asked++];
    const Exchanged scope(&scope_, MakeScope(loop.outer));
    if (filter) Assign(*loop.statement->parts[0], item);
    if (!filter || Evaluate(*filter).Truth()) loop.passed.push_back(item);
  }
}

std::optional<Value> Interpreter::LoopAttribute(Loop& loop, std::string_view name) {
  const size_t index = static_cast<size_t>(loop.index0);
  if (name == "index") return Value(loop.index0 + 1);
  if (name == "index0") return Value(loop.index0);
  if (name == "first") return Value(loop.index0 == 0);
  if (name == "previtem") {
    return index > 0 ? loop.passed[index - 1] : Value::MakeUndefined("there is no previous item");
  }
  if (name == "last" || name == "nextitem") {
    LookAhead(loop, index + 2);
    const bool last = loop.passed.size() < index + 2;
    if (name == "last") return Value(last);
    return last ? Value::MakeUndefined("there is no next item") : loop.passed[index + 1];
  }
  if (name == "length" || name == "revindex" || name == "revindex0") {
    LookAhead(loop, loop.items.size());
    const auto length = static_cast<int64_t>(loop.passed.size());
    if (name == "length") return Value(length);
    return Value(length - loop.index0 - (name == "revindex" ? 0 : 1));
  }
  for (const std::string_view other : {"cycle", "changed", "depth", "depth0"}) {
    if (name == other) Unsupported("loop.{} is not supported", name);
  }
  return std::nullopt;
}

void Interpreter::RunCallBlock(const Node& node) {
  const Node& call = *node.parts[0];
  const Value callee = Evaluate(*call.parts[0]);
  Arguments arguments = EvaluateArguments(call);
  arguments.keyword.emplace_back("caller", MakeMacro(*node.parts[1]));
  WriteValue(CallValue(callee, arguments));
}

Value Interpreter::MakeMacro(const Node& macro) {
  macro_scopes_.push_back(scope_);
  return Value(Callable{macro.name, "macro", nullptr, Value(), &macro, scope_.get()});
}

void Interpreter::Assign(const Node& target, Value value) {
  if (target.kind == NodeKind::kTuple) {
    List items = Iterate(value);
    if (items.size() != target.parts.size()) {
      Invalid("{} values for {} names", items.size(), target.parts.size());
    }
    for (size_t i = 0; i < items.size(); ++i) {
      Assign(*target.parts[i], std::move(items[i]));
    }
    return;
  }
  if (target.parts.empty()) {
    scope_->names.insert_or_assign(target.name, std::move(value));
    return;
  }
  const std::string& attribute = target.parts[0]->name;
  const Value space = Lookup(target.name);
  if (space.kind() != Kind::kNamespace) {
    Invalid("cannot assign attribute '{}' on non-namespace object '{}'", attribute, target.name);
  }
  if (attribute.starts_with('_')) {
    Invalid("a namespace can't hold '{}': it begins with an underscore", attribute);
  }
  space.space().attributes.Set(attribute, std::move(value));
}

Value Interpreter::Lookup(const std::string& name) const {
  for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get()) {
    const auto place = scope->names.find(name);
    if (place != scope->names.end()) return place->second;
  }
  return Value::MakeUndefined("'" + name + "' is undefined");
}

Value Interpreter::CallValue(const Value& callee, const Arguments& arguments) {
  if (callee.is_undefined()) Invalid("{}", callee.reason());
  if (callee.kind() != Kind::kCallable) Invalid("'{}' is not callable", callee.type_name());
  const Callable& callable = callee.callable();
  if (callable.macro != nullptr) return CallMacro(callable, arguments);
  return Apply(environment_, callable.what, callable.name, *callable.function, callable.self,
               arguments);
}

Value Interpreter::CallMacro(const Callable& callable, const Arguments& arguments) {
  std::string text;
  const Exchanged output(&output_, &text);
  auto inner = std::make_shared<Scope>();
  inner->parent = std::shared_ptr<Scope>(std::shared_ptr<Scope>(), callable.scope);
  const Exchanged scope(&scope_, inner);
  const int line = line_;
  BindMacro(*callable.macro, arguments);
  ExecuteBody(callable.macro->bodies[0]);
  line_ = line;
  return Value(std::move(text));
}

void Interpreter::BindMacro(const Node& macro, const Arguments& arguments) {
  const size_t num_positional = arguments.positional.size();
  if (num_positional > macro.arguments.size()) {
    Invalid("macro '{}' takes not more than {} argument(s)", macro.name, macro.arguments.size());
  }
  auto& names = scope_->names;
  std::vector<std::pair<std::string, Value>> keyword = arguments.keyword;
  const auto take_keyword = [&](std::string_view name) -> std::optional<Value> {
    const auto given = std::find_if(keyword.begin(), keyword.end(),
                                    [&](const auto& entry) { return entry.first == name; });
    if (given == keyword.end()) return std::nullopt;
    Value value = std::move(given->second);
    keyword.erase(given);
    return value;
  };
  for (size_t i = 0; i < macro.arguments.size(); ++i) {
    const auto& [name, fallback] = macro.arguments[i];
    Value value = Value::MakeUndefined("parameter '" + name + "' was not provided");
    if (i < num_positional) {
      value = arguments.positional[i];
    } else if (std::optional<Value> given = take_keyword(name)) {
      value = *std::move(given);
    } else if (fallback) {
      value = Evaluate(*fallback);
    }
    names.insert_or_assign(name, std::move(value));
  }
  if (macro.uses_caller && !names.contains("caller")) {
    names.emplace("caller",
                  take_keyword("caller").value_or(Value::MakeUndefined("No caller defined")));
  }
  if (keyword.empty()) return;
  Invalid("macro '{}' takes no keyword argument '{}'", macro.name, keyword[0].first);
}

}  // namespace jinja
