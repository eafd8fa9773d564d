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
  if (!call.Has(0)) return call.Like(std::string(Strip(call.self.string(), kEnds)));
  call.environment.Scan(call.self.string(), call.Text(0));
  return call.Like(std::string(Strip(call.self.string(), call.Text(0), kEnds)));
}

Value PartList(Call& call, SequenceKind kind, const std::vector<std::string_view>& parts) {
  List values;
  for (const std::string_view part : parts) values.push_back(call.Like(std::string(part)));
  call.environment.Allocate(parts.size() * 64 + call.self.string().size());
  return Value::MakeSequence(kind, std::move(values));
}

// The separator at `i` of a method that needs one, after its search has been paid for.
std::string Separator(Call& call, size_t i) {
  const std::string separator = call.Text(i);
  if (separator.empty()) Invalid("empty separator");
  call.environment.Scan(call.self.string(), separator);
  return separator;
}

template <bool kFromRight>
Value SplitMethod(Call& call) {
  std::string separator;
  if (call.Has(0)) {
    separator = Separator(call, 0);
  }
  return PartList(call, SequenceKind::kList,
                  Split(call.self.string(), separator, call.Integer(1, -1), kFromRight));
}

template <bool kFromRight>
Value Partition(Call& call) {
  const std::string separator = Separator(call, 0);
  const std::string_view text = call.self.string();
  const size_t place = kFromRight ? text.rfind(separator) : text.find(separator);
  std::vector<std::string_view> parts = {text, "", ""};
  if (place != text.npos) {
    parts = {text.substr(0, place), separator, text.substr(place + separator.size())};
  } else if (kFromRight) {
    parts = {"", "", text};
  }
  return PartList(call, SequenceKind::kTuple, parts);
}

Value SplitLinesMethod(Call& call) {
  return PartList(call, SequenceKind::kList, SplitLines(call.self.string(), call.Truth(0)));
}

template <bool kAtStart>
Value HasAffix(Call& call) {
  const std::string& text = call.self.string();
  const bool is_tuple = call[0].is_sequence(SequenceKind::kTuple);
  for (const Value& affix : is_tuple ? call[0].sequence().items : List{call[0]}) {
    if (affix.is_undefined()) Invalid("{}", affix.reason());
    if (!affix.is_string()) {
      Invalid("{}: expected a string, not '{}'", kAtStart ? "startswith" : "endswith",
              affix.type_name());
    }
    if (kAtStart ? text.starts_with(affix.string()) : text.ends_with(affix.string())) {
      return Value(true);
    }
  }
  return Value(false);
}

template <bool kFromRight, bool kRequired>
Value FindMethod(Call& call) {
  const std::string_view text = call.self.string();
  call.environment.Scan(text, call.Text(0));
  const size_t place = kFromRight ? text.rfind(call.Text(0)) : text.find(call.Text(0));
  if (place != text.npos)
    return Value(static_cast<int64_t>(CountCodePoints(text.substr(0, place))));
  if (kRequired) Invalid("index(): substring not found");
  return Value(int64_t{-1});
}

Value CountMethod(Call& call) {
  const std::string_view text = call.self.string();
  const std::string needle = call.Text(0);
  call.environment.Scan(text, needle);
  if (needle.empty()) return Value(static_cast<int64_t>(CountCodePoints(text) + 1));
  int64_t count = 0;
  for (size_t i = 0; (i = text.find(needle, i)) != text.npos; i += needle.size()) ++count;
  return Value(count);
}

Value ReplaceMethod(Call& call) {
  std::string text = Replace(call.environment, call.self.string(), call.Text(0), call.Text(1),
                             call.Integer(2, -1));
  return call.Like(std::move(text));
}

Value JoinMethod(Call& call) {
  const List items = Iterate(call[0]);
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_string()) {
      Invalid("join(): item {} is '{}', not a string", i, items[i].type_name());
    }
    if (i != 0) text += call.self.string();
    text += items[i].string();
    call.environment.CheckSize(text.size());
  }
  return call.Like(std::move(text));
}

template <bool kPrefix>
Value RemoveAffix(Call& call) {
  std::string_view text = call.self.string();
  const std::string affix = call.Text(0);
  if (kPrefix && text.starts_with(affix)) text.remove_prefix(affix.size());
  if (!kPrefix && text.ends_with(affix)) text.remove_suffix(affix.size());
  return call.Like(std::string(text));
}

// True when every character passes and there is one.
template <bool (*kIs)(char32_t)>
Value AllCharacters(Call& call) {
  const std::string& text = call.self.string();
  for (size_t offset = 0; offset < text.size();) {
    if (!kIs(DecodeAt(text, &offset))) return Value(false);
  }
  return Value(!text.empty());
}

bool IsAlphanumeric(char32_t c) { return c != U'_' && IsWordCharacter(c); }

// True with a character of that case, and none of the other.
template <bool (*kWanted)(char32_t), bool (*kRefused)(char32_t)>
Value HasCase(Call& call) {
  const std::string& text = call.self.string();
  bool found = false;
  for (size_t offset = 0; offset < text.size();) {
    const char32_t c = DecodeAt(text, &offset);
    if (kRefused(c)) return Value(false);
    found = found || kWanted(c);
  }
  return Value(found);
}

