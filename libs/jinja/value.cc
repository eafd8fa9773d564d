#include "jinja/value.h"

#include <algorithm>
#include <limits>

#include "jinja/error.h"

namespace jinja {

Value::Value(Dict dict) : data_(std::make_shared<const Dict>(std::move(dict))) {}
Value::Value(Callable callable) : data_(std::make_shared<const Callable>(std::move(callable))) {}

Value Value::MakeUndefined(std::string reason) {
  Value value;
  value.data_ = std::make_shared<const std::string>(std::move(reason));
  return value;
}

Value Value::MakeSequence(SequenceKind kind, List items) {
  int depth = 1;
  for (const Value& item : items) depth = std::max(depth, item.depth() + 1);
  Value value;
  value.data_ = std::make_shared<const Sequence>(Sequence{kind, std::move(items), depth, 0});
  return value;
}

Value Value::FromJson(const nlohmann::ordered_json& json, int depth) {
  if (depth > kMaxValueDepth) Invalid("JSON nested deeper than {}", kMaxValueDepth);
  if (json.is_null()) return Value();
  if (json.is_boolean()) return Value(json.get<bool>());
  if (json.is_number_float()) return Value(json.get<double>());
  if (json.is_number_unsigned() &&
      json.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    Invalid("the number {} does not fit 64 bits", json.get<uint64_t>());
  }
  if (json.is_number()) return Value(json.get<int64_t>());
  if (json.is_string()) return Value(json.get_ref<const std::string&>());
  if (json.is_array()) {
    List items;
    items.reserve(json.size());
    for (const auto& element : json) items.push_back(FromJson(element, depth + 1));
    return MakeList(std::move(items));
  }
  if (!json.is_object()) Invalid("JSON of type {} has no value in a template", json.type_name());
  Dict dict;
  for (const auto& [key, element] : json.items()) {
    dict.Set(Value(key), FromJson(element, depth + 1));
  }
  return Value(std::move(dict));
}

bool Value::Truth() const {
  if (is_number()) return number() != 0;
  if (is_string()) return !string().empty();
  if (is_dict()) return dict().size() != 0;
  if (is_sequence()) return is_sequence(SequenceKind::kGenerator) || !sequence().items.empty();
  return !is_none() && !is_undefined();
}

int Value::depth() const {
  if (is_sequence()) return sequence().depth;
  if (is_dict()) return dict().depth();
  return kind() == Kind::kCallable ? callable().depth + 1 : 0;
}

size_t Value::shallow_size() const {
  if (is_string()) return string().size();
  if (is_sequence()) return sequence().items.size() * sizeof(Value);
  return is_dict() ? dict().size() * 3 * sizeof(Value) : sizeof(Value);
}

std::string_view Value::type_name() const {
  static constexpr std::string_view kSequenceNames[] = {"list", "tuple", "range", "dict view",
                                                        "generator"};
  static constexpr std::string_view kNames[] = {"Undefined", "NoneType", "bool",       "int",
                                                "float",     "str",      "",           "dict",
                                                "Namespace", "function", "LoopContext"};
  if (is_sequence()) return kSequenceNames[static_cast<size_t>(sequence().kind)];
  return kNames[static_cast<size_t>(kind())];
}

std::optional<std::string> HashKey(const Value& value) {
  if (value.is_string()) return "s" + value.string();
  if (value.is_integral()) return fmt::format("n{}", value.integer());
  if (value.kind() == Kind::kFloat) return fmt::format("n{}", value.number());
  if (value.is_sequence(SequenceKind::kTuple)) Unsupported("a tuple as a key is not supported");
  if (value.is_sequence() || value.kind() > Kind::kSequence) return std::nullopt;
  return value.is_none() ? "none" : "undefined";
}

void Dict::Set(const Value& key, Value value) {
  const auto hash = HashKey(key);
  if (!hash) Invalid("unhashable type: '{}'", key.type_name());
  depth_ = std::max(depth_, value.depth() + 1);
  const auto [place, inserted] = index_.emplace(*hash, entries_.size());
  if (inserted) {
    entries_.emplace_back(key, std::move(value));
  } else {
    entries_[place->second].second = std::move(value);
  }
}

const Value* Dict::Find(const Value& key) const {
  const auto hash = HashKey(key);
  const auto place = hash ? index_.find(*hash) : index_.end();
  return place == index_.end() ? nullptr : &entries_[place->second].second;
}

}  // namespace jinja
