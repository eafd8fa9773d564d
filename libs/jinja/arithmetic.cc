#include <cmath>
#include <limits>

#include "jinja/environment.h"
#include "jinja/error.h"
#include "jinja/format.h"
#include "jinja/operators.h"
#include "jinja/value_text.h"

namespace jinja {
namespace {

constexpr std::string_view kSymbols[] = {"+", "-", "*", "/", "//", "%", "**"};

tl::unexpected<Error> Overflow(ArithmeticOperator op, int64_t left, int64_t right) {
  return Invalid("{} {} {} does not fit 64 bits", left, kSymbols[static_cast<int>(op)], right);
}

Result<Value> IntegerPower(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) return Invalid("0 cannot be raised to the negative power {}", exponent);
    return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t result = 1;
  int64_t factor = base;
  for (int64_t left = exponent; left > 0; left >>= 1) {
    if ((left & 1) != 0 && __builtin_mul_overflow(result, factor, &result)) {
      return Overflow(ArithmeticOperator::kPower, base, exponent);
    }
    if (left > 1 && __builtin_mul_overflow(factor, factor, &factor)) {
      return Overflow(ArithmeticOperator::kPower, base, exponent);
    }
  }
  return Value(result);
}

Result<Value> IntegerArithmetic(ArithmeticOperator op, int64_t left, int64_t right) {
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case ArithmeticOperator::kAdd:
      overflow = __builtin_add_overflow(left, right, &result);
      break;
    case ArithmeticOperator::kSubtract:
      overflow = __builtin_sub_overflow(left, right, &result);
      break;
    case ArithmeticOperator::kMultiply:
      overflow = __builtin_mul_overflow(left, right, &result);
      break;
    case ArithmeticOperator::kPower:
      return IntegerPower(left, right);
    default:
      if (right == 0) return Invalid("division of {} by zero", left);
      if (op == ArithmeticOperator::kDivide) {
        return Value(static_cast<double>(static_cast<long double>(left) / right));
      }
      if (right == -1) {  // INT64_MIN // -1 is the one quotient that does not fit
        if (op == ArithmeticOperator::kModulo) return Value(int64_t{0});
        overflow = __builtin_sub_overflow(int64_t{0}, left, &result);
        break;
      }
      const bool uneven = left % right != 0 && (left < 0) != (right < 0);
      result = op == ArithmeticOperator::kModulo ? left % right + (uneven ? right : 0)
                                                 : left / right - (uneven ? 1 : 0);
  }
  if (overflow) return Overflow(op, left, right);
  return Value(result);
}

double FloatModulo(double left, double right) {
  const double remainder = std::fmod(left, right);
  if (remainder == 0) return std::copysign(0.0, right);
  return (remainder < 0) != (right < 0) ? remainder + right : remainder;
}

