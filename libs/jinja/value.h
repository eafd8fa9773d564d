// The values a template computes with: Python's None, bool, int, str, list, ... as chat templates
// see them. Immutable, but for namespaces. Not the operations on them (operators.h, methods.h).
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

#include "jinja/error.h"

namespace jinja {

class Value;
class Dict;
class Environment;
struct Arguments;
struct Callable;
struct Loop;
struct Namespace;
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
  static Value MakeRange(int64_t start, int64_t stop, int64_t step, List items);

  // Numbers beyond int64 and nesting beyond kMaxValueDepth are errors.
  static Result<Value> FromJson(const nlohmann::ordered_json& json);

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
  int64_t integer() const;  // of kInt or kBool
  double number() const;    // of any number
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
  };
  struct NoneType {};
  struct Text {
    std::shared_ptr<const std::string> bytes;
    bool markup = false;
  };
  template <typename T>
  explicit Value(std::shared_ptr<const T> object) : data_(std::move(object)) {}

  std::variant<UndefinedType, NoneType, bool, int64_t, double, Text,
               std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>,
               std::shared_ptr<Namespace>, std::shared_ptr<const Callable>, std::shared_ptr<Loop>>
      data_;
};

struct Range {
  int64_t start = 0;
  int64_t stop = 0;
  int64_t step = 1;
};

struct Sequence {
  SequenceKind kind = SequenceKind::kList;
  List items;
  Range range;  // of kRange
  int depth = 1;
  mutable size_t num_taken = 0;  // of kGenerator: items that have been iterated over already

  // Python's len() is defined, and so is a subscript.
  bool has_length() const { return kind != SequenceKind::kGenerator; }
  bool has_subscript() const {
    return kind == SequenceKind::kList || kind == SequenceKind::kTuple ||
           kind == SequenceKind::kRange;
  }
};

// The text under which Python would hash the value: equal for equal keys. Lists are unhashable.
Result<std::string> HashKey(const Value& value);

// Keeps the order of insertion.
class Dict {
 public:
  Status Set(const Value& key, Value value);
  void Set(std::string_view key, Value value);
  // Null when absent.
  Result<const Value*> Find(const Value& key) const;
  const Value* Find(std::string_view key) const;
  const std::vector<std::pair<Value, Value>>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  int depth() const { return depth_; }

 private:
  void Insert(std::string hash_key, const Value& key, Value value);

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

using NativeFunction = Result<Value> (*)(Environment& environment, const Value& self,
                                         const Arguments& arguments);

struct MacroStatement;
struct Scope;

// A global function, a method bound to its object, or a macro with the scope it was defined in.
struct Callable {
  std::string name;
  NativeFunction function = nullptr;      // null for a macro
  Value self;                             // of a method
  const MacroStatement* macro = nullptr;  // owned by the template
  Scope* scope = nullptr;                 // owned by the interpreter until the rendering ends
};

}  // namespace jinja
