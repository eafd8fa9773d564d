// Filters of single values, and the methods of strings, dicts and lists that a sandboxed template
// may call; what is both is one function. tojson is the one of transformers: plain json.dumps, not
// HTML-safe. Not the attributes of `loop` (interpreter.cc).
#include <algorithm>
#include <cmath>

#include "jinja/functions.h"
#include "jinja/operators.h"
#include "jinja/text.h"
#include "jinja/value_text.h"

namespace jinja {
namespace {

constexpr int64_t kMaxIndent = 1000;

template <std::string (*kMap)(std::string_view)>
Value MapText(Call& call) {
  return call.Like(kMap(call.SelfText()));
}

template <StripEnds kEnds>
Value StripText(Call& call) {
  const std::string text = call.SelfText();
  if (!call.Has(0)) return call.Like(Strip(text, kEnds));
  call.environment.Scan(text, call.Text(0));
  return call.Like(Strip(text, call.Text(0), kEnds));
}

template <bool kFromRight>
Value SplitText(Call& call) {
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
Value FindText(Call& call) {
  const std::string_view text = call.self.string();
  call.environment.Scan(text, call.Text(0));
  const size_t place = kFromRight ? text.rfind(call.Text(0)) : text.find(call.Text(0));
  if (place == text.npos) return Value(int64_t{-1});
  return Value(static_cast<int64_t>(CountCodePoints(text.substr(0, place))));
}

Value ReplaceText(Call& call) {
  return call.Like(Replace(call.environment, call.SelfText(), ToText(call.environment, call[0]),
                           ToText(call.environment, call[1]), call.Integer(2, -1)));
}

Value JoinMethod(Call& call) {
  const List items = Iterate(call[0]);
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_string()) Invalid("join: '{}' is not a string", items[i].type_name());
    if (i != 0) text += call.self.string();
    text += items[i].string();
    call.environment.CheckSize(text.size());
  }
  return call.Like(text);
}

Value FormatMethod(Call& call) {
  return Value(FormatBraces(call.environment, call.self.string(), call.arguments));
}

Value FormatFilter(Call& call) {
  if (!call.arguments.keyword.empty()) Unsupported("format with keyword arguments");
  const Value values = Value::MakeSequence(SequenceKind::kTuple, call.arguments.positional);
  return Value(FormatPercent(call.environment, call.SelfText(), values));
}

Value Default(Call& call) {
  const bool missing = call.self.is_undefined() || (call.Truth(1) && !call.self.Truth());
  return missing ? call.Get(0, Value(std::string())) : call.self;
}

// The white space of one level: a number of columns, or the text itself.
std::string IndentText(const Value& width) {
  if (width.is_string()) return width.string();
  if (!width.is_integral() || width.integer() > kMaxIndent) {
    Invalid("an indent must be a string or an integer up to {}", kMaxIndent);
  }
  return std::string(static_cast<size_t>(std::max<int64_t>(width.integer(), 0)), ' ');
}

Value Indent(Call& call) {
  if (!call.self.is_string()) Invalid("indent needs a string, not '{}'", call.self.type_name());
  const std::string indent = IndentText(call.Get(0, Value(int64_t{4})));
  const std::string text = call.self.string() + '\n';
  const std::vector<std::string_view> lines = SplitLines(text);
  call.environment.CheckSize(text.size() + lines.size() * indent.size());
  std::string result;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i != 0) result += '\n';
    if (i == 0 ? call.Truth(1) : !lines[i].empty()) result += indent;
    result += lines[i];
  }
  return Value(std::move(result));
}

Value ToJsonFilter(Call& call) {
  JsonStyle style;
  style.ensure_ascii = call.Truth(0);
  if (call.Has(1) && !call[1].is_none()) {
    style.indent = IndentText(call[1]);
    style.item_separator = std::string(1, ',');
  }
  if (call.Has(2) && !call[2].is_none()) {
    const List separators = Iterate(call[2]);
    if (separators.size() != 2 || !separators[0].is_string() || !separators[1].is_string()) {
      Invalid("tojson: separators must be two strings");
    }
    style.item_separator = separators[0].string();
    style.key_separator = separators[1].string();
  }
  style.sort_keys = call.Truth(3);
  return Value(ToJson(call.environment, call.self, style));
}

std::optional<double> ToNumber(const Value& value) {
  if (value.is_undefined()) Invalid("{}", value.reason());
  if (value.is_number()) return value.number();
  return value.is_string() ? ParseFloat(value.string()) : std::nullopt;
}

Value Int(Call& call) {
  if (call.self.is_integral()) return Value(call.self.integer());
  const auto integer = call.self.is_string() ? ParseInt(call.self.string()) : std::nullopt;
  if (integer) return Value(*integer);
  const std::optional<double> number = ToNumber(call.self);
  if (!number || !std::isfinite(*number)) return call.Get(0, Value(int64_t{0}));
  if (!(std::fabs(*number) < 0x1p63)) Invalid("{} does not fit 64 bits", *number);
  return Value(static_cast<int64_t>(*number));
}

Value Float(Call& call) {
  const std::optional<double> number = ToNumber(call.self);
  return number ? Value(*number) : call.Get(0, Value(0.0));
}

