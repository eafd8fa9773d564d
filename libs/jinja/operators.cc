#include "jinja/operators.h"

#include <algorithm>

#include "jinja/environment.h"
#include "jinja/error.h"
#include "jinja/methods.h"
#include "jinja/text.h"

namespace jinja {
namespace {

Result<bool> EqualItems(Environment& environment, const List& left, const List& right) {
  if (left.size() != right.size()) return false;
  for (size_t i = 0; i < left.size(); ++i) {
    JINJA_ASSIGN(const bool equal, Equals(environment, left[i], right[i]));
    if (!equal) return false;
  }
  return true;
}

Result<bool> EqualDicts(Environment& environment, const Dict& left, const Dict& right) {
  if (left.size() != right.size()) return false;
  for (const auto& [key, value] : left.entries()) {
    JINJA_ASSIGN(const Value* other, right.Find(key));
    if (other == nullptr) return false;
    JINJA_ASSIGN(const bool equal, Equals(environment, value, *other));
    if (!equal) return false;
  }
  return true;
}

std::partial_ordering OrderNumbers(const Value& left, const Value& right) {
  if (left.is_integral() && right.is_integral()) return left.integer() <=> right.integer();
  const auto exact = [](const Value& value) -> long double {
    return value.is_integral() ? static_cast<long double>(value.integer()) : value.number();
  };
  return exact(left) <=> exact(right);
}

Result<std::partial_ordering> OrderItems(Environment& environment, const List& left,
                                         const List& right) {
  for (size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
    JINJA_ASSIGN(const bool equal, Equals(environment, left[i], right[i]));
    if (!equal) return Order(environment, left[i], right[i]);
  }
  return std::partial_ordering(left.size() <=> right.size());
}

tl::unexpected<Error> UndefinedUsed(const Value& value) { return Invalid("{}", value.reason()); }

}  // namespace

Result<bool> Equals(Environment& environment, const Value& left, const Value& right) {
  JINJA_RETURN_IF_ERROR(environment.Step());
  if (left.is_number() && right.is_number()) return OrderNumbers(left, right) == 0;
  if (left.kind() != right.kind()) return false;
  switch (left.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      return left.string() == right.string();
    case Kind::kSequence: {
      const Sequence& a = left.sequence();
      const Sequence& b = right.sequence();
      if (&a == &b) return true;
      if (a.kind != b.kind || !a.has_subscript()) return false;
      return EqualItems(environment, a.items, b.items);
    }
    case Kind::kDict:
      if (left.IsSame(right)) return true;
      return EqualDicts(environment, left.dict(), right.dict());
    default:
      return left.IsSame(right);
  }
}

Result<std::partial_ordering> Order(Environment& environment, const Value& left,
                                    const Value& right) {
  JINJA_RETURN_IF_ERROR(environment.Step());
  if (left.is_undefined()) return UndefinedUsed(left);
  if (right.is_undefined()) return UndefinedUsed(right);
  if (left.is_number() && right.is_number()) return OrderNumbers(left, right);
  if (left.is_string() && right.is_string()) {
    return std::partial_ordering(left.string() <=> right.string());
  }
  for (const SequenceKind kind : {SequenceKind::kList, SequenceKind::kTuple}) {
    if (left.is_sequence(kind) && right.is_sequence(kind)) {
      return OrderItems(environment, left.sequence().items, right.sequence().items);
    }
  }
  return Invalid("'{}' and '{}' have no order", left.type_name(), right.type_name());
}

Result<bool> Contains(Environment& environment, const Value& container, const Value& item) {
  if (container.is_string()) {
    if (item.is_undefined()) return UndefinedUsed(item);
    if (!item.is_string()) {
      return Invalid("'in <string>' requires a string, not '{}'", item.type_name());
    }
    const std::string& text = container.string();
    JINJA_RETURN_IF_ERROR(environment.Step(ScanSteps(text, item.string())));
    return text.find(item.string()) != std::string::npos;
  }
  if (container.is_dict()) {
    JINJA_ASSIGN(const Value* found, container.dict().Find(item));
    return found != nullptr;
  }
  JINJA_ASSIGN(const List items, Iterate(container));
  for (const Value& candidate : items) {
    if (candidate.IsSame(item)) return true;
    JINJA_ASSIGN(const bool equal, Equals(environment, candidate, item));
    if (equal) return true;
  }
  return false;
}

Result<bool> Compare(Environment& environment, CompareOperator op, const Value& left,
                     const Value& right) {
  if (op == CompareOperator::kEqual || op == CompareOperator::kNotEqual) {
    JINJA_ASSIGN(const bool equal, Equals(environment, left, right));
    return equal == (op == CompareOperator::kEqual);
  }
  if (op == CompareOperator::kIn || op == CompareOperator::kNotIn) {
    JINJA_ASSIGN(const bool contained, Contains(environment, right, left));
    return contained == (op == CompareOperator::kIn);
  }
  JINJA_ASSIGN(const std::partial_ordering order, Order(environment, left, right));
  switch (op) {
    case CompareOperator::kLess:
      return order < 0;
    case CompareOperator::kLessEqual:
      return order <= 0;
    case CompareOperator::kGreater:
      return order > 0;
    default:
      return order >= 0;
  }
}

Result<List> Iterate(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return List();
    case Kind::kString: {
      List items;
      for (const std::string_view part : SplitCodePoints(value.string())) items.emplace_back(part);
      return items;
    }
    case Kind::kSequence: {
      const Sequence& sequence = value.sequence();
      if (sequence.has_length()) return sequence.items;
      const auto begin = sequence.items.begin() + static_cast<ptrdiff_t>(sequence.num_taken);
      sequence.num_taken = sequence.items.size();
      return List(begin, sequence.items.end());
    }
    case Kind::kDict: {
      List keys;
      for (const auto& [key, element] : value.dict().entries()) keys.push_back(key);
      return keys;
    }
    default:
      return Invalid("'{}' is not iterable", value.type_name());
  }
}

