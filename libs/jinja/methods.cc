// The methods of strings, lists, tuples and dicts that a sandboxed template may call, and the
// attributes of namespaces. Not the attributes of `loop` (interpreter.h).
#include <algorithm>

#include "jinja/format.h"
#include "jinja/functions.h"
#include "jinja/operators.h"
#include "jinja/text.h"

namespace jinja {
namespace {

template <std::string (*kMap)(std::string_view)>
Value MapMethod(Call& call) {
  return call.Like(kMap(call.self.string()));
}

template <StripEnds kEnds>
Value StripMethod(Call& call) {
  if (!call.Has(0)) return call.Like(Strip(call.self.string(), kEnds));
  call.environment.Scan(call.self.string(), call.Text(0));
  return call.Like(Strip(call.self.string(), call.Text(0), kEnds));
}

template <bool kFromRight>
Value SplitMethod(Call& call) {
  const std::string separator = call.Text(0);
  if (call.Has(0) && separator.empty()) Invalid("split: empty separator");
  const std::string& text = call.self.string();
  call.environment.Scan(text, separator);
  List parts;
  for (const auto part : Split(text, separator, call.Integer(1, -1), kFromRight)) {
    parts.push_back(call.Like(part));
  }
  call.environment.Allocate(parts.size() * 64 + text.size());
  return Value::MakeList(std::move(parts));
}

template <bool kAtStart>
Value HasAffix(Call& call) {
  const std::string& text = call.self.string();
  const bool is_tuple = call[0].is_sequence(SequenceKind::kTuple);
  for (const Value& affix : is_tuple ? call[0].sequence().items : List{call[0]}) {
    if (!affix.is_string()) Invalid("'{}' is no string to begin or end with", affix.type_name());
    if (kAtStart ? text.starts_with(affix.string()) : text.ends_with(affix.string())) {
      return Value(true);
    }
  }
  return Value(false);
}

template <bool kFromRight>
Value FindMethod(Call& call) {
  const std::string_view text = call.self.string();
  call.environment.Scan(text, call.Text(0));
  const size_t place = kFromRight ? text.rfind(call.Text(0)) : text.find(call.Text(0));
  if (place == text.npos) return Value(int64_t{-1});
  return Value(static_cast<int64_t>(CountCodePoints(text.substr(0, place))));
}

Value ReplaceMethod(Call& call) {
  return call.Like(Replace(call.environment, call.self.string(), call.Text(0), call.Text(1),
                           call.Integer(2, -1)));
}

Value JoinMethod(Call& call) {
  std::string text;
  bool first = true;
  for (const Value& item : Iterate(call[0])) {
    if (!item.is_string()) Invalid("join: an item is '{}', not a string", item.type_name());
    if (!std::exchange(first, false)) text += call.self.string();
    text += item.string();
    call.environment.CheckSize(text.size());
  }
  return call.Like(text);
}

Value IsDigits(Call& call) {
  const std::string& text = call.self.string();
  for (size_t offset = 0; offset < text.size();) {
    if (!IsDigit(DecodeAt(text, &offset))) return Value(false);
  }
  return Value(!text.empty());
}

Value FormatMethod(Call& call) {
  return Value(FormatBraces(call.environment, call.self.string(), call.arguments));
}

template <SequenceKind kKind>
Value DictView(Call& call) {
  List items;
  for (const auto& [key, value] : call.self.dict().entries()) {
    items.push_back(kKind == SequenceKind::kKeys ? key
                    : kKind == SequenceKind::kValues
                        ? value
                        : Value::MakeSequence(SequenceKind::kTuple, {key, value}));
  }
  return Value::MakeSequence(kKind, std::move(items));
}

Value DictGet(Call& call) {
  const Value* value = call.self.dict().Find(call[0]);
  return value != nullptr ? *value : call.Get(1, Value());
}

Value Copy(Call& call) { return call.self; }

constexpr Function kStringRows[] = {
    {"capitalize", "", MapMethod<Capitalize>},
    {"endswith", "suffix start:never? end:never?", HasAffix<false>},
    {"find", "sub:str start:never? end:never?", FindMethod<false>},
    {"format", "*", FormatMethod},
    {"isdigit isdecimal isnumeric", "", IsDigits},
    {"join", "iterable", JoinMethod},
    {"lower", "", MapMethod<ToLower>},
    {"lstrip", "chars:str?", StripMethod<kLeftEnd>},
    {"replace", "old:str new:str count:int?", ReplaceMethod},
    {"rfind", "sub:str start:never? end:never?", FindMethod<true>},
    {"rsplit", "sep:str? maxsplit:int?", SplitMethod<true>},
    {"rstrip", "chars:str?", StripMethod<kRightEnd>},
    {"split", "sep:str? maxsplit:int?", SplitMethod<false>},
    {"startswith", "prefix start:never? end:never?", HasAffix<true>},
    {"strip", "chars:str?", StripMethod<kBothEnds>},
    {"title", "", MapMethod<ToTitle>},
    {"upper", "", MapMethod<ToUpper>},
    {"casefold center count encode expandtabs format_map index isalnum isalpha isascii "
     "isidentifier "
     "islower isprintable isspace istitle isupper ljust maketrans partition removeprefix "
     "removesuffix rindex rjust rpartition splitlines swapcase translate zfill",
     "*", nullptr}};
constexpr Function kDictRows[] = {{"copy", "", Copy},
                                  {"get", "key default?", DictGet},
                                  {"items", "", DictView<SequenceKind::kItems>},
                                  {"keys", "", DictView<SequenceKind::kKeys>},
                                  {"values", "", DictView<SequenceKind::kValues>},
                                  {"fromkeys", "*", nullptr}};
constexpr Function kListRows[] = {{"copy", "", Copy}, {"count index", "*", nullptr}};

// What ImmutableSandboxedEnvironment refuses.
constexpr Function kDictChanges = {"clear pop popitem setdefault update", "*", nullptr};
constexpr Function kListChanges = {"append clear pop reverse insert sort extend remove", "*",
                                   nullptr};

}  // namespace

std::optional<Value> FindAttribute(const Value& object, std::string_view name) {
  if (object.kind() == Kind::kNamespace) {
    const Value* value = object.space().attributes.Find(name);
    return value != nullptr ? std::optional<Value>(*value) : std::nullopt;
  }
  const bool is_list = object.is_sequence(SequenceKind::kList);
  if ((object.is_dict() || is_list) &&
      FindRow({object.is_dict() ? &kDictChanges : &kListChanges, 1}, name) != nullptr) {
    return Value::MakeUndefined(
        fmt::format("access to attribute '{}' of '{}' object is unsafe", name, object.type_name()));
  }
  const Function* row = object.is_string() ? FindRow(kStringRows, name)
                        : object.is_dict() ? FindRow(kDictRows, name)
                        : is_list          ? FindRow(kListRows, name)
                        : object.kind() == Kind::kSequence && object.sequence().has_subscript()
                            ? FindRow({kListRows + 1, 1}, name)
                            : nullptr;
  if (row == nullptr) return std::nullopt;
  return Value(Callable{std::string(name), "method", row, object});
}

}  // namespace jinja
