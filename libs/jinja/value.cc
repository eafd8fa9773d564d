#include "jinja/value.h"

#include <algorithm>
#include <limits>

#include "jinja/error.h"
#include "jinja/value_text.h"

namespace jinja {
namespace {

constexpr size_t kMaxHashKeySize = size_t{1} << 20;

void AppendHashKey(const Value& value, std::string* key) {
  if (value.is_integral()) {
    *key += fmt::format("i{}", value.integer());
  } else if (value.kind() == Kind::kFloat) {
    const double number = value.number();
    const bool integral =
        number == static_cast<double>(static_cast<int64_t>(std::clamp(number, -0x1p62, 0x1p62)));
    *key += integral ? fmt::format("i{}", static_cast<int64_t>(number)) : "f" + FloatText(number);
  } else if (value.is_string()) {
    *key += fmt::format("s{}:", value.string().size());
    *key += value.string();
  } else if (value.is_sequence(SequenceKind::kTuple)) {
    *key += '(';
    for (const Value& item : value.sequence().items) AppendHashKey(item, key);
    *key += ')';
  } else if (value.is_none() || value.is_undefined()) {
    *key += value.is_none() ? 'n' : 'u';
  } else {
    Invalid("unhashable type: '{}'", value.type_name());
  }
  if (key->size() > kMaxHashKeySize) Invalid("a key of more than {} bytes", kMaxHashKeySize);
}

}  // namespace

Value::Value(Dict dict) : data_(std::make_shared<const Dict>(std::move(dict))) {}
Value::Value(Callable callable) : data_(std::make_shared<const Callable>(std::move(callable))) {}

Value Value::MakeUndefined(std::string reason) {
  Value value;
  value.data_ = UndefinedType{std::make_shared<const std::string>(std::move(reason))};
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
  for (const auto& [key, element] : json.items()) dict.Set(key, FromJson(element, depth + 1));
  return Value(std::move(dict));
}

bool Value::is_sequence(SequenceKind sequence_kind) const {
  return kind() == Kind::kSequence && sequence().kind == sequence_kind;
}

bool Value::IsSame(const Value& other) const {
  return kind() != Kind::kFloat && data_ == other.data_;
}

bool Value::Truth() const {
  switch (kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
      return number() != 0;
    case Kind::kString:
      return !string().empty();
    case Kind::kSequence:
      return !sequence().has_length() || !sequence().items.empty();
    case Kind::kDict:
      return dict().size() != 0;
    default:
      return true;
  }
}

int Value::depth() const {
  if (kind() == Kind::kSequence) return sequence().depth;
  if (is_dict()) return dict().depth();
  return kind() == Kind::kCallable ? callable().self.depth() + 1 : 0;
}

size_t Value::shallow_size() const {
  if (is_string()) return string().size();
  if (kind() == Kind::kSequence) return sequence().items.size() * sizeof(Value);
  return is_dict() ? dict().size() * 3 * sizeof(Value) : sizeof(Value);
}

std::string_view Value::type_name() const {
  static constexpr std::string_view kSequenceNames[] = {
      "list", "tuple", "range", "dict_keys", "dict_values", "dict_items", "generator"};
  static constexpr std::string_view kNames[] = {"Undefined", "NoneType", "bool",       "int",
                                                "float",     "str",      "",           "dict",
                                                "Namespace", "function", "LoopContext"};
  if (kind() == Kind::kSequence) return kSequenceNames[static_cast<size_t>(sequence().kind)];
  return kNames[static_cast<size_t>(kind())];
}

bool IsHashable(const Value& value) {
  if (!value.is_sequence(SequenceKind::kTuple)) return value.kind() < Kind::kSequence;
  return std::all_of(value.sequence().items.begin(), value.sequence().items.end(), IsHashable);
}

std::string HashKey(const Value& value) {
  std::string key;
  AppendHashKey(value, &key);
  return key;
}

void Dict::Set(const Value& key, Value value) {
  depth_ = std::max({depth_, key.depth() + 1, value.depth() + 1});
  const auto [place, inserted] = index_.emplace(HashKey(key), entries_.size());
  if (inserted) {
    entries_.emplace_back(key, std::move(value));
  } else {
    entries_[place->second].second = std::move(value);
  }
}

const Value* Dict::Find(const Value& key) const {
  const auto place = index_.find(HashKey(key));
  return place == index_.end() ? nullptr : &entries_[place->second].second;
}

}  // namespace jinja
