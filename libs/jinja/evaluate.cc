// The interpreter's expressions.
#include <algorithm>

#include "jinja/functions.h"
#include "jinja/interpreter.h"
#include "jinja/operators.h"
#include "jinja/value_text.h"

namespace jinja {
namespace {

// Nodes that hand on a value that exists already.
bool MakesNoValue(NodeKind kind) {
  return kind == NodeKind::kLiteral || kind == NodeKind::kName || kind == NodeKind::kAnd ||
         kind == NodeKind::kOr || kind == NodeKind::kConditional;
}

}  // namespace

Value Interpreter::Evaluate(const Node& node) {
  line_ = node.line;
  environment_.Step();
  const Exchanged nesting(&depth_, depth_ + 1);
  if (depth_ > environment_.limits().max_depth) {
    Invalid("nested deeper than {}", environment_.limits().max_depth);
  }
  Value value = EvaluateNode(node);
  if (value.depth() > kMaxValueDepth) {
    Invalid("values nested deeper than {}", kMaxValueDepth);
  }
  if (!MakesNoValue(node.kind)) {
    environment_.Allocate(value.shallow_size());
  }
  return value;
}

Value Interpreter::EvaluateNode(const Node& node) {
  switch (node.kind) {
    case NodeKind::kLiteral:
      return node.value;
    case NodeKind::kName:
      return EvaluateName(node);
    case NodeKind::kList:
    case NodeKind::kTuple:
    case NodeKind::kDict:
      return EvaluateItems(node);
    case NodeKind::kAttribute:
    case NodeKind::kSubscript:
      return EvaluateAttribute(node);
    case NodeKind::kSlice:
      return EvaluateSlice(node);
    case NodeKind::kCall: {
      const Value callee = Evaluate(*node.parts[0]);
      const Arguments arguments = EvaluateArguments(node);
      return CallValue(callee, arguments);
    }
    case NodeKind::kFilter:
    case NodeKind::kTest:
      return EvaluateFunction(node);
    case NodeKind::kNot:
    case NodeKind::kNegate:
    case NodeKind::kPlus:
      return EvaluateSign(node);
    case NodeKind::kArithmetic: {
      const Value left = Evaluate(*node.parts[0]);
      const Value right = Evaluate(*node.parts[1]);
      return Arithmetic(environment_, node.operators[0], left, right);
    }
    case NodeKind::kConcat:
      return EvaluateConcat(node);
    case NodeKind::kAnd:
    case NodeKind::kOr: {
      Value left = Evaluate(*node.parts[0]);
      if (left.Truth() != (node.kind == NodeKind::kAnd)) return left;
      return Evaluate(*node.parts[1]);
    }
    case NodeKind::kCompare:
      return EvaluateCompare(node);
    default:
      return EvaluateConditional(node);
  }
}

Value Interpreter::EvaluateName(const Node& node) {
  Value value = Lookup(node.name);
  if (value.is_undefined() && (node.name == "varargs" || node.name == "kwargs")) {
    Unsupported("the variable '{}' is not supported", node.name);
  }
  return value;
}

Value Interpreter::EvaluateItems(const Node& node) {
  List items;
  for (const NodePtr& item : node.parts) {
    items.push_back(Evaluate(*item));
  }
  if (node.kind == NodeKind::kList) return Value::MakeList(std::move(items));
  if (node.kind == NodeKind::kTuple) {
    return Value::MakeSequence(SequenceKind::kTuple, std::move(items));
  }
  Dict dict;
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    dict.Set(items[i], std::move(items[i + 1]));
  }
  return Value(std::move(dict));
}

Value Interpreter::EvaluateAttribute(const Node& node) {
  const Value object = Evaluate(*node.parts[0]);
  Value key(node.name);
  if (node.kind == NodeKind::kSubscript) key = Evaluate(*node.parts[1]);
  if (object.kind() == Kind::kLoop && key.is_string()) {
    std::optional<Value> attribute = LoopAttribute(*object.loop(), key.string());
    if (attribute) return *std::move(attribute);
  }
  if (node.kind == NodeKind::kSubscript) return GetItem(environment_, object, key);
  return GetAttribute(object, node.name);
}

