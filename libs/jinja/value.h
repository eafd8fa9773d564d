// The values a template computes with: Python's None, bool, int, str, list, ... as chat templates
// see them. Immutable, but for namespaces. Not the operations on them (operators.h, functions.h).
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace jinja {

class Value;
class Dict;
struct Callable;
struct Function;
struct Loop;
struct Namespace;
struct Node;
struct Scope;
struct Sequence;
using List = std::vector<Value>;

// Values nested deeper than this are refused, so that recursion over a value is bounded.
inline constexpr int kMaxValueDepth = 200;

enum class Kind {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kSequence,
  kDict,
  kNamespace,
  kCallable,
  kLoop
};

enum class SequenceKind { kList, kTuple, kRange, kKeys, kValues, kItems, kGenerator };

class Value {
 public:
  Value() : data_(NoneType{}) {}
  explicit Value(bool value) : data_(value) {}
  explicit Value(int64_t value) : data_(value) {}
  explicit Value(double value) : data_(value) {}
  // `markup` marks text that is escaped already (the filters safe and escape). Valid UTF-8.
  explicit Value(std::string text, bool markup = false)
      : data_(Text{std::make_shared<const std::string>(std::move(text)), markup}) {}
  explicit Value(std::string_view text) : Value(std::string(text)) {}
  explicit Value(const char*) = delete;
  explicit Value(Dict dict);
  explicit Value(std::shared_ptr<Namespace> space) : data_(std::move(space)) {}
  explicit Value(std::shared_ptr<Loop> loop) : data_(std::move(loop)) {}
  explicit Value(Callable callable);
  static Value MakeUndefined(std::string reason);
  static Value MakeSequence(SequenceKind kind, List items);
  static Value MakeList(List items) { return MakeSequence(SequenceKind::kList, std::move(items)); }

  // Numbers beyond int64 and nesting beyond kMaxValueDepth are failures.
  static Value FromJson(const nlohmann::ordered_json& json, int depth = 1);

  Kind kind() const { return static_cast<Kind>(data_.index()); }
  bool is_undefined() const { return kind() == Kind::kUndefined; }
  bool is_none() const { return kind() == Kind::kNone; }
  bool is_bool() const { return kind() == Kind::kBool; }
  bool is_string() const { return kind() == Kind::kString; }
  bool is_integral() const { return is_bool() || kind() == Kind::kInt; }
  bool is_number() const { return is_integral() || kind() == Kind::kFloat; }
  bool is_dict() const { return kind() == Kind::kDict; }
  bool is_sequence(SequenceKind sequence_kind) const;

  // Each of these may be called only on a value of its kind.
  const std::string& reason() const { return *std::get<UndefinedType>(data_).reason; }
  bool boolean() const { return std::get<bool>(data_); }
  int64_t integer() const { return is_bool() ? boolean() : std::get<int64_t>(data_); }
  double number() const {
    return is_integral() ? static_cast<double>(integer()) : std::get<double>(data_);
  }
  const std::string& string() const { return *std::get<Text>(data_).bytes; }
  bool is_markup() const { return is_string() && std::get<Text>(data_).markup; }
  const Sequence& sequence() const { return *std::get<std::shared_ptr<const Sequence>>(data_); }
  const Dict& dict() const { return *std::get<std::shared_ptr<const Dict>>(data_); }
  Namespace& space() const { return *std::get<std::shared_ptr<Namespace>>(data_); }
  const Callable& callable() const { return *std::get<std::shared_ptr<const Callable>>(data_); }
  const std::shared_ptr<Loop>& loop() const { return std::get<std::shared_ptr<Loop>>(data_); }

  // Python's `is`: the same object, or equal singletons and small numbers.
  bool IsSame(const Value& other) const;
  bool Truth() const;
  // Levels of containers; 0 for scalars and for namespaces.
  int depth() const;
  // Bytes of this value's own storage, without what its elements refer to.
  size_t shallow_size() const;
  // As Python names the type: "str", "dict", ...
  std::string_view type_name() const;

 private:
  struct UndefinedType {
    std::shared_ptr<const std::string> reason;
    bool operator==(const UndefinedType&) const = default;
  };
  struct NoneType {
    bool operator==(const NoneType&) const = default;
  };
  struct Text {
    std::shared_ptr<const std::string> bytes;
    bool markup = false;
    bool operator==(const Text& other) const { return bytes == other.bytes; }
  };

  std::variant<UndefinedType, NoneType, bool, int64_t, double, Text,
               std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>,
               std::shared_ptr<Namespace>, std::shared_ptr<const Callable>, std::shared_ptr<Loop>>
      data_;
};

struct Sequence {
  SequenceKind kind = SequenceKind::kList;
  List items;
  int depth = 1;
  mutable size_t num_taken = 0;  // of kGenerator: items that have been iterated over already

  // Python's len() is defined, and so is a subscript.
  bool has_length() const { return kind != SequenceKind::kGenerator; }
  bool has_subscript() const { return kind <= SequenceKind::kRange; }
};

// Whether the value may be a key: no list, no dict, nothing that holds one.
bool IsHashable(const Value& value);
// The text under which Python would hash the value: equal for equal keys. A failure for a value
// that is not hashable.
std::string HashKey(const Value& value);

// Keeps the order of insertion.
class Dict {
 public:
  void Set(const Value& key, Value value);
  void Set(std::string_view key, Value value) { Set(Value(key), std::move(value)); }
  // Null when absent.
  const Value* Find(const Value& key) const;
  const Value* Find(std::string_view key) const { return Find(Value(key)); }
  const std::vector<std::pair<Value, Value>>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  int depth() const { return depth_; }

 private:
  std::vector<std::pair<Value, Value>> entries_;
  std::unordered_map<std::string, size_t> index_;  // hash key -> position in entries_
  int depth_ = 1;
};

struct Namespace {
  Dict attributes;
};

struct Arguments {
  List positional;
  std::vector<std::pair<std::string, Value>> keyword;
};

// A global function, a method bound to its object, or a macro with the scope it was defined in.
struct Callable {
  std::string name;
  std::string_view what;               // "function", "method", "macro"
  const Function* function = nullptr;  // null for a macro
  Value self = Value();                // of a method
  const Node* macro = nullptr;         // owned by the template
  Scope* scope = nullptr;              // owned by the interpreter until the rendering ends
};

}  // namespace jinja
