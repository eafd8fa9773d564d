#include <algorithm>

#include "jinja/error.h"
#include "jinja/exchanged.h"
#include "jinja/filters.h"
#include "jinja/interpreter.h"
#include "jinja/operators.h"
#include "jinja/predicates.h"
#include "jinja/value_text.h"

namespace jinja {
namespace {

// Nodes that hand on a value that exists already.
bool MakesNoValue(const Expression& expression) {
  return std::holds_alternative<LiteralExpression>(expression.node) ||
         std::holds_alternative<NameExpression>(expression.node) ||
         std::holds_alternative<LogicExpression>(expression.node) ||
         std::holds_alternative<ConditionalExpression>(expression.node);
}

}  // namespace

Result<Value> Interpreter::Evaluate(const Expression& expression) {
  line_ = expression.line;
  JINJA_RETURN_IF_ERROR(environment_.Step());
  const Exchanged nesting(&depth_, depth_ + 1);
  if (depth_ > environment_.limits().max_depth) {
    return Invalid("nested deeper than {}", environment_.limits().max_depth);
  }
  JINJA_ASSIGN(Value value, std::visit([this](const auto& node) { return EvaluateNode(node); },
                                       expression.node));
  if (value.depth() > kMaxValueDepth) {
    return Invalid("values nested deeper than {}", kMaxValueDepth);
  }
  if (!MakesNoValue(expression)) {
    JINJA_RETURN_IF_ERROR(environment_.Allocate(value.shallow_size()));
  }
  return value;
}

Result<Value> Interpreter::EvaluateOptional(const ExpressionPtr& expression) {
  if (!expression) return Value();
  return Evaluate(*expression);
}

Status Interpreter::ChargeOperands(const Value& value) {
  return environment_.Step(1 + static_cast<int64_t>(value.shallow_size() / 256));
}

Result<Value> Interpreter::EvaluateNode(const LiteralExpression& node) { return node.value; }

Result<Value> Interpreter::EvaluateNode(const NameExpression& node) { return Lookup(node.name); }

Result<Value> Interpreter::EvaluateNode(const SequenceExpression& node) {
  List items;
  for (const ExpressionPtr& item : node.items) {
    JINJA_ASSIGN(Value value, Evaluate(*item));
    items.push_back(std::move(value));
  }
  return Value::MakeSequence(node.kind, std::move(items));
}

Result<Value> Interpreter::EvaluateNode(const DictExpression& node) {
  Dict dict;
  for (const auto& [key_expression, value_expression] : node.entries) {
    JINJA_ASSIGN(const Value key, Evaluate(*key_expression));
    JINJA_ASSIGN(Value value, Evaluate(*value_expression));
    JINJA_RETURN_IF_ERROR(dict.Set(key, std::move(value)));
  }
  return Value(std::move(dict));
}

Result<Value> Interpreter::EvaluateNode(const AttributeExpression& node) {
  JINJA_ASSIGN(const Value object, Evaluate(*node.object));
  if (object.kind() == Kind::kLoop) {
    JINJA_ASSIGN(std::optional<Value> attribute, LoopAttribute(object.loop(), node.name));
    if (attribute) return *std::move(attribute);
  }
  return GetAttribute(object, node.name);
}

Result<Value> Interpreter::EvaluateNode(const SubscriptExpression& node) {
  JINJA_ASSIGN(const Value object, Evaluate(*node.object));
  JINJA_ASSIGN(const Value key, Evaluate(*node.key));
  if (object.kind() == Kind::kLoop && key.is_string()) {
    JINJA_ASSIGN(std::optional<Value> attribute, LoopAttribute(object.loop(), key.string()));
    if (attribute) return *std::move(attribute);
  }
  return GetItem(environment_, object, key);
}

Result<Value> Interpreter::EvaluateNode(const SliceExpression& node) {
  JINJA_ASSIGN(const Value object, Evaluate(*node.object));
  JINJA_ASSIGN(const Value start, EvaluateOptional(node.start));
  JINJA_ASSIGN(const Value stop, EvaluateOptional(node.stop));
  JINJA_ASSIGN(const Value step, EvaluateOptional(node.step));
  return Slice(environment_, object, start, stop, step);
}

Result<Value> Interpreter::EvaluateNode(const CallExpression& node) {
  JINJA_ASSIGN(const Value callee, Evaluate(*node.callee));
  JINJA_ASSIGN(const Arguments arguments, EvaluateArguments(node.arguments));
  return Call(callee, arguments);
}

Result<Value> Interpreter::EvaluateNode(const FilterExpression& node) {
  Value input = captured_ != nullptr ? *captured_ : Value();
  if (node.input) {
    JINJA_ASSIGN(input, Evaluate(*node.input));
  }
  JINJA_ASSIGN(const Arguments arguments, EvaluateArguments(node.arguments));
  JINJA_RETURN_IF_ERROR(ChargeOperands(input));
  return node.filter->apply(environment_, input, arguments);
}

Result<Value> Interpreter::EvaluateNode(const PredicateExpression& node) {
  JINJA_ASSIGN(const Value input, Evaluate(*node.input));
  JINJA_ASSIGN(const Arguments arguments, EvaluateArguments(node.arguments));
  return node.predicate->apply(environment_, input, arguments);
}

Result<Value> Interpreter::EvaluateNode(const UnaryExpression& node) {
  JINJA_ASSIGN(const Value operand, Evaluate(*node.operand));
  if (node.op == UnaryOperator::kNot) return Value(!operand.Truth());
  if (node.op == UnaryOperator::kMinus) return Negate(operand);
  if (operand.is_undefined()) return Invalid("{}", operand.reason());
  if (!operand.is_number()) return Invalid("unary + of '{}'", operand.type_name());
  return operand.is_bool() ? Value(operand.integer()) : operand;
}

Result<Value> Interpreter::EvaluateNode(const ArithmeticExpression& node) {
  JINJA_ASSIGN(const Value left, Evaluate(*node.left));
  JINJA_ASSIGN(const Value right, Evaluate(*node.right));
  return Arithmetic(environment_, node.op, left, right);
}

Result<Value> Interpreter::EvaluateNode(const LogicExpression& node) {
  JINJA_ASSIGN(Value left, Evaluate(*node.left));
  if (left.Truth() != node.is_and) return left;
  return Evaluate(*node.right);
}

Result<Value> Interpreter::EvaluateNode(const ConcatExpression& node) {
  std::string text;
  for (const ExpressionPtr& part : node.parts) {
    JINJA_ASSIGN(const Value value, Evaluate(*part));
    JINJA_ASSIGN(const std::string part_text, ToText(environment_, value));
    JINJA_RETURN_IF_ERROR(environment_.CheckSize(text.size() + part_text.size()));
    text += part_text;
  }
  return Value(std::move(text));
}

Result<Value> Interpreter::EvaluateNode(const CompareExpression& node) {
  JINJA_ASSIGN(Value left, Evaluate(*node.first));
  for (const auto& [op, expression] : node.rest) {
    JINJA_ASSIGN(Value right, Evaluate(*expression));
    JINJA_RETURN_IF_ERROR(ChargeOperands(left));
    JINJA_RETURN_IF_ERROR(ChargeOperands(right));
    JINJA_ASSIGN(const bool holds, Compare(environment_, op, left, right));
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Result<Value> Interpreter::EvaluateNode(const ConditionalExpression& node) {
  JINJA_ASSIGN(const Value test, Evaluate(*node.test));
  if (test.Truth()) return Evaluate(*node.then);
  if (node.otherwise) return Evaluate(*node.otherwise);
  return Value::MakeUndefined("the inline if-expression has no else and its test was false");
}

Result<Arguments> Interpreter::EvaluateArguments(const CallArguments& given) {
  Arguments arguments;
  for (const ExpressionPtr& expression : given.positional) {
    JINJA_ASSIGN(Value value, Evaluate(*expression));
    arguments.positional.push_back(std::move(value));
  }
  for (const auto& [name, expression] : given.keyword) {
    JINJA_ASSIGN(Value value, Evaluate(*expression));
    arguments.keyword.emplace_back(name, std::move(value));
  }
  JINJA_RETURN_IF_ERROR(SpreadArguments(given, &arguments));
  return arguments;
}

Status Interpreter::SpreadArguments(const CallArguments& given, Arguments* arguments) {
  if (given.spread_list) {
    JINJA_ASSIGN(const Value value, Evaluate(*given.spread_list));
    JINJA_RETURN_IF_ERROR(ChargeOperands(value));
    JINJA_ASSIGN(const List items, Iterate(value));
    arguments->positional.insert(arguments->positional.end(), items.begin(), items.end());
  }
  if (given.spread_dict) {
    JINJA_ASSIGN(const Value value, Evaluate(*given.spread_dict));
    if (!value.is_dict()) return Invalid("** needs a dict, not '{}'", value.type_name());
    for (const auto& entry : value.dict().entries()) {
      if (!entry.first.is_string()) return Invalid("** needs strings as keys");
      const std::string& name = entry.first.string();
      const bool repeated = std::any_of(given.keyword.begin(), given.keyword.end(),
                                        [&](const auto& other) { return other.first == name; });
      if (repeated) return Invalid("the argument '{}' is given twice", name);
      arguments->keyword.emplace_back(name, entry.second);
    }
  }
  return {};
}

}  // namespace jinja
