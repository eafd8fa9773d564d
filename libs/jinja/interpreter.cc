#include "jinja/interpreter.h"

#include <algorithm>

#include "jinja/error.h"
#include "jinja/exchanged.h"
#include "jinja/globals.h"
#include "jinja/operators.h"
#include "jinja/value_text.h"

namespace jinja {
Interpreter::Interpreter(const RenderOptions& options, const Value& variables)
    : environment_(options) {
  auto global_scope = MakeScope(nullptr);
  for (const GlobalRow& row : Globals()) {
    Callable function;
    function.name = row.name;
    function.function = row.function;
    global_scope->names.emplace(row.name, Value(std::move(function)));
  }
  for (const auto& [key, value] : variables.dict().entries()) {
    if (key.is_string()) global_scope->names.insert_or_assign(key.string(), value);
  }
  scope_ = MakeScope(std::move(global_scope));
}

Interpreter::~Interpreter() {
  for (const auto& scope : macro_scopes_) scope->names.clear();
  for (const auto& loop : changed_loops_) loop->last_changed.reset();
}

Result<std::string> Interpreter::Run(const Body& body) {
  std::string output;
  output_ = &output;
  const auto flow = ExecuteBody(body);
  if (flow) return output;
  if (flow.error().kind == ErrorKind::kRaised) {
    return tl::unexpected<Error>(flow.error());
  }
  return Fail(flow.error().kind, "template line {}: {}", line_, flow.error().message);
}

Result<Interpreter::Flow> Interpreter::ExecuteBody(const Body& body) {
  for (const Statement& statement : body) {
    JINJA_ASSIGN(const Flow flow, Execute(statement));
    if (flow != Flow::kOn) return flow;
  }
  return Flow::kOn;
}

Result<Interpreter::Flow> Interpreter::Execute(const Statement& statement) {
  line_ = statement.line;
  JINJA_RETURN_IF_ERROR(environment_.Step());
  const Exchanged nesting(&depth_, depth_ + 1);
  if (depth_ > environment_.limits().max_depth) {
    return Invalid("nested deeper than {}", environment_.limits().max_depth);
  }
  return std::visit([this](const auto& node) { return ExecuteNode(node); }, statement.node);
}

Status Interpreter::Write(std::string_view text) {
  JINJA_RETURN_IF_ERROR(environment_.CheckSize(output_->size() + text.size()));
  JINJA_RETURN_IF_ERROR(environment_.Allocate(text.size()));
  *output_ += text;
  return {};
}

Result<std::string> Interpreter::Capture(const Body& body) {
  std::string text;
  const Exchanged output(&output_, &text);
  const Exchanged scope(&scope_, MakeScope(scope_));
  JINJA_RETURN_IF_ERROR(ExecuteBody(body));
  return text;
}

Result<Interpreter::Flow> Interpreter::ExecuteNode(const TextStatement& node) {
  JINJA_RETURN_IF_ERROR(Write(node.text));
  return Flow::kOn;
}

Result<Interpreter::Flow> Interpreter::ExecuteNode(const PrintStatement& node) {
  JINJA_ASSIGN(const Value value, Evaluate(*node.expression));
  if (value.is_string()) {
    JINJA_RETURN_IF_ERROR(Write(value.string()));
    return Flow::kOn;
  }
  if (value.kind() == Kind::kLoop) {
    JINJA_ASSIGN(const int64_t length, LoopLength(*value.loop()));
    JINJA_RETURN_IF_ERROR(
        Write(fmt::format("<LoopContext {}/{}>", value.loop()->index0 + 1, length)));
    return Flow::kOn;
  }
  JINJA_ASSIGN(const std::string text, ToText(environment_, value));
  JINJA_RETURN_IF_ERROR(Write(text));
  return Flow::kOn;
}

Result<Interpreter::Flow> Interpreter::ExecuteNode(const IfStatement& node) {
  for (const auto& [test, body] : node.branches) {
    JINJA_ASSIGN(const Value value, Evaluate(*test));
    if (value.Truth()) return ExecuteBody(body);
  }
  return ExecuteBody(node.otherwise);
}

Result<Interpreter::Flow> Interpreter::ExecuteNode(const SetStatement& node) {
  JINJA_ASSIGN(Value value, Evaluate(*node.expression));
  JINJA_RETURN_IF_ERROR(Assign(node.target, std::move(value)));
  return Flow::kOn;
}

Result<Interpreter::Flow> Interpreter::ExecuteNode(const SetBlockStatement& node) {
  JINJA_ASSIGN(std::string text, Capture(node.body));
  Value value(std::move(text));
  if (node.filter) {
    const Exchanged<const Value*> captured(&captured_, &value);
    JINJA_ASSIGN(Value filtered, Evaluate(*node.filter));
    JINJA_RETURN_IF_ERROR(Assign(node.target, std::move(filtered)));
  } else {
    JINJA_RETURN_IF_ERROR(Assign(node.target, std::move(value)));
  }
  return Flow::kOn;
}

Result<Interpreter::Flow> Interpreter::ExecuteNode(const FilterBlockStatement& node) {
  JINJA_ASSIGN(std::string captured_text, Capture(node.body));
  const Value value(std::move(captured_text));
  const Exchanged<const Value*> captured(&captured_, &value);
  JINJA_ASSIGN(const Value filtered, Evaluate(*node.filter));
  JINJA_ASSIGN(const std::string text, ToText(environment_, filtered));
  JINJA_RETURN_IF_ERROR(Write(text));
  return Flow::kOn;
}

Result<Interpreter::Flow> Interpreter::ExecuteNode(const ScopeStatement& node) {
  const std::shared_ptr<Scope> inner = MakeScope(scope_);
  for (const auto& [target, expression] : node.assignments) {
    JINJA_ASSIGN(Value value, Evaluate(*expression));
    inner->names.insert_or_assign(target.name, std::move(value));
  }
  const Exchanged scope(&scope_, inner);
  return ExecuteBody(node.body);
}

Value Interpreter::MakeMacro(const MacroStatement& macro) {
  macro_scopes_.push_back(scope_);
  Callable callable;
  callable.name = macro.name;
  callable.macro = &macro;
  callable.scope = scope_.get();
  return Value(std::move(callable));
}

Result<Interpreter::Flow> Interpreter::ExecuteNode(const MacroStatement& node) {
  scope_->names.insert_or_assign(node.name, MakeMacro(node));
  return Flow::kOn;
}

Result<Interpreter::Flow> Interpreter::ExecuteNode(const CallBlockStatement& node) {
  const auto& call = std::get<CallExpression>(node.call->node);
  JINJA_ASSIGN(const Value callee, Evaluate(*call.callee));
  JINJA_ASSIGN(Arguments arguments, EvaluateArguments(call.arguments));
  arguments.keyword.emplace_back("caller", MakeMacro(node.caller));
  JINJA_ASSIGN(const Value result, Call(callee, arguments));
  JINJA_ASSIGN(const std::string text, ToText(environment_, result));
  JINJA_RETURN_IF_ERROR(Write(text));
  return Flow::kOn;
}

Status Interpreter::Assign(const Target& target, Value value) {
  if (target.is_tuple) {
    JINJA_ASSIGN(List items, Iterate(value));
    if (items.size() != target.parts.size()) {
      return Invalid("{} values for {} names", items.size(), target.parts.size());
    }
    for (size_t i = 0; i < items.size(); ++i) {
      JINJA_RETURN_IF_ERROR(Assign(target.parts[i], std::move(items[i])));
    }
    return {};
  }
  if (target.attribute.empty()) {
    scope_->names.insert_or_assign(target.name, std::move(value));
    return {};
  }
  const Value space = Lookup(target.name);
  if (space.kind() != Kind::kNamespace) {
    return Invalid("cannot assign attribute '{}' on non-namespace object '{}'", target.attribute,
                   target.name);
  }
  if (target.attribute.starts_with('_')) {
    return Invalid("a namespace can't hold '{}': it begins with an underscore", target.attribute);
  }
  space.space().attributes.Set(target.attribute, std::move(value));
  return {};
}

Value Interpreter::Lookup(const std::string& name) const {
  for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get()) {
    const auto place = scope->names.find(name);
    if (place != scope->names.end()) return place->second;
  }
  return Value::MakeUndefined("'" + name + "' is undefined");
}

