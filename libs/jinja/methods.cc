#include "jinja/methods.h"

#include <algorithm>
#include <array>

#include "jinja/environment.h"
#include "jinja/error.h"
#include "jinja/operators.h"
#include "jinja/parameters.h"

namespace jinja {
namespace {

Value MakeView(const Value& self, SequenceKind kind) {
  List items;
  for (const auto& [key, value] : self.dict().entries()) {
    items.push_back(kind == SequenceKind::kKeys ? key
                    : kind == SequenceKind::kValues
                        ? value
                        : Value::MakeSequence(SequenceKind::kTuple, {key, value}));
  }
  return Value::MakeSequence(kind, std::move(items));
}

template <SequenceKind kKind>
Result<Value> DictView(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("dict view", {}, 0, arguments));
  return MakeView(self, kKind);
}

Result<Value> DictGet(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound, Parameters::Bind("get", {"key", "default"}, 1, arguments));
  JINJA_ASSIGN(const Value* value, self.dict().Find(bound[0]));
  return value != nullptr ? *value : bound.Get(1, Value());
}

Result<Value> Copy(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("copy", {}, 0, arguments));
  return self;
}

Result<Value> SequenceCount(Environment& environment, const Value& self,
                            const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound, Parameters::Bind("count", {"value"}, 1, arguments));
  int64_t count = 0;
  for (const Value& item : self.sequence().items) {
    JINJA_ASSIGN(const bool equal, Equals(environment, item, bound[0]));
    count += equal ? 1 : 0;
  }
  return Value(count);
}

Result<Value> SequenceIndex(Environment& environment, const Value& self,
                            const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound, Parameters::Bind("index", {"value"}, 1, arguments));
  const List& items = self.sequence().items;
  for (size_t i = 0; i < items.size(); ++i) {
    JINJA_ASSIGN(const bool equal, Equals(environment, items[i], bound[0]));
    if (equal) return Value(static_cast<int64_t>(i));
  }
  return Invalid("the value is not in the {}", self.type_name());
}

constexpr MethodRow kDictMethods[] = {{"copy", Copy},
                                      {"fromkeys", nullptr},
                                      {"get", DictGet},
                                      {"items", DictView<SequenceKind::kItems>},
                                      {"keys", DictView<SequenceKind::kKeys>},
                                      {"values", DictView<SequenceKind::kValues>}};
constexpr MethodRow kListMethods[] = {
    {"copy", Copy}, {"count", SequenceCount}, {"index", SequenceIndex}};
constexpr MethodRow kTupleMethods[] = {{"count", SequenceCount}, {"index", SequenceIndex}};

// What ImmutableSandboxedEnvironment refuses.
constexpr std::string_view kDictChanges[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::string_view kListChanges[] = {"append", "clear", "pop",    "reverse",
                                             "insert", "sort",  "extend", "remove"};

struct AttributeTable {
  std::span<const MethodRow> methods;
  std::span<const std::string_view> changes;
};

AttributeTable TableOf(const Value& object) {
  if (object.is_string()) return {kStringMethods, {}};
  if (object.is_dict()) return {kDictMethods, kDictChanges};
  if (object.is_sequence(SequenceKind::kList)) return {kListMethods, kListChanges};
  if (object.is_sequence(SequenceKind::kTuple) || object.is_sequence(SequenceKind::kRange)) {
    return {kTupleMethods, {}};
  }
  return {};
}

Result<Value> UnsupportedMethod(Environment&, const Value& self, const Arguments&) {
  return Unsupported("this method of '{}' is not supported", self.type_name());
}

}  // namespace

std::optional<Value> FindAttribute(const Value& object, std::string_view name) {
  if (object.kind() == Kind::kNamespace) {
    const Value* value = object.space().attributes.Find(name);
    return value != nullptr ? std::optional<Value>(*value) : std::nullopt;
  }
  const AttributeTable table = TableOf(object);
  if (std::find(table.changes.begin(), table.changes.end(), name) != table.changes.end()) {
    return Value::MakeUndefined(
        fmt::format("access to attribute '{}' of '{}' object is unsafe", name, object.type_name()));
  }
  for (const MethodRow& row : table.methods) {
    if (row.name != name) continue;
    Callable method;
    method.name = name;
    method.function = row.function != nullptr ? row.function : UnsupportedMethod;
    method.self = object;
    return Value(std::move(method));
  }
  return std::nullopt;
}

}  // namespace jinja
