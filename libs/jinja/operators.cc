#include "jinja/operators.h"

#include <algorithm>
#include <utility>

#include "jinja/functions.h"
#include "jinja/text.h"

namespace jinja {
namespace {

// Has the digits of any int64, too.
long double Exact(const Value& number) {
  return number.is_integral() ? static_cast<long double>(number.integer()) : number.number();
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
  if (container.is_dict()) {
    if (!HashKey(item)) Invalid("unhashable type: '{}'", item.type_name());
    return container.dict().Find(item) != nullptr;
  }
  const List items = Iterate(container);
  return std::any_of(items.begin(), items.end(),
                     [&](const Value& candidate) { return Equals(environment, candidate, item); });
}

// The element at `key`; nullopt for no such element, or no elements at all.
std::optional<Value> FindElement(Environment& environment, const Value& object, const Value& key) {
  if (object.is_dict()) {
    const Value* found = object.dict().Find(key);
    return found != nullptr ? std::optional(*found) : std::nullopt;
  }
  if (!key.is_integral() || !(object.is_string() || object.has_subscript())) return std::nullopt;
  environment.Step(object.is_string() ? static_cast<int64_t>(object.string().size() / 64) : 0);
  const int64_t size = Length(object);
  const int64_t index = key.integer() + (key.integer() < 0 ? size : 0);
  if (index < 0 || index >= size) return std::nullopt;
  const auto place = static_cast<size_t>(index);
  if (!object.is_string()) return object.sequence().items[place];
  std::string_view text = object.string();
  text.remove_prefix(OffsetOf(text, place));
  return Value(text.substr(0, OffsetOf(text, 1)));
}

Value Missing(const Value& object, const Value& key) {
  const std::string name = key.is_integral() ? std::to_string(key.integer())
                           : key.is_string() ? "'" + key.string() + "'"
                                             : std::string(key.type_name());
  return Value::MakeUndefined(
      fmt::format("'{} object' has no attribute {}", object.type_name(), name));
}

// The indices of the slice of `size` elements.
std::vector<size_t> SliceIndices(const Value& start, const Value& stop, const Value& step,
                                 int64_t size) {
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
  std::vector<size_t> indices;
  for (int64_t i = clamp(start, stride < 0 ? high : low); stride > 0 ? i < end : i > end;
       i += stride) {
    indices.push_back(static_cast<size_t>(i));
  }
  return indices;
}

__extension__ using Wide = __int128;  // of two int64: any sum, difference and product

Value IntegerArithmetic(std::string_view symbol, Wide left, int64_t right) {
  if (symbol == "%" && right == 0) Invalid("modulo by zero");
  const Wide result = symbol == "+"   ? left + right
                      : symbol == "-" ? left - right
                      : symbol == "*" ? left * right
                                      : (left % right + right) % right;
  if (result == static_cast<int64_t>(result)) return Value(static_cast<int64_t>(result));
  Invalid("{} {} {} does not fit 64 bits", static_cast<int64_t>(left), symbol, right);
}

Value FloatArithmetic(std::string_view symbol, double left, double right) {
  if (symbol == "%") Unsupported("% of floats is not supported");
  return Value(symbol == "+" ? left + right : symbol == "-" ? left - right : left * right);
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

Value Repeat(Environment& environment, const Value& text, int64_t count) {
  const size_t size = text.string().size();
  const size_t repeats = count <= 0 || size == 0 ? 0 : static_cast<size_t>(count);
  if (size != 0) environment.CheckSize(repeats < SIZE_MAX / size ? repeats * size : SIZE_MAX);
  std::string repeated;
  for (size_t i = 0; i < repeats; ++i) repeated += text.string();
  return Value(std::move(repeated), text.is_markup());
}

Value Arithmetic(Environment& environment, std::string_view symbol, const Value& left,
                 const Value& right) {
  if (symbol.size() == 2 || symbol == "/") {
    Unsupported("the operator {} is not supported", symbol);
  }
  if (symbol == "%" && left.is_string()) {
    return Value(FormatPercent(environment, left.string(), right));
  }
  RefuseUndefined(left);
  RefuseUndefined(right);
  if (left.is_integral() && right.is_integral()) {
    return IntegerArithmetic(symbol, left.integer(), right.integer());
  }
  if (left.is_number() && right.is_number()) {
    return FloatArithmetic(symbol, left.number(), right.number());
  }
  const bool is_sum = left.is_string() || left.is_sequence(SequenceKind::kList) ||
                      left.is_sequence(SequenceKind::kTuple);
  if (symbol == "+" && is_sum && left.type_name() == right.type_name()) {
    return Concatenate(environment, left, right);
  }
  if (symbol == "*" && left.is_string() && right.is_integral()) {
    return Repeat(environment, left, right.integer());
  }
  if (symbol == "*" && left.is_integral() && right.is_string()) {
    return Repeat(environment, right, left.integer());
  }
  if (symbol == "*" && (left.has_subscript() || right.has_subscript())) {
    Unsupported("a repeated list is not supported");
  }
  Invalid("unsupported operand types for {}: '{}' and '{}'", symbol, left.type_name(),
          right.type_name());
}

}  // namespace

void RefuseUndefined(const Value& value) {
  if (value.is_undefined()) Invalid("{}", value.reason());
}

bool Equals(Environment& environment, const Value& left, const Value& right) {
  environment.Step();
  if (left.is_number() && right.is_number()) return Exact(left) == Exact(right);
  if (left.kind() != right.kind()) return false;
  if (left.is_undefined() || left.IsSame(right)) return true;
  if (left.is_string()) return left.string() == right.string();
  const auto equal = [&](const Value& a, const Value& b) { return Equals(environment, a, b); };
  if (left.is_dict()) {
    const auto& entries = left.dict().entries();
    return left.dict().size() == right.dict().size() &&
           std::all_of(entries.begin(), entries.end(), [&](const auto& entry) {
             const Value* other = right.dict().Find(entry.first);
             return other != nullptr && equal(entry.second, *other);
           });
  }
  return left.has_subscript() && left.type_name() == right.type_name() &&
         std::ranges::equal(left.sequence().items, right.sequence().items, equal);
}

std::partial_ordering Order(Environment& environment, const Value& left, const Value& right) {
  environment.Step();
  RefuseUndefined(left);
  RefuseUndefined(right);
  if (left.is_number() && right.is_number()) return Exact(left) <=> Exact(right);
  if (left.is_string() && right.is_string()) return left.string() <=> right.string();
  if (left.has_subscript() && left.type_name() == right.type_name()) {
    Unsupported("the order of a {} is not supported", left.type_name());
  }
  Invalid("'{}' and '{}' have no order", left.type_name(), right.type_name());
}

Value Operate(Environment& environment, std::string_view symbol, const Value& left,
              const Value& right) {
  if (symbol == "==") return Value(Equals(environment, left, right));
  if (symbol == "!=") return Value(!Equals(environment, left, right));
  if (symbol == "in") return Value(Contains(environment, right, left));
  if (symbol == "not in") return Value(!Contains(environment, right, left));
  if (symbol[0] != '<' && symbol[0] != '>') return Arithmetic(environment, symbol, left, right);
  const std::partial_ordering order = Order(environment, left, right);
  if (order == 0) return Value(symbol.ends_with('='));
  return Value(symbol[0] == '<' ? order < 0 : order > 0);
}

List Iterate(const Value& value) {
  List items;
  if (value.is_string()) {
    for (const std::string_view part : SplitCodePoints(value.string())) items.emplace_back(part);
  } else if (value.is_dict()) {
    for (const auto& [key, element] : value.dict().entries()) items.push_back(key);
  } else if (value.is_sequence()) {
    const Sequence& sequence = value.sequence();
    if (sequence.kind != SequenceKind::kGenerator) return sequence.items;
    const size_t size = sequence.items.size();
    const size_t taken = std::min(std::exchange(sequence.num_taken, size), size);
    items.assign(sequence.items.begin() + static_cast<ptrdiff_t>(taken), sequence.items.end());
  } else if (!value.is_undefined()) {
    Invalid("'{}' is not iterable", value.type_name());
  }
  return items;
}

int64_t Length(const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.is_string()) return static_cast<int64_t>(CountCodePoints(value.string()));
  if (value.is_dict()) return static_cast<int64_t>(value.dict().size());
  if (value.is_sequence() && !value.is_sequence(SequenceKind::kGenerator)) {
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
  environment.Step(static_cast<int64_t>(object.shallow_size()) / 64);
  if (object.is_string()) {
    const std::vector<std::string_view> parts = SplitCodePoints(object.string());
    std::string text;
    for (const size_t i : SliceIndices(start, stop, step, Length(object))) text += parts[i];
    return Value(std::move(text), object.is_markup());
  }
  if (!object.has_subscript()) return Missing(object, Value(std::string_view("slice")));
  List items;
  for (const size_t i : SliceIndices(start, stop, step, Length(object))) {
    items.push_back(object.sequence().items[i]);
  }
  return Value::MakeSequence(object.sequence().kind, std::move(items));
}

Value Negate(const Value& value) {
  RefuseUndefined(value);
  if (value.is_integral()) return IntegerArithmetic("-", 0, value.integer());
  if (!value.is_number()) Invalid("'{}' has no negative", value.type_name());
  return Value(-value.number());
}

}  // namespace jinja