Value String(Call& call) { return call.self.is_string() ? call.self : Value(call.SelfText()); }
Value Safe(Call& call) { return Value(call.SelfText(), true); }
Value Copy(Call& call) { return call.self; }

template <SequenceKind kKind>
Value DictView(Call& call) {
  if (call.self.is_undefined()) return Value::MakeSequence(SequenceKind::kGenerator, {});
  if (!call.self.is_dict()) Invalid("items needs a dict, not '{}'", call.self.type_name());
  List items;
  for (const auto& [key, value] : call.self.dict().entries()) {
    const Value pair = Value::MakeSequence(SequenceKind::kTuple, {key, value});
    items.push_back(kKind == SequenceKind::kKeys     ? key
                    : kKind == SequenceKind::kValues ? value
                                                     : pair);
  }
  return Value::MakeSequence(kKind, std::move(items));
}

Value DictGet(Call& call) {
  const Value* value = call.self.dict().Find(call[0]);
  return value != nullptr ? *value : call.Get(1, Value());
}

constexpr Function kFilters[] = {
    {"capitalize", "", MapText<Capitalize>},
    {"default d", "default_value? boolean:bool?", Default},
    {"float", "default?", Float},
    {"format", "*", FormatFilter},
    {"indent", "width? first:bool? blank:never?", Indent},
    {"int", "default? base:never?", Int},
    {"items", "", DictView<SequenceKind::kGenerator>},
    {"lower", "", MapText<ToLower>},
    {"replace", "old new count:int?", ReplaceText},
    {"safe", "", Safe},
    {"string", "", String},
    {"title", "", MapText<TitleWords>},
    {"tojson", "ensure_ascii:bool? indent? separators? sort_keys:bool?", ToJsonFilter},
    {"trim", "chars:str?", StripText<kBothEnds>},
    {"upper", "", MapText<ToUpper>},
    {"abs attr batch center e escape filesizeformat forceescape groupby pprint random reverse "
     "round slice "
     "striptags sum truncate urlencode urlize wordcount wordwrap xmlattr",
     "*", nullptr}};

constexpr Function kStringMethods[] = {
    {"capitalize", "", MapText<Capitalize>},
    {"endswith", "suffix start:never? end:never?", HasAffix<false>},
    {"find", "sub:str start:never? end:never?", FindText<false>},
    {"format", "*", FormatMethod},
    {"join", "iterable", JoinMethod},
    {"lower", "", MapText<ToLower>},
    {"lstrip", "chars:str?", StripText<kLeftEnd>},
    {"replace", "old:str new:str count:int?", ReplaceText},
    {"rfind", "sub:str start:never? end:never?", FindText<true>},
    {"rsplit", "sep:str? maxsplit:int?", SplitText<true>},
    {"rstrip", "chars:str?", StripText<kRightEnd>},
    {"split", "sep:str? maxsplit:int?", SplitText<false>},
    {"startswith", "prefix start:never? end:never?", HasAffix<true>},
    {"strip", "chars:str?", StripText<kBothEnds>},
    {"title", "", MapText<ToTitle>},
    {"upper", "", MapText<ToUpper>},
    {"casefold center count encode expandtabs format_map index isalnum isalpha isascii isdecimal "
     "isdigit isidentifier islower isnumeric isprintable isspace istitle isupper ljust maketrans "
     "partition removeprefix removesuffix rindex rjust rpartition splitlines swapcase translate "
     "zfill",
     "*", nullptr}};

constexpr Function kDictMethods[] = {{"copy", "", Copy},
                                     {"get", "key default?", DictGet},
                                     {"items", "", DictView<SequenceKind::kItems>},
                                     {"keys", "", DictView<SequenceKind::kKeys>},
                                     {"values", "", DictView<SequenceKind::kValues>},
                                     {"fromkeys", "*", nullptr}};
constexpr Function kListMethods[] = {{"copy", "", Copy}, {"count index", "*", nullptr}};

// What ImmutableSandboxedEnvironment refuses.
constexpr Function kDictChanges = {"clear pop popitem setdefault update", "*", nullptr};
constexpr Function kListChanges = {"append clear pop reverse insert sort extend remove", "*",
                                   nullptr};

}  // namespace

const std::span<const Function> kScalarFilters = kFilters;

std::optional<Value> FindAttribute(const Value& object, std::string_view name) {
  if (object.kind() == Kind::kNamespace) {
    const Value* value = object.space().attributes.Find(name);
    return value != nullptr ? std::optional<Value>(*value) : std::nullopt;
  }
  const bool is_list = object.is_sequence(SequenceKind::kList);
  const std::span<const Function> changes(object.is_dict() ? &kDictChanges : &kListChanges, 1);
  if ((object.is_dict() || is_list) && FindRow(changes, name) != nullptr) {
    return Value::MakeUndefined(
        fmt::format("access to attribute '{}' of '{}' object is unsafe", name, object.type_name()));
  }
  std::span<const Function> rows;
  if (object.is_string()) rows = kStringMethods;
  if (object.is_dict()) rows = kDictMethods;
  if (object.kind() == Kind::kSequence && object.sequence().has_subscript()) {
    rows = std::span(kListMethods).subspan(is_list ? 0 : 1);
  }
  const Function* row = FindRow(rows, name);
  if (row == nullptr) return std::nullopt;
  return Value(Callable{std::string(name), "method", row, object});
}

}  // namespace jinja