Result<Value> Interpreter::Call(const Value& callee, const Arguments& arguments) {
  if (callee.is_undefined()) return Invalid("{}", callee.reason());
  if (callee.kind() == Kind::kLoop) return CallLoop(callee.loop(), arguments);
  if (callee.kind() != Kind::kCallable) {
    return Invalid("'{}' is not callable", callee.type_name());
  }
  const Callable& callable = callee.callable();
  if (callable.macro != nullptr) return CallMacro(callable, arguments);
  if (callable.self.kind() == Kind::kLoop) return CallLoopMethod(callable, arguments);
  JINJA_RETURN_IF_ERROR(ChargeOperands(callable.self));
  return callable.function(environment_, callable.self, arguments);
}

Result<Value> Interpreter::CallMacro(const Callable& callable, const Arguments& arguments) {
  std::string text;
  const Exchanged output(&output_, &text);
  auto inner = std::make_shared<Scope>();
  inner->parent = std::shared_ptr<Scope>(std::shared_ptr<Scope>(), callable.scope);
  const Exchanged scope(&scope_, inner);
  const int line = line_;
  JINJA_RETURN_IF_ERROR(BindMacro(*callable.macro, arguments));
  JINJA_RETURN_IF_ERROR(ExecuteBody(callable.macro->body));
  line_ = line;
  return Value(std::move(text));
}

