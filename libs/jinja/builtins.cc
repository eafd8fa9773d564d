// The filters, and the methods of strings, dicts and lists that a sandboxed template may call; what
// is both is one function. tojson is the one of transformers: plain json.dumps, not HTML-safe. Not
// the attributes of `loop` (parser.cc).
#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "jinja/functions.h"
#include "jinja/operators.h"
#include "jinja/text.h"

namespace jinja {
namespace {

constexpr int64_t kMaxIndent = 1000;
constexpr std::string_view kUnsafe = "!";  // for parameters: changes its object, which is refused

// The texts of `items` with `separator` between.
template <typename Items, typename TextOf>
std::string JoinTexts(const Call& call, const Items& items, std::string_view separator,
                      TextOf text_of) {
  std::string text;
  bool is_first = true;
  for (const auto& item : items) {
    if (!std::exchange(is_first, false)) text += separator;
    text += text_of(item);
    call.environment.CheckSize(text.size());
  }
  return text;
}

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

Value SplitText(Call& call) {
  const std::string separator = call.Text(0);
  if (call.Has(0) && separator.empty()) Invalid("split: empty separator");
  const std::string& text = call.self.string();
  call.environment.Scan(text, separator);
  List parts;
  for (const auto part : Split(text, separator, call.Integer(1, -1))) {
    parts.push_back(call.Like(part));
  }
  call.environment.Allocate(parts.size() * 64 + text.size());
  return Value::MakeList(std::move(parts));
}

template <bool kAtStart>
Value HasAffix(Call& call) {
  const std::string& text = call.self.string();
  return Value(kAtStart ? text.starts_with(call.Text(0)) : text.ends_with(call.Text(0)));
}

template <bool kFromRight>
Value FindText(Call& call) {
  const std::string_view text = call.self.string();
  call.environment.Scan(text, call.Text(0));
  const size_t place = kFromRight ? text.rfind(call.Text(0)) : text.find(call.Text(0));
  if (place == text.npos) return Value(int64_t{-1});
  return Value(static_cast<int64_t>(CountCodePoints(text.substr(0, place))));
}

// At most `count` times unless that is negative.
Value ReplaceText(Call& call) {
  const std::string text = call.SelfText();
  const std::string from = ToText(call.environment, call[0]);
  if (from.empty()) Unsupported("replace of an empty text is not supported");
  call.environment.Scan(text, from);
  return call.Like(JoinTexts(call, Split(text, from, call.Integer(2, -1)),
                             ToText(call.environment, call[1]),
                             [](std::string_view part) { return part; }));
}

Value JoinFilter(Call& call) {
  const std::string separator = call.Has(0) ? ToText(call.environment, call[0]) : "";
  return Value(JoinTexts(call, Iterate(call.self), separator,
                         [&](const Value& item) { return ToText(call.environment, item); }));
}

Value JoinMethod(Call& call) {
  return Value(JoinTexts(call, Iterate(call[0]), call.self.string(), [](const Value& item) {
    if (!item.is_string()) Invalid("join: '{}' is not a string", item.type_name());
    return item.string();
  }));
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

std::string Spaces(int64_t count) {
  if (count > kMaxIndent) Invalid("an indent of {}, limit {}", count, kMaxIndent);
  return std::string(static_cast<size_t>(std::max<int64_t>(count, 0)), ' ');
}

Value Indent(Call& call) {
  if (!call.self.is_string()) Invalid("indent needs a string, not '{}'", call.self.type_name());
  const std::string& text = call.self.string();
  for (const std::string_view end :
       {"\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\u0085", "\u2028", "\u2029"}) {
    if (text.find(end) != text.npos) Unsupported("indent of other lines than \\n ends");
  }
  const std::string indent = Spaces(call.Integer(0, 4));
  const auto lines = Split(text, "\n", -1);
  return Value((call.Truth(1) ? indent : "") +
               JoinTexts(call, lines, "\n", [&](const std::string_view& line) {
                 const bool indents = !line.empty() && &line != &lines[0];
                 return (indents ? indent : "") + std::string(line);
               }));
}

Value ToJsonFilter(Call& call) {
  JsonStyle style;
  style.ensure_ascii = call.Truth(0);
  if (call.Has(1)) {
    style.indent = Spaces(call.Integer(1, 0));
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
  return Value(ToJson(call.environment, call.self, style));
}

std::optional<double> ToNumber(const Value& value) {
  RefuseUndefined(value);
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

List DictItems(const Dict& dict) {
  List items;
  for (const auto& [key, value] : dict.entries()) {
    items.push_back(Value::MakeSequence(SequenceKind::kTuple, {key, value}));
  }
  return items;
}

Value MakeGenerator(List items) {
  return Value::MakeSequence(SequenceKind::kGenerator, std::move(items));
}

Value ItemsFilter(Call& call) {
  if (call.self.is_undefined()) return MakeGenerator({});
  if (!call.self.is_dict()) Invalid("items needs a dict, not '{}'", call.self.type_name());
  return MakeGenerator(DictItems(call.self.dict()));
}

Value MakeView(List items) { return Value::MakeSequence(SequenceKind::kView, std::move(items)); }
Value Items(Call& call) { return MakeView(DictItems(call.self.dict())); }
Value Keys(Call& call) { return MakeView(Iterate(call.self)); }
Value Values(Call& call) {
  List values;
  for (const auto& entry : call.self.dict().entries()) values.push_back(entry.second);
  return MakeView(std::move(values));
}

Value DictGet(Call& call) {
  const Value* value = call.self.dict().Find(call[0]);
  return value != nullptr ? *value : call.Get(1, Value());
}

// item.name of each item for the attribute "name"; the items themselves for none.
List Attributes(Environment& environment, List items, const Value& name) {
  if (name.is_none()) return items;
  if (name.is_string() && name.string().find_first_of(".,") != std::string::npos) {
    Unsupported("the attribute '{}' of several parts is not supported", name.string());
  }
  for (Value& item : items) item = GetItem(environment, item, name);
  return items;
}

// What a value is sorted or compared by: itself, in lower case.
Value SortKey(const Value& value) {
  return value.is_string() ? Value(ToLower(value.string())) : value;
}

// `items` in the order of `keys`.
List SortBy(Environment& environment, const List& keys, const List& items) {
  std::vector<std::pair<Value, Value>> pairs;
  for (size_t i = 0; i < items.size(); ++i) pairs.emplace_back(SortKey(keys[i]), items[i]);
  std::stable_sort(pairs.begin(), pairs.end(), [&](const auto& a, const auto& b) {
    return !Equals(environment, a.first, b.first) && Order(environment, a.first, b.first) < 0;
  });
  List sorted;
  for (const auto& [key, item] : pairs) sorted.push_back(item);
  return sorted;
}

Value Sort(Call& call) {
  const List items = Iterate(call.self);
  const List keys = Attributes(call.environment, items, call.Get(2, Value()));
  return Value::MakeList(SortBy(call.environment, keys, items));
}

Value DictSort(Call& call) {
  if (!call.self.is_dict()) Invalid("dictsort needs a dict, not '{}'", call.self.type_name());
  return Value::MakeList(SortBy(call.environment, Iterate(call.self), DictItems(call.self.dict())));
}

Value Unique(Call& call) {
  std::set<std::string> seen;
  List unique;
  for (const Value& item : Iterate(call.self)) {
    const auto key = HashKey(SortKey(item));
    if (!key) Invalid("unhashable type: '{}'", item.type_name());
    if (seen.insert(*key).second) unique.push_back(item);
  }
  return MakeGenerator(std::move(unique));
}

Value Min(Call& call) {
  const List items = Iterate(call.self);
  if (items.empty()) return Value::MakeUndefined("No aggregated item, sequence was empty.");
  return SortBy(call.environment, items, items).front();
}

Value First(Call& call) {
  const bool is_generator = call.self.is_sequence(SequenceKind::kGenerator);
  const size_t place = is_generator ? call.self.sequence().num_taken++ : 0;
  const List items = is_generator ? call.self.sequence().items : Iterate(call.self);
  if (place < items.size()) return items[place];
  return Value::MakeUndefined("No first item, sequence was empty.");
}

Value Last(Call& call) {
  if (call.self.is_sequence(SequenceKind::kGenerator)) Invalid("last of a generator");
  const List items = Iterate(call.self);
  return items.empty() ? Value::MakeUndefined("No last item, sequence was empty.") : items.back();
}

// Each of `items` through the filter or test that positional argument `i` names, if it is given,
// with the arguments behind it.
List Through(Call& call, size_t i, std::string_view what, List items) {
  const List& given = call.arguments.positional;
  if (i >= given.size()) return items;
  if (!given[i].is_string()) Invalid("the name of a {} must be a string", what);
  const std::string& name = given[i].string();
  const Function* function = what == "test" ? FindTest(name) : FindFilter(name);
  if (function == nullptr) Invalid("no {} named '{}'", what, name);
  const auto behind = given.begin() + static_cast<ptrdiff_t>(i + 1);
  const Arguments rest = {List(behind, given.end()), call.arguments.keyword};
  for (Value& item : items) {
    item = call.environment.Made(Apply(call.environment, what, name, *function, item, rest));
  }
  return items;
}

// What map, select and the like iterate over.
List ItemsOf(const Value& value) { return value.Truth() ? Iterate(value) : List(); }

Value Map(Call& call) {
  List items = ItemsOf(call.self);
  if (!call.arguments.positional.empty()) {
    return MakeGenerator(Through(call, 0, "filter", std::move(items)));
  }
  call.Bind("map", "attribute default:never?");
  return MakeGenerator(Attributes(call.environment, std::move(items), call[0]));
}

// select, reject, selectattr and rejectattr: the items for which the test named by the arguments
// (or plain truth) holds or does not.
template <bool kKeep, bool kByAttribute>
Value SelectWhere(Call& call) {
  const List& given = call.arguments.positional;
  if (kByAttribute && given.empty()) Invalid("the attribute's name is missing");
  const List items = ItemsOf(call.self);
  const Value name = kByAttribute ? given[0] : Value();
  const List results =
      Through(call, kByAttribute ? 1 : 0, "test", Attributes(call.environment, items, name));
  List kept;
  for (size_t i = 0; i < items.size(); ++i) {
    if (results[i].Truth() == kKeep) kept.push_back(items[i]);
  }
  return MakeGenerator(std::move(kept));
}

Value LengthOf(Call& call) { return Value(Length(call.self)); }
Value ListOf(Call& call) { return Value::MakeList(Iterate(call.self)); }

constexpr Function kFilters[] = {
    {"capitalize", "", MapText<Capitalize>},
    {"default d", "default_value? boolean:bool?", Default},
    {"dictsort", "case_sensitive:never? by:never? reverse:never?", DictSort},
    {"first", "", First},
    {"float", "default?", Float},
    {"format", "*", FormatFilter},
    {"indent", "width:int? first:bool? blank:never?", Indent},
    {"int", "default? base:never?", Int},
    {"items", "", ItemsFilter},
    {"join", "d? attribute:never?", JoinFilter},
    {"last", "", Last},
    {"length count", "", LengthOf},
    {"list", "", ListOf},
    {"lower", "", MapText<ToLower>},
    {"map", "*", Map},
    {"min", "case_sensitive:never? attribute:never?", Min},
    {"reject", "*", SelectWhere<false, false>},
    {"rejectattr", "*", SelectWhere<false, true>},
    {"replace", "old new count:int?", ReplaceText},
    {"safe", "", Safe},
    {"select", "*", SelectWhere<true, false>},
    {"selectattr", "*", SelectWhere<true, true>},
    {"sort", "reverse:never? case_sensitive:never? attribute?", Sort},
    {"string", "", String},
    {"title", "", MapText<TitleWords>},
    {"tojson", "ensure_ascii:bool? indent:int? separators? sort_keys:never?", ToJsonFilter},
    {"trim", "chars:str?", StripText<kBothEnds>},
    {"unique", "case_sensitive:never? attribute:never?", Unique},
    {"upper", "", MapText<ToUpper>},
    {"abs attr batch center e escape filesizeformat forceescape groupby max pprint random reverse "
     "round slice striptags sum truncate urlencode urlize wordcount wordwrap xmlattr",
     "*", nullptr}};

constexpr Function kStringMethods[] = {
    {"capitalize", "", MapText<Capitalize>},
    {"endswith", "suffix:str start:never? end:never?", HasAffix<false>},
    {"find", "sub:str start:never? end:never?", FindText<false>},
    {"format", "*", FormatMethod},
    {"join", "iterable", JoinMethod},
    {"lower", "", MapText<ToLower>},
    {"lstrip", "chars:str?", StripText<kLeftEnd>},
    {"replace", "old:str new:str count:int?", ReplaceText},
    {"rfind", "sub:str start:never? end:never?", FindText<true>},
    {"rstrip", "chars:str?", StripText<kRightEnd>},
    {"split", "sep:str? maxsplit:int?", SplitText},
    {"startswith", "prefix:str start:never? end:never?", HasAffix<true>},
    {"strip", "chars:str?", StripText<kBothEnds>},
    {"title", "", MapText<ToTitle>},
    {"upper", "", MapText<ToUpper>},
    {"casefold center count encode expandtabs format_map index isalnum isalpha isascii isdecimal "
     "isdigit isidentifier islower isnumeric isprintable isspace istitle isupper ljust maketrans "
     "partition removeprefix removesuffix rindex rjust rpartition rsplit splitlines swapcase "
     "translate zfill",
     "*", nullptr}};

constexpr Function kDictMethods[] = {{"copy", "", Copy},
                                     {"get", "key default?", DictGet},
                                     {"items", "", Items},
                                     {"keys", "", Keys},
                                     {"values", "", Values},
                                     {"fromkeys", "*", nullptr},
                                     {"clear pop popitem setdefault update", kUnsafe, nullptr}};

constexpr Function kListMethods[] = {
    {"copy", "", Copy},
    {"append clear pop reverse insert sort extend remove", kUnsafe, nullptr},
    {"count index", "*", nullptr}};

}  // namespace

const Function* FindFilter(std::string_view name) { return FindRow(kFilters, name); }

std::optional<Value> FindAttribute(const Value& object, std::string_view name) {
  if (object.kind() == Kind::kNamespace) {
    const Value* value = object.space().attributes.Find(name);
    return value != nullptr ? std::optional(*value) : std::nullopt;
  }
  if (object.kind() == Kind::kLoop) return object.loop().Attribute(name);
  std::span<const Function> rows;
  if (object.is_string()) rows = kStringMethods;
  if (object.is_dict()) rows = kDictMethods;
  if (object.has_subscript()) rows = kListMethods;
  const Function* row = FindRow(rows, name);
  if (row == nullptr) return std::nullopt;
  if (row->parameters != kUnsafe) return Bound("method", name, *row, object);
  return Value::MakeUndefined(
      fmt::format("access to attribute '{}' of '{}' object is unsafe", name, object.type_name()));
}

}  // namespace jinja
