#include "jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "jinja/functions.h"
#include "jinja/text.h"
#include "jinja/value_text.h"

namespace jinja {
namespace {

void RefuseUndefined(const Value& value) {
  if (value.is_undefined()) Invalid("{}", value.reason());
}

bool EqualItems(Environment& environment, const List& left, const List& right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [&](const Value& a, const Value& b) { return Equals(environment, a, b); });
}

bool EqualDicts(Environment& environment, const Dict& left, const Dict& right) {
  return left.size() == right.size() &&
         std::all_of(left.entries().begin(), left.entries().end(), [&](const auto& entry) {
           const Value* other = right.Find(entry.first);
           return other != nullptr && Equals(environment, entry.second, *other);
         });
}

std::partial_ordering OrderNumbers(const Value& left, const Value& right) {
  if (left.is_integral() && right.is_integral()) return left.integer() <=> right.integer();
  const auto exact = [](const Value& value) -> long double {
    return value.is_integral() ? static_cast<long double>(value.integer()) : value.number();
  };
  return exact(left) <=> exact(right);
}

std::partial_ordering OrderItems(Environment& environment, const List& left, const List& right) {
  for (size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
    if (!Equals(environment, left[i], right[i])) return Order(environment, left[i], right[i]);
  }
  return left.size() <=> right.size();
}

bool Contains(Environment& environment, const Value& container, const Value& item) {
  if (container.is_string()) {
    RefuseUndefined(item);
    if (!item.is_string()) {
      Invalid("'in <string>' requires a string, not '{}'", item.type_name());
    }
    environment.Scan(container.string(), item.string());
    return container.string().find(item.string()) != std::string::npos;
  }
  if (container.is_dict()) return container.dict().Find(item) != nullptr;
  const List items = Iterate(container);
  return std::any_of(items.begin(), items.end(), [&](const Value& candidate) {
    return candidate.IsSame(item) || Equals(environment, candidate, item);
  });
}

// Where an index lies in `size` elements, counted from the end when negative; nullopt outside.
std::optional<size_t> ResolveIndex(int64_t index, size_t size) {
  if (index < 0) index += static_cast<int64_t>(size);
  if (index < 0 || index >= static_cast<int64_t>(size)) return std::nullopt;
  return static_cast<size_t>(index);
}

// The element at `key`; nullopt for no such element, or no elements at all.
std::optional<Value> FindElement(Environment& environment, const Value& object, const Value& key) {
  if (object.is_dict()) {
    const Value* found = IsHashable(key) ? object.dict().Find(key) : nullptr;
    return found != nullptr ? std::optional<Value>(*found) : std::nullopt;
  }
  if (!key.is_integral()) return std::nullopt;
  if (object.kind() == Kind::kSequence && object.sequence().has_subscript()) {
    const List& items = object.sequence().items;
    const std::optional<size_t> index = ResolveIndex(key.integer(), items.size());
    return index ? std::optional<Value>(items[*index]) : std::nullopt;
  }
  if (!object.is_string()) return std::nullopt;
  const std::string_view text = object.string();
  environment.Step(static_cast<int64_t>(text.size() / 64));
  const auto index = ResolveIndex(key.integer(), CountCodePoints(text));
  if (!index) return std::nullopt;
  const size_t begin = OffsetOf(text, *index);
  return Value(text.substr(begin, OffsetOf(text.substr(begin), 1)));
}

Value Missing(const Value& object, const Value& key) {
  const std::string name = key.is_string()     ? "'" + key.string() + "'"
                           : key.is_integral() ? std::to_string(key.integer())
                                               : std::string(key.type_name());
  return Value::MakeUndefined(
      fmt::format("'{} object' has no attribute {}", object.type_name(), name));
}

// Calls take(i) for every index of the slice of `size` elements.
template <typename Take>
void ForEachIndex(const Value& start, const Value& stop, const Value& step, int64_t size,
                  Take take) {
  for (const Value* bound : {&start, &stop, &step}) {
    if (!bound->is_none() && !bound->is_integral()) {
      Invalid("slice indices must be integers or none, not '{}'", bound->type_name());
    }
  }
  int64_t stride = step.is_none() ? 1 : step.integer();
  if (stride == 0) Invalid("slice step cannot be zero");
  stride = std::clamp<int64_t>(stride, -size - 1, size + 1);
  const int64_t low = stride < 0 ? -1 : 0;
  const int64_t high = stride < 0 ? size - 1 : size;
  const auto clamp = [&](const Value& bound, int64_t fallback) {
    if (bound.is_none()) return fallback;
    const int64_t index = bound.integer();
    return std::clamp(index < 0 ? index + size : index, low, high);
  };
  const int64_t end = clamp(stop, stride < 0 ? low : high);
  for (int64_t i = clamp(start, stride < 0 ? high : low); stride > 0 ? i < end : i > end;
       i += stride) {
    take(static_cast<size_t>(i));
  }
}

constexpr std::string_view kSymbols[] = {"+", "-", "*", "/", "//", "%", "**"};

Value IntegerArithmetic(Operator op, int64_t left, int64_t right) {
  int64_t result = 0;
  bool overflow = false;
  if (op == Operator::kAdd) {
    overflow = __builtin_add_overflow(left, right, &result);
  } else if (op == Operator::kSubtract) {
    overflow = __builtin_sub_overflow(left, right, &result);
  } else if (op == Operator::kMultiply) {
    overflow = __builtin_mul_overflow(left, right, &result);
  } else {
    if (right == 0) Invalid("division of {} by zero", left);
    result = right == -1 ? 0 : left % right;  // INT64_MIN % -1 overflows
    if (result != 0 && (result < 0) != (right < 0)) result += right;
  }
  if (!overflow) return Value(result);
  Invalid("{} {} {} does not fit 64 bits", left, kSymbols[static_cast<int>(op)], right);
}

Value FloatArithmetic(Operator op, double left, double right) {
  if (op == Operator::kAdd) return Value(left + right);
  if (op == Operator::kSubtract) return Value(left - right);
  if (op == Operator::kMultiply) return Value(left * right);
  if (right == 0) Invalid("division of {} by zero", left);
  const double remainder = std::fmod(left, right);
  if (remainder == 0) return Value(std::copysign(0.0, right));
  return Value((right < 0) != (remainder < 0) ? remainder + right : remainder);
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

bool Equals(Environment& environment, const Value& left, const Value& right) {
  environment.Step();
  if (left.is_number() && right.is_number()) return OrderNumbers(left, right) == 0;
  if (left.kind() != right.kind()) return false;
  if (left.is_undefined() || left.IsSame(right)) return true;
  if (left.is_string()) return left.string() == right.string();
  if (left.is_dict()) return EqualDicts(environment, left.dict(), right.dict());
  if (left.kind() != Kind::kSequence) return false;
  const Sequence& a = left.sequence();
  const Sequence& b = right.sequence();
  return a.kind == b.kind && a.has_subscript() && EqualItems(environment, a.items, b.items);
}

std::partial_ordering Order(Environment& environment, const Value& left, const Value& right) {
  environment.Step();
  RefuseUndefined(left);
  RefuseUndefined(right);
  if (left.is_number() && right.is_number()) return OrderNumbers(left, right);
  if (left.is_string() && right.is_string()) return left.string() <=> right.string();
  for (const SequenceKind kind : {SequenceKind::kList, SequenceKind::kTuple}) {
    if (left.is_sequence(kind) && right.is_sequence(kind)) {
      return OrderItems(environment, left.sequence().items, right.sequence().items);
    }
  }
  Invalid("'{}' and '{}' have no order", left.type_name(), right.type_name());
}

bool Compare(Environment& environment, Operator op, const Value& left, const Value& right) {
  switch (op) {
    case Operator::kEqual:
      return Equals(environment, left, right);
    case Operator::kNotEqual:
      return !Equals(environment, left, right);
    case Operator::kIn:
      return Contains(environment, right, left);
    case Operator::kNotIn:
      return !Contains(environment, right, left);
    case Operator::kLess:
      return Order(environment, left, right) < 0;
    case Operator::kLessEqual:
      return Order(environment, left, right) <= 0;
    case Operator::kGreater:
      return Order(environment, left, right) > 0;
    default:
      return Order(environment, left, right) >= 0;
  }
}

List Iterate(const Value& value) {
  List items;
  if (value.is_string()) {
    for (const std::string_view part : SplitCodePoints(value.string())) items.emplace_back(part);
  } else if (value.is_dict()) {
    for (const auto& [key, element] : value.dict().entries()) items.push_back(key);
  } else if (value.kind() == Kind::kSequence) {
    const Sequence& sequence = value.sequence();
    if (sequence.has_length()) return sequence.items;
    items.assign(sequence.items.begin() + static_cast<ptrdiff_t>(sequence.num_taken),
                 sequence.items.end());
    sequence.num_taken = sequence.items.size();
  } else if (!value.is_undefined()) {
    Invalid("'{}' is not iterable", value.type_name());
  }
  return items;
}

int64_t Length(const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.is_string()) return static_cast<int64_t>(CountCodePoints(value.string()));
  if (value.is_dict()) return static_cast<int64_t>(value.dict().size());
  if (value.kind() == Kind::kSequence && value.sequence().has_length()) {
    return static_cast<int64_t>(value.sequence().items.size());
  }
  Invalid("'{}' has no length", value.type_name());
}

Value GetItem(Environment& environment, const Value& object, const Value& key) {
  RefuseUndefined(object);
  if (std::optional<Value> element = FindElement(environment, object, key)) return *element;
  std::optional<Value> attribute;
  if (key.is_string()) attribute = FindAttribute(object, key.string());
  return attribute ? *attribute : Missing(object, key);
}

Value GetAttribute(const Value& object, std::string_view name) {
  RefuseUndefined(object);
  if (std::optional<Value> attribute = FindAttribute(object, name)) return *attribute;
  const Value* element = object.is_dict() ? object.dict().Find(name) : nullptr;
  return element != nullptr ? *element : Missing(object, Value(name));
}

Value Slice(Environment& environment, const Value& object, const Value& start, const Value& stop,
            const Value& step) {
  RefuseUndefined(object);
  if (object.is_string()) {
    const std::vector<std::string_view> parts = SplitCodePoints(object.string());
    environment.Step(static_cast<int64_t>(parts.size()) / 16);
    std::string text;
    ForEachIndex(start, stop, step, static_cast<int64_t>(parts.size()),
                 [&](size_t i) { text += parts[i]; });
    return Value(std::move(text), object.is_markup());
  }
  if (object.kind() != Kind::kSequence || !object.sequence().has_subscript()) {
    return Missing(object, Value(std::string_view("slice")));
  }
  const List& all = object.sequence().items;
  environment.Step(static_cast<int64_t>(all.size()) / 16);
  List items;
  ForEachIndex(start, stop, step, static_cast<int64_t>(all.size()),
               [&](size_t i) { items.push_back(all[i]); });
  return Value::MakeSequence(object.sequence().kind, std::move(items));
}

std::string Replace(Environment& environment, std::string_view text, std::string_view from,
                    std::string_view to, int64_t count) {
  environment.Scan(text, from);
  std::string result;
  size_t position = 0;
  for (bool first = true; count != 0; --count, first = false) {
    size_t place = text.find(from, position);
    if (from.empty() && !first) {
      if (position == text.size()) break;
      place = position + OffsetOf(text.substr(position), 1);
    }
    if (place == text.npos) break;
    result += text.substr(position, place - position);
    result += to;
    position = place + from.size();
    environment.CheckSize(result.size());
  }
  result += text.substr(position);
  return result;
}

Value Arithmetic(Environment& environment, Operator op, const Value& left, const Value& right) {
  if (op == Operator::kPower || op == Operator::kDivide || op == Operator::kFloorDivide) {
    Unsupported("the operator {} is not supported", kSymbols[static_cast<int>(op)]);
  }
  if (op == Operator::kModulo && left.is_string()) {
    return Value(FormatPercent(environment, left.string(), right));
  }
  RefuseUndefined(left);
  RefuseUndefined(right);
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
  RefuseUndefined(value);
  if (value.is_integral()) return IntegerArithmetic(Operator::kSubtract, 0, value.integer());
  if (!value.is_number()) Invalid("'{}' has no negative", value.type_name());
  return Value(-value.number());
}

}  // namespace jinja