Value FormatMethod(Call& call) {
  std::string text = FormatBraces(call.environment, call.self.string(), call.arguments);
  return Value(std::move(text));
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

Value SequenceCount(Call& call) {
  int64_t count = 0;
  for (const Value& item : call.self.sequence().items) {
    const bool equal = Equals(call.environment, item, call[0]);
    count += equal ? 1 : 0;
  }
  return Value(count);
}

Value SequenceIndex(Call& call) {
  const List& items = call.self.sequence().items;
  for (size_t i = 0; i < items.size(); ++i) {
    const bool equal = Equals(call.environment, items[i], call[0]);
    if (equal) return Value(static_cast<int64_t>(i));
  }
  Invalid("the value is not in the {}", call.self.type_name());
}

constexpr Function kStringRows[] = {
    {"capitalize", "", MapMethod<Capitalize>},
    {"count", "sub:str start:never? end:never?", CountMethod},
    {"endswith", "suffix start:never? end:never?", HasAffix<false>},
    {"find", "sub:str start:never? end:never?", FindMethod<false, false>},
    {"format", "*", FormatMethod},
    {"index", "sub:str start:never? end:never?", FindMethod<false, true>},
    {"isalnum", "", AllCharacters<IsAlphanumeric>},
    {"isalpha", "", AllCharacters<IsAlpha>},
    {"isdecimal", "", AllCharacters<IsDigit>},
    {"isdigit", "", AllCharacters<IsDigit>},
    {"islower", "", HasCase<IsLower, IsUpper>},
    {"isnumeric", "", AllCharacters<IsDigit>},
    {"isspace", "", AllCharacters<IsSpace>},
    {"isupper", "", HasCase<IsUpper, IsLower>},
    {"join", "iterable", JoinMethod},
    {"lower", "", MapMethod<ToLower>},
    {"lstrip", "chars:str?", StripMethod<kLeftEnd>},
    {"partition", "sep:str", Partition<false>},
    {"removeprefix", "prefix:str", RemoveAffix<true>},
    {"removesuffix", "suffix:str", RemoveAffix<false>},
    {"replace", "old:str new:str count:int?", ReplaceMethod},
    {"rfind", "sub:str start:never? end:never?", FindMethod<true, false>},
    {"rindex", "sub:str start:never? end:never?", FindMethod<true, true>},
    {"rpartition", "sep:str", Partition<true>},
    {"rsplit", "sep:str? maxsplit:int?", SplitMethod<true>},
    {"rstrip", "chars:str?", StripMethod<kRightEnd>},
    {"split", "sep:str? maxsplit:int?", SplitMethod<false>},
    {"splitlines", "keepends:bool?", SplitLinesMethod},
    {"startswith", "prefix start:never? end:never?", HasAffix<true>},
    {"strip", "chars:str?", StripMethod<kBothEnds>},
    {"title", "", MapMethod<ToTitle>},
    {"upper", "", MapMethod<ToUpper>},
    {"casefold", "", nullptr},
    {"center", "", nullptr},
    {"encode", "", nullptr},
    {"expandtabs", "", nullptr},
    {"format_map", "", nullptr},
    {"isascii", "", nullptr},
    {"isidentifier", "", nullptr},
    {"isprintable", "", nullptr},
    {"istitle", "", nullptr},
    {"ljust", "", nullptr},
    {"maketrans", "", nullptr},
    {"rjust", "", nullptr},
    {"swapcase", "", nullptr},
    {"translate", "", nullptr},
    {"zfill", "", nullptr}};
constexpr Function kDictRows[] = {{"copy", "", Copy},
                                  {"fromkeys", "", nullptr},
                                  {"get", "key default?", DictGet},
                                  {"items", "", DictView<SequenceKind::kItems>},
                                  {"keys", "", DictView<SequenceKind::kKeys>},
                                  {"values", "", DictView<SequenceKind::kValues>}};
constexpr Function kTupleRows[] = {{"count", "value", SequenceCount},
                                   {"index", "value", SequenceIndex}};
constexpr Function kListRows[] = {kTupleRows[0], kTupleRows[1], {"copy", "", Copy}};

// What ImmutableSandboxedEnvironment refuses.
constexpr std::string_view kDictChanges[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::string_view kListChanges[] = {"append", "clear", "pop",    "reverse",
                                             "insert", "sort",  "extend", "remove"};

struct AttributeTable {
  std::span<const Function> methods;
  std::span<const std::string_view> changes;
};

AttributeTable TableOf(const Value& object) {
  if (object.is_string()) return {kStringRows, {}};
  if (object.is_dict()) return {kDictRows, kDictChanges};
  if (object.is_sequence(SequenceKind::kList)) return {kListRows, kListChanges};
  if (object.is_sequence(SequenceKind::kTuple) || object.is_sequence(SequenceKind::kRange)) {
    return {kTupleRows, {}};
  }
  return {};
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
  const Function* row = FindRow(table.methods, name);
  if (row == nullptr) return std::nullopt;
  return Value(Callable{std::string(name), "method", row, object});
}

}  // namespace jinja