// CPython's float_floor_div: exact where floor(left / right) would round.
double FloatFloorDivide(double left, double right) {
  const double remainder = std::fmod(left, right);
  double quotient = (left - remainder) / right;
  if (remainder != 0 && (right < 0) != (remainder < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(0.0, left / right);
  const double floored = std::floor(quotient);
  return quotient - floored > 0.5 ? floored + 1 : floored;
}

Result<Value> FloatArithmetic(ArithmeticOperator op, double left, double right) {
  switch (op) {
    case ArithmeticOperator::kAdd:
      return Value(left + right);
    case ArithmeticOperator::kSubtract:
      return Value(left - right);
    case ArithmeticOperator::kMultiply:
      return Value(left * right);
    case ArithmeticOperator::kPower: {
      if (left == 0 && right < 0) return Invalid("0.0 cannot be raised to a negative power");
      const double power = std::pow(left, right);
      if (std::isnan(power) && !std::isnan(left) && !std::isnan(right)) {
        return Unsupported("{} ** {} is a complex number", left, right);
      }
      if (std::isinf(power) && std::isfinite(left) && std::isfinite(right)) {
        return Invalid("{} ** {} is too large", left, right);
      }
      return Value(power);
    }
    default:
      if (right == 0) return Invalid("division of {} by zero", left);
      if (op == ArithmeticOperator::kDivide) return Value(left / right);
      if (op == ArithmeticOperator::kModulo) return Value(FloatModulo(left, right));
      return Value(FloatFloorDivide(left, right));
  }
}

Result<Value> AddStrings(Environment& environment, const Value& left, const Value& right) {
  const bool markup = left.is_markup() || right.is_markup();
  const auto part = [&](const Value& value) {
    return markup && !value.is_markup() ? EscapeHtml(value.string()) : value.string();
  };
  JINJA_RETURN_IF_ERROR(environment.CheckSize(left.string().size() + right.string().size()));
  return Value(part(left) + part(right), markup);
}

// How often `count` repeats `size` elements of `element_size` bytes each.
Result<size_t> NumRepeats(Environment& environment, int64_t count, size_t bytes) {
  if (count <= 0 || bytes == 0) return size_t{0};
  const size_t repeats = static_cast<size_t>(count);
  if (repeats > environment.limits().max_output_size / bytes) {
    return Invalid("{} bytes repeated {} times exceed {}", bytes, repeats,
                   environment.limits().max_output_size);
  }
  return repeats;
}

Result<Value> Repeat(Environment& environment, const Value& value, int64_t count) {
  if (value.is_string()) {
    JINJA_ASSIGN(const size_t repeats, NumRepeats(environment, count, value.string().size()));
    std::string text;
    for (size_t i = 0; i < repeats; ++i) text += value.string();
    return Value(std::move(text), value.is_markup());
  }
  JINJA_ASSIGN(const size_t repeats, NumRepeats(environment, count, value.shallow_size()));
  const List& items = value.sequence().items;
  List result;
  for (size_t i = 0; i < repeats; ++i) result.insert(result.end(), items.begin(), items.end());
  return Value::MakeSequence(value.sequence().kind, std::move(result));
}

bool IsListOrTuple(const Value& value) {
  return value.is_sequence(SequenceKind::kList) || value.is_sequence(SequenceKind::kTuple);
}

bool IsRepeatable(const Value& value) { return value.is_string() || IsListOrTuple(value); }

}  // namespace

Result<Value> Arithmetic(Environment& environment, ArithmeticOperator op, const Value& left,
                         const Value& right) {
  if (op == ArithmeticOperator::kModulo && left.is_string()) {
    JINJA_ASSIGN(std::string text, FormatPercent(environment, left.string(), right));
    return Value(std::move(text));
  }
  if (left.is_undefined()) return Invalid("{}", left.reason());
  if (right.is_undefined()) return Invalid("{}", right.reason());
  if (left.is_integral() && right.is_integral()) {
    return IntegerArithmetic(op, left.integer(), right.integer());
  }
  if (left.is_number() && right.is_number()) {
    return FloatArithmetic(op, left.number(), right.number());
  }
  if (op == ArithmeticOperator::kAdd) {
    if (left.is_string() && right.is_string()) return AddStrings(environment, left, right);
    if (IsListOrTuple(left) && left.type_name() == right.type_name()) {
      JINJA_RETURN_IF_ERROR(environment.CheckSize(left.shallow_size() + right.shallow_size()));
      List items = left.sequence().items;
      const List& more = right.sequence().items;
      items.insert(items.end(), more.begin(), more.end());
      return Value::MakeSequence(left.sequence().kind, std::move(items));
    }
  }
  if (op == ArithmeticOperator::kMultiply) {
    if (IsRepeatable(left) && right.is_integral()) {
      return Repeat(environment, left, right.integer());
    }
    if (left.is_integral() && IsRepeatable(right)) {
      return Repeat(environment, right, left.integer());
    }
  }
  return Invalid("unsupported operand types for {}: '{}' and '{}'", kSymbols[static_cast<int>(op)],
                 left.type_name(), right.type_name());
}

Result<Value> Negate(const Value& value) {
  if (value.is_undefined()) return Invalid("{}", value.reason());
  if (value.is_integral()) {
    return IntegerArithmetic(ArithmeticOperator::kSubtract, 0, value.integer());
  }
  if (!value.is_number()) return Invalid("'{}' has no negative", value.type_name());
  return Value(-value.number());
}

}  // namespace jinja
