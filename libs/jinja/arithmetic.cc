// The arithmetic operators.
#include <cmath>

#include "jinja/operators.h"
#include "jinja/value_text.h"

namespace jinja {
namespace {

constexpr std::string_view kSymbols[] = {"+", "-", "*", "/", "//", "%"};

Value IntegerArithmetic(Operator op, int64_t left, int64_t right) {
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case Operator::kAdd:
      overflow = __builtin_add_overflow(left, right, &result);
      break;
    case Operator::kSubtract:
      overflow = __builtin_sub_overflow(left, right, &result);
      break;
    case Operator::kMultiply:
      overflow = __builtin_mul_overflow(left, right, &result);
      break;
    default:
      if (right == 0) Invalid("division of {} by zero", left);
      if (op == Operator::kDivide) {
        return Value(static_cast<double>(static_cast<long double>(left) / right));
      }
      if (right == -1) {  // INT64_MIN // -1 is the one quotient that does not fit
        if (op == Operator::kModulo) return Value(int64_t{0});
        overflow = __builtin_sub_overflow(int64_t{0}, left, &result);
        break;
      }
      const bool uneven = left % right != 0 && (left < 0) != (right < 0);
      result = op == Operator::kModulo ? left % right + (uneven ? right : 0)
                                       : left / right - (uneven ? 1 : 0);
  }
  if (overflow) {
    Invalid("{} {} {} does not fit 64 bits", left, kSymbols[static_cast<int>(op)], right);
  }
  return Value(result);
}

Value FloatArithmetic(Operator op, double left, double right) {
  if (op == Operator::kAdd) return Value(left + right);
  if (op == Operator::kSubtract) return Value(left - right);
  if (op == Operator::kMultiply) return Value(left * right);
  if (right == 0) Invalid("division of {} by zero", left);
  if (op == Operator::kDivide) return Value(left / right);
  // As CPython: exact where floor(left / right) would round.
  double remainder = std::fmod(left, right);
  double quotient = (left - remainder) / right;
  if (remainder != 0 && (right < 0) != (remainder < 0)) {
    remainder += right;
    quotient -= 1;
  }
  if (remainder == 0) remainder = std::copysign(0.0, right);
  if (op == Operator::kModulo) return Value(remainder);
  if (quotient == 0) return Value(std::copysign(0.0, left / right));
  const double floored = std::floor(quotient);
  return Value(quotient - floored > 0.5 ? floored + 1 : floored);
}

bool IsListOrTuple(const Value& value) {
  return value.is_sequence(SequenceKind::kList) || value.is_sequence(SequenceKind::kTuple);
}

Value Concatenate(Environment& environment, const Value& left, const Value& right) {
  environment.CheckSize(left.shallow_size() + right.shallow_size());
  if (left.is_string()) {
    const bool markup = left.is_markup() || right.is_markup();
    const auto part = [&](const Value& value) {
      return markup && !value.is_markup() ? EscapeHtml(value.string()) : value.string();
    };
    return Value(part(left) + part(right), markup);
  }
  List items = left.sequence().items;
  const List& more = right.sequence().items;
  items.insert(items.end(), more.begin(), more.end());
  return Value::MakeSequence(left.sequence().kind, std::move(items));
}

Value Repeat(Environment& environment, const Value& value, int64_t count) {
  const size_t size = value.shallow_size();
  const size_t repeats = count <= 0 || size == 0 ? 0 : static_cast<size_t>(count);
  if (repeats != 0 && repeats > environment.limits().max_output_size / size) {
    Invalid("{} bytes repeated {} times exceed {}", size, repeats,
            environment.limits().max_output_size);
  }
  std::string text;
  List items;
  for (size_t i = 0; i < repeats; ++i) {
    if (value.is_string()) {
      text += value.string();
    } else {
      items.insert(items.end(), value.sequence().items.begin(), value.sequence().items.end());
    }
  }
  if (value.is_string()) return Value(std::move(text), value.is_markup());
  return Value::MakeSequence(value.sequence().kind, std::move(items));
}

}  // namespace

Value Arithmetic(Environment& environment, Operator op, const Value& left, const Value& right) {
  if (op == Operator::kPower) Unsupported("the operator ** is not supported");
  if (op == Operator::kModulo && left.is_string()) {
    return Value(FormatPercent(environment, left.string(), right));
  }
  if (left.is_undefined()) Invalid("{}", left.reason());
  if (right.is_undefined()) Invalid("{}", right.reason());
  if (left.is_integral() && right.is_integral()) {
    return IntegerArithmetic(op, left.integer(), right.integer());
  }
  if (left.is_number() && right.is_number()) {
    return FloatArithmetic(op, left.number(), right.number());
  }
  const auto repeatable = [](const Value& value) {
    return value.is_string() || IsListOrTuple(value);
  };
  if (op == Operator::kAdd && repeatable(left) && left.type_name() == right.type_name()) {
    return Concatenate(environment, left, right);
  }
  if (op == Operator::kMultiply && repeatable(left) && right.is_integral()) {
    return Repeat(environment, left, right.integer());
  }
  if (op == Operator::kMultiply && left.is_integral() && repeatable(right)) {
    return Repeat(environment, right, left.integer());
  }
  Invalid("unsupported operand types for {}: '{}' and '{}'", kSymbols[static_cast<int>(op)],
          left.type_name(), right.type_name());
}

Value Negate(const Value& value) {
  if (value.is_undefined()) Invalid("{}", value.reason());
  if (value.is_integral()) return IntegerArithmetic(Operator::kSubtract, 0, value.integer());
  if (!value.is_number()) Invalid("'{}' has no negative", value.type_name());
  return Value(-value.number());
}

}  // namespace jinja
