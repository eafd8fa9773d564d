// The values a template computes with: Python's None, bool, int, str, list, ... as chat templates
// see them. Immutable, but for namespaces. Not the operations on them (operators.h, functions.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace jinja {

class Environment;
class Value;
class Dict;
struct Callable;
struct Loop;
struct Namespace;
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

// Lists, tuples and ranges have subscripts; views of a dict and those have a length. A generator
// gives its items once.
enum class SequenceKind { kList, kTuple, kRange, kView, kGenerator };

struct Sequence {
  SequenceKind kind = SequenceKind::kList;
  List items;
  int depth = 1;
  mutable size_t num_taken = 0;  // of kGenerator: items that have been iterated over already
};

class Value {
 public:
  Value() : data_(std::monostate()) {}  // None
  explicit Value(bool value) : data_(value) {}
  explicit Value(int64_t value) : data_(value) {}
  explicit Value(double value) : data_(value) {}
  // `markup` marks text that the filter safe made. Valid UTF-8.
  explicit Value(std::string text, bool markup = false)
      : data_(std::make_shared<const Text>(Text{std::move(text), markup})) {}
  explicit Value(std::string_view text) : Value(std::string(text)) {}
  explicit Value(const char*) = delete;
  explicit Value(Dict dict);
  explicit Value(Callable callable);
  explicit Value(std::shared_ptr<Namespace> space) : data_(std::move(space)) {}
  explicit Value(std::shared_ptr<Loop> loop) : data_(std::move(loop)) {}
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
  bool is_sequence() const { return kind() == Kind::kSequence; }
  bool is_sequence(SequenceKind of_kind) const {
    return is_sequence() && sequence().kind == of_kind;
  }
  bool has_subscript() const { return is_sequence() && sequence().kind <= SequenceKind::kRange; }

  // Each of these may be called only on a value of its kind.
  const std::string& reason() const { return *std::get<0>(data_); }
  bool boolean() const { return std::get<bool>(data_); }
  int64_t integer() const { return is_bool() ? boolean() : std::get<int64_t>(data_); }
  double number() const {
    return is_integral() ? static_cast<double>(integer()) : std::get<double>(data_);
  }
  const std::string& string() const { return std::get<5>(data_)->bytes; }
  bool is_markup() const { return is_string() && std::get<5>(data_)->markup; }
  const Sequence& sequence() const { return *std::get<6>(data_); }
  const Dict& dict() const { return *std::get<7>(data_); }
  Namespace& space() const { return *std::get<8>(data_); }
  const Callable& callable() const { return *std::get<9>(data_); }
  Loop& loop() const { return *std::get<10>(data_); }

  // Whether both are one object, or equal and held in place.
  bool IsSame(const Value& other) const { return data_ == other.data_; }
  bool Truth() const;
  // Levels of containers; 0 for scalars and for namespaces.
  int depth() const;
  // Bytes of this value's own storage, without what its elements refer to.
  size_t shallow_size() const;
  // As Python names the type: "str", "dict", ...
  std::string_view type_name() const;

 private:
  struct Text {
    std::string bytes;
    bool markup = false;
  };

  // In the order of Kind. An undefined value holds the reason why it is.
  std::variant<std::shared_ptr<const std::string>, std::monostate, bool, int64_t, double,
               std::shared_ptr<const Text>, std::shared_ptr<const Sequence>,
               std::shared_ptr<const Dict>, std::shared_ptr<Namespace>,
               std::shared_ptr<const Callable>, std::shared_ptr<Loop>>
      data_;
};

// The text under which Python would hash the value: equal for equal keys; nullopt for a value that
// has no hash. Tuples as keys are not supported.
std::optional<std::string> HashKey(const Value& value);

// Keeps the order of insertion.
class Dict {
 public:
  // A failure for a key that has no hash.
  void Set(const Value& key, Value value);
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

// The variable `loop` of a for statement.
struct Loop {
  virtual ~Loop() = default;
  // loop.name; nullopt where there is none.
  virtual std::optional<Value> Attribute(std::string_view name) = 0;
};

struct Arguments {
  List positional;
  std::vector<std::pair<std::string, Value>> keyword;
};

// A global function, a method bound to its object, or a macro.
struct Callable {
  std::function<Value(Environment&, const Arguments&)> call;
  int depth = 0;  // of the object
};

}  // namespace jinja