Value Interpreter::EvaluateSlice(const Node& node) {
  List operands;
  for (const NodePtr& part : node.parts) {
    operands.push_back(part ? Evaluate(*part) : Value());
  }
  return Slice(environment_, operands[0], operands[1], operands[2], operands[3]);
}

Value Interpreter::EvaluateFunction(const Node& node) {
  const std::string_view what = node.kind == NodeKind::kFilter ? "filter" : "test";
  if (node.function == nullptr) Invalid("no {} named '{}'", what, node.name);
  Value input = captured_ != nullptr ? *captured_ : Value();
  if (node.parts[0]) input = Evaluate(*node.parts[0]);
  const Arguments arguments = EvaluateArguments(node);
  line_ = node.line;
  return Apply(environment_, what, node.name, *node.function, input, arguments);
}

Value Interpreter::EvaluateSign(const Node& node) {
  const Value operand = Evaluate(*node.parts[0]);
  if (node.kind == NodeKind::kNot) return Value(!operand.Truth());
  if (node.kind == NodeKind::kNegate) return Negate(operand);
  if (operand.is_undefined()) Invalid("{}", operand.reason());
  if (!operand.is_number()) Invalid("unary + of '{}'", operand.type_name());
  return operand.is_bool() ? Value(operand.integer()) : operand;
}

Value Interpreter::EvaluateConcat(const Node& node) {
  const std::string text = ToText(environment_, Evaluate(*node.parts[0]));
  const std::string more = ToText(environment_, Evaluate(*node.parts[1]));
  environment_.CheckSize(text.size() + more.size());
  return Value(text + more);
}

Value Interpreter::EvaluateCompare(const Node& node) {
  Value left = Evaluate(*node.parts[0]);
  for (size_t i = 0; i < node.operators.size(); ++i) {
    Value right = Evaluate(*node.parts[i + 1]);
    Charge(left);
    Charge(right);
    const bool holds = Compare(environment_, node.operators[i], left, right);
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Interpreter::EvaluateConditional(const Node& node) {
  if (Evaluate(*node.parts[0]).Truth()) return Evaluate(*node.parts[1]);
  if (node.parts[2]) return Evaluate(*node.parts[2]);
  return Value::MakeUndefined("the inline if-expression has no else and its test was false");
}

void Interpreter::Charge(const Value& value) {
  return environment_.Step(1 + static_cast<int64_t>(value.shallow_size() / 256));
}

Arguments Interpreter::EvaluateArguments(const Node& node) {
  Arguments arguments;
  for (const Argument& given : node.arguments) {
    Value value = Evaluate(*given.value);
    if (given.name.empty()) {
      arguments.positional.push_back(std::move(value));
    } else if (given.name.starts_with('*')) {
      Spread(given.name, value, &arguments);
    } else {
      arguments.keyword.emplace_back(given.name, std::move(value));
    }
  }
  return arguments;
}

void Interpreter::Spread(const std::string& stars, const Value& value, Arguments* arguments) {
  Charge(value);
  if (stars == "*") {
    const List items = Iterate(value);
    arguments->positional.insert(arguments->positional.end(), items.begin(), items.end());
    return;
  }
  if (!value.is_dict()) Invalid("** needs a dict, not '{}'", value.type_name());
  for (const auto& [key, element] : value.dict().entries()) {
    if (!key.is_string()) Invalid("** needs strings as keys");
    for (const auto& [name, before] : arguments->keyword) {
      if (name == key.string()) Invalid("the argument '{}' is given twice", name);
    }
    arguments->keyword.emplace_back(key.string(), element);
  }
}

}  // namespace jinja
