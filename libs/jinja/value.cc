#include "jinja/value.h"

#include <algorithm>
#include <limits>

#include "jinja/error.h"
#include "jinja/loop.h"
#include "jinja/number_text.h"

namespace jinja {
namespace {

constexpr size_t kMaxHashKeySize = size_t{1} << 20;

int DepthAround(const List& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth + 1;
}

Result<Value> ConvertJson(const nlohmann::ordered_json& json, int depth) {
  if (depth > kMaxValueDepth) return Invalid("JSON nested deeper than {}", kMaxValueDepth);
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::null:
      return Value();
    case nlohmann::ordered_json::value_t::boolean:
      return Value(json.get<bool>());
    case nlohmann::ordered_json::value_t::number_integer:
      return Value(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_unsigned: {
      const uint64_t number = json.get<uint64_t>();
      if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return Invalid("the number {} does not fit 64 bits", number);
      }
      return Value(static_cast<int64_t>(number));
    }
    case nlohmann::ordered_json::value_t::number_float:
      return Value(json.get<double>());
    case nlohmann::ordered_json::value_t::string:
      return Value(json.get_ref<const std::string&>());
    case nlohmann::ordered_json::value_t::array: {
      List items;
      items.reserve(json.size());
      for (const auto& element : json) {
        JINJA_ASSIGN(Value item, ConvertJson(element, depth + 1));
        items.push_back(std::move(item));
      }
      return Value::MakeList(std::move(items));
    }
    case nlohmann::ordered_json::value_t::object: {
      Dict dict;
      for (const auto& [key, element] : json.items()) {
        JINJA_ASSIGN(Value item, ConvertJson(element, depth + 1));
        dict.Set(key, std::move(item));
      }
      return Value(std::move(dict));
    }
    default:
      return Invalid("JSON of type {} has no value in a template", json.type_name());
  }
}

Status AppendHashKey(const Value& value, std::string* key) {
  switch (value.kind()) {
    case Kind::kUndefined:
      *key += 'u';
      break;
    case Kind::kNone:
      *key += 'n';
      break;
    case Kind::kBool:
    case Kind::kInt:
      *key += fmt::format("i{}", value.integer());
      break;
    case Kind::kFloat: {
      const double number = value.number();
      const bool integral =
          number == static_cast<double>(static_cast<int64_t>(std::clamp(number, -0x1p62, 0x1p62)));
      *key += integral ? fmt::format("i{}", static_cast<int64_t>(number)) : "f" + FloatText(number);
      break;
    }
    case Kind::kString:
      *key += fmt::format("s{}:", value.string().size());
      *key += value.string();
      break;
    case Kind::kSequence:
      if (value.sequence().kind != SequenceKind::kTuple) {
        return Invalid("unhashable type: '{}'", value.type_name());
      }
      *key += '(';
      for (const Value& item : value.sequence().items) {
        JINJA_RETURN_IF_ERROR(AppendHashKey(item, key));
      }
      *key += ')';
      break;
    default:
      return Invalid("unhashable type: '{}'", value.type_name());
  }
  if (key->size() > kMaxHashKeySize) return Invalid("a key of more than {} bytes", key->size());
  return {};
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
  const int depth = DepthAround(items);
  return Value(std::make_shared<const Sequence>(Sequence{kind, std::move(items), {}, depth, 0}));
}

Value Value::MakeRange(int64_t start, int64_t stop, int64_t step, List items) {
  return Value(std::make_shared<const Sequence>(
      Sequence{SequenceKind::kRange, std::move(items), {start, stop, step}, 1, 0}));
}

Result<Value> Value::FromJson(const nlohmann::ordered_json& json) { return ConvertJson(json, 1); }

bool Value::is_sequence(SequenceKind sequence_kind) const {
  return kind() == Kind::kSequence && sequence().kind == sequence_kind;
}

int64_t Value::integer() const { return is_bool() ? boolean() : std::get<int64_t>(data_); }

double Value::number() const {
  return kind() == Kind::kFloat ? std::get<double>(data_) : static_cast<double>(integer());
}

bool Value::IsSame(const Value& other) const {
  if (kind() != other.kind()) return false;
  switch (kind()) {
    case Kind::kUndefined:
      return &reason() == &other.reason();
    case Kind::kNone:
      return true;
    case Kind::kBool:
    case Kind::kInt:
      return integer() == other.integer();
    case Kind::kFloat:
      return false;
    case Kind::kString:
      return &string() == &other.string();
    case Kind::kSequence:
      return &sequence() == &other.sequence();
    case Kind::kDict:
      return &dict() == &other.dict();
    case Kind::kNamespace:
      return &space() == &other.space();
    case Kind::kCallable:
      return &callable() == &other.callable();
    case Kind::kLoop:
      return loop() == other.loop();
  }
  return false;
}

bool Value::Truth() const {
  switch (kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return integer() != 0;
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
  switch (kind()) {
    case Kind::kSequence:
      return sequence().depth;
    case Kind::kDict:
      return dict().depth();
    case Kind::kCallable:
      return callable().self.depth() + 1;
    case Kind::kLoop:
      return loop()->depth_of_items + 1;
    default:
      return 0;
  }
}

size_t Value::shallow_size() const {
  switch (kind()) {
    case Kind::kString:
      return string().size();
    case Kind::kSequence:
      return sequence().items.size() * sizeof(Value);
    case Kind::kDict:
      return dict().size() * 3 * sizeof(Value);
    default:
      return sizeof(Value);
  }
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

Result<std::string> HashKey(const Value& value) {
  std::string key;
  JINJA_RETURN_IF_ERROR(AppendHashKey(value, &key));
  return key;
}

void Dict::Insert(std::string hash_key, const Value& key, Value value) {
  depth_ = std::max({depth_, key.depth() + 1, value.depth() + 1});
  const auto [place, inserted] = index_.emplace(std::move(hash_key), entries_.size());
  if (inserted) {
    entries_.emplace_back(key, std::move(value));
  } else {
    entries_[place->second].second = std::move(value);
  }
}

Status Dict::Set(const Value& key, Value value) {
  JINJA_ASSIGN(std::string hash_key, HashKey(key));
  Insert(std::move(hash_key), key, std::move(value));
  return {};
}

void Dict::Set(std::string_view key, Value value) {
  Insert(fmt::format("s{}:{}", key.size(), key), Value(key), std::move(value));
}

Result<const Value*> Dict::Find(const Value& key) const {
  JINJA_ASSIGN(const std::string hash_key, HashKey(key));
  const auto place = index_.find(hash_key);
  return place == index_.end() ? nullptr : &entries_[place->second].second;
}

const Value* Dict::Find(std::string_view key) const {
  const auto place = index_.find(fmt::format("s{}:{}", key.size(), key));
  return place == index_.end() ? nullptr : &entries_[place->second].second;
}

}  // namespace jinja