Result<int64_t> Length(const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.is_string()) return static_cast<int64_t>(CountCodePoints(value.string()));
  if (value.is_dict()) return static_cast<int64_t>(value.dict().size());
  if (value.kind() == Kind::kSequence && value.sequence().has_length()) {
    return static_cast<int64_t>(value.sequence().items.size());
  }
  return Invalid("'{}' has no length", value.type_name());
}

std::optional<size_t> ResolveIndex(int64_t index, size_t size) {
  if (index < 0) index += static_cast<int64_t>(size);
  if (index < 0 || index >= static_cast<int64_t>(size)) return std::nullopt;
  return static_cast<size_t>(index);
}

namespace {

// The element at `key`, or null: no such element, or no elements at all.
Result<std::optional<Value>> FindElement(Environment& environment, const Value& object,
                                         const Value& key) {
  if (object.is_dict()) {
    const auto found = object.dict().Find(key);
    if (!found || *found == nullptr) return std::nullopt;  // an unhashable key is not there
    return **found;
  }
  if (!key.is_integral()) return std::nullopt;
  if (object.kind() == Kind::kSequence && object.sequence().has_subscript()) {
    const List& items = object.sequence().items;
    const std::optional<size_t> index = ResolveIndex(key.integer(), items.size());
    return index ? std::optional<Value>(items[*index]) : std::nullopt;
  }
  if (object.is_string()) {
    const std::string_view text = object.string();
    JINJA_RETURN_IF_ERROR(environment.Step(static_cast<int64_t>(text.size() / 64)));
    const auto index = ResolveIndex(key.integer(), CountCodePoints(text));
    if (!index) return std::nullopt;
    const size_t begin = OffsetOf(text, *index);
    return Value(text.substr(begin, OffsetOf(text.substr(begin), 1)));
  }
  return std::nullopt;
}

std::string KeyText(const Value& key) {
  if (key.is_string()) return "'" + key.string() + "'";
  if (key.is_integral()) return std::to_string(key.integer());
  return std::string(key.type_name());
}

Value Missing(const Value& object, const Value& key) {
  return Value::MakeUndefined(
      fmt::format("'{} object' has no attribute {}", object.type_name(), KeyText(key)));
}

}  // namespace