Status Interpreter::BindMacro(const MacroStatement& macro, const Arguments& arguments) {
  const size_t num_parameters = macro.parameters.size();
  const size_t num_positional = arguments.positional.size();
  if (num_positional > num_parameters && !macro.uses_positionals) {
    return Invalid("macro '{}' takes not more than {} argument(s)", macro.name, num_parameters);
  }
  auto& names = scope_->names;
  std::vector<std::pair<std::string, Value>> keyword = arguments.keyword;
  for (size_t i = 0; i < num_parameters; ++i) {
    const Parameter& parameter = macro.parameters[i];
    const auto given = std::find_if(keyword.begin(), keyword.end(), [&](const auto& entry) {
      return entry.first == parameter.name;
    });
    Value value = Value::MakeUndefined("parameter '" + parameter.name + "' was not provided");
    if (i < num_positional) {
      value = arguments.positional[i];
    } else if (given != keyword.end()) {
      value = std::move(given->second);
      keyword.erase(given);
    } else if (parameter.fallback) {
      JINJA_ASSIGN(value, Evaluate(*parameter.fallback));
    }
    names.insert_or_assign(parameter.name, std::move(value));
  }
  const bool declares_caller = names.contains("caller");
  if (macro.uses_caller && !declares_caller) {
    const auto caller = std::find_if(keyword.begin(), keyword.end(),
                                     [](const auto& entry) { return entry.first == "caller"; });
    if (caller == keyword.end()) {
      names.emplace("caller", Value::MakeUndefined("No caller defined"));
    } else {
      names.emplace("caller", std::move(caller->second));
      keyword.erase(caller);
    }
  }
  if (macro.uses_keywords) {
    Dict dict;
    for (auto& [name, value] : keyword) dict.Set(name, std::move(value));
    names.insert_or_assign("kwargs", Value(std::move(dict)));
  } else if (!keyword.empty()) {
    return Invalid("macro '{}' takes no keyword argument '{}'", macro.name, keyword[0].first);
  }
  if (macro.uses_positionals) {
    const size_t num_bound = std::min(num_parameters, num_positional);
    List rest(arguments.positional.begin() + static_cast<ptrdiff_t>(num_bound),
              arguments.positional.end());
    names.insert_or_assign("varargs", Value::MakeSequence(SequenceKind::kTuple, std::move(rest)));
  }
  return {};
}

}  // namespace jinja