Result<Value> GetItem(Environment& environment, const Value& object, const Value& key) {
  if (object.is_undefined()) return UndefinedUsed(object);
  JINJA_ASSIGN(std::optional<Value> element, FindElement(environment, object, key));
  if (element) return *std::move(element);
  if (key.is_string()) {
    if (std::optional<Value> attribute = FindAttribute(object, key.string())) {
      return *std::move(attribute);
    }
  }
  return Missing(object, key);
}

Result<Value> GetAttribute(const Value& object, std::string_view name) {
  if (object.is_undefined()) return UndefinedUsed(object);
  if (std::optional<Value> attribute = FindAttribute(object, name)) return *std::move(attribute);
  if (!object.is_dict()) return Missing(object, Value(name));
  const Value* element = object.dict().Find(name);
  return element != nullptr ? *element : Missing(object, Value(name));
}

namespace {

struct SliceBounds {
  int64_t start, stop, step;
};

Result<SliceBounds> ResolveSlice(const Value& start, const Value& stop, const Value& step,
                                 int64_t size) {
  for (const Value* bound : {&start, &stop, &step}) {
    if (!bound->is_none() && !bound->is_integral()) {
      return Invalid("slice indices must be integers or none, not '{}'", bound->type_name());
    }
  }
  const int64_t stride = step.is_none() ? 1 : step.integer();
  if (stride == 0) return Invalid("slice step cannot be zero");
  const int64_t low = stride < 0 ? -1 : 0;
  const int64_t high = stride < 0 ? size - 1 : size;
  const auto clamp = [&](const Value& bound, int64_t fallback) {
    if (bound.is_none()) return fallback;
    const int64_t index = bound.integer();
    return std::clamp(index < 0 ? index + size : index, low, high);
  };
  return SliceBounds{clamp(start, stride < 0 ? high : low), clamp(stop, stride < 0 ? low : high),
                     stride};
}

// Calls take(i) for every index of the slice.
template <typename Take>
void ForEachIndex(const SliceBounds& bounds, int64_t size, Take take) {
  const int64_t stride = std::clamp<int64_t>(bounds.step, -size - 1, size + 1);
  for (int64_t i = bounds.start; stride > 0 ? i < bounds.stop : i > bounds.stop; i += stride) {
    take(static_cast<size_t>(i));
  }
}

}  // namespace

Result<Value> Slice(Environment& environment, const Value& object, const Value& start,
                    const Value& stop, const Value& step) {
  if (object.is_undefined()) return UndefinedUsed(object);
  if (object.is_string()) {
    const std::vector<std::string_view> parts = SplitCodePoints(object.string());
    const int64_t size = static_cast<int64_t>(parts.size());
    JINJA_RETURN_IF_ERROR(environment.Step(size / 16));
    JINJA_ASSIGN(const SliceBounds bounds, ResolveSlice(start, stop, step, size));
    std::string text;
    ForEachIndex(bounds, size, [&](size_t i) { text += parts[i]; });
    return Value(std::move(text), object.is_markup());
  }
  if (object.kind() == Kind::kSequence && object.sequence().has_subscript()) {
    const Sequence& sequence = object.sequence();
    const int64_t size = static_cast<int64_t>(sequence.items.size());
    JINJA_RETURN_IF_ERROR(environment.Step(size / 16));
    JINJA_ASSIGN(const SliceBounds bounds, ResolveSlice(start, stop, step, size));
    List items;
    ForEachIndex(bounds, size, [&](size_t i) { items.push_back(sequence.items[i]); });
    if (sequence.kind == SequenceKind::kRange) {
      const auto& range = sequence.range;
      return Value::MakeRange(range.start + bounds.start * range.step,
                              range.start + bounds.stop * range.step, range.step * bounds.step,
                              std::move(items));
    }
    return Value::MakeSequence(sequence.kind, std::move(items));
  }
  return Missing(object, Value(std::string_view("slice")));
}

}  // namespace jinja
