// Filters of single values, `value|name(arguments)`. tojson is the one of transformers: plain
// json.dumps, not HTML-safe.
#include <algorithm>
#include <cmath>

#include "jinja/format.h"
#include "jinja/functions.h"
#include "jinja/number_text.h"
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

// The filter title begins words behind white space and - ( { [ < only, unlike str.title().
std::string TitleWords(std::string_view text) {
  std::string result;
  bool in_word = false;
  for (const std::string_view part : SplitCodePoints(text)) {
    size_t offset = 0;
    const char32_t c = DecodeAt(part, &offset);
    result += in_word ? ToLower(part) : ToUpper(part);
    in_word = !IsSpace(c) && std::u32string_view(U"-({[<").find(c) == std::u32string_view::npos;
  }
  return result;
}

Value Default(Call& call) {
  const bool missing = call.self.is_undefined() || (call.Truth(1) && !call.self.Truth());
  return missing ? call.Get(0, Value(std::string())) : call.self;
}

Value Trim(Call& call) {
  const std::string text = call.SelfText();
  if (!call.Has(0)) return call.Like(Strip(text, kBothEnds));
  call.environment.Scan(text, call.Text(0));
  return call.Like(Strip(text, call.Text(0), kBothEnds));
}

Value ReplaceFilter(Call& call) {
  return call.Like(Replace(call.environment, call.SelfText(), ToText(call.environment, call[0]),
                           ToText(call.environment, call[1]), call.Integer(2, -1)));
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
  std::string text = call.self.string();
  text += '\n';
  const std::vector<std::string_view> lines = SplitLines(text, false);
  call.environment.CheckSize(text.size() + lines.size() * indent.size());
  std::string result;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i != 0) result += '\n';
    if (i == 0 ? call.Truth(1) : call.Truth(2) || !lines[i].empty()) result += indent;
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

Value Int(Call& call) {
  if (call.self.is_undefined()) Invalid("{}", call.self.reason());
  if (call.self.is_integral()) return Value(call.self.integer());
  std::optional<double> number;
  if (call.self.is_number()) number = call.self.number();
  if (call.self.is_string()) {
    if (const auto integer = ParseInt(call.self.string())) return Value(*integer);
    number = ParseFloat(call.self.string());
  }
  if (!number || !std::isfinite(*number)) return call.Get(0, Value(int64_t{0}));
  if (!(std::fabs(*number) < 0x1p63)) Invalid("{} does not fit 64 bits", *number);
  return Value(static_cast<int64_t>(*number));
}

Value Float(Call& call) {
  if (call.self.is_undefined()) Invalid("{}", call.self.reason());
  if (call.self.is_number()) return Value(call.self.number());
  const auto number = call.self.is_string() ? ParseFloat(call.self.string()) : std::nullopt;
  return number ? Value(*number) : call.Get(0, Value(0.0));
}

Value Format(Call& call) {
  if (!call.arguments.keyword.empty()) Unsupported("format with keyword arguments");
  const Value values = Value::MakeSequence(SequenceKind::kTuple, call.arguments.positional);
  return Value(FormatPercent(call.environment, call.SelfText(), values));
}

Value String(Call& call) { return call.self.is_string() ? call.self : Value(call.SelfText()); }
Value Safe(Call& call) { return Value(call.SelfText(), true); }

constexpr Function kRows[] = {
    {"capitalize", "", MapText<Capitalize>},
    {"default d", "default_value? boolean:bool?", Default},
    {"float", "default?", Float},
    {"format", "*", Format},
    {"indent", "width? first:bool? blank:bool?", Indent},
    {"int", "default? base:never?", Int},
    {"lower", "", MapText<ToLower>},
    {"replace", "old new count:int?", ReplaceFilter},
    {"safe", "", Safe},
    {"string", "", String},
    {"title", "", MapText<TitleWords>},
    {"tojson", "ensure_ascii:bool? indent? separators? sort_keys:bool?", ToJsonFilter},
    {"trim", "chars:str?", Trim},
    {"upper", "", MapText<ToUpper>},
    {"abs attr batch center e escape filesizeformat forceescape groupby pprint random round slice "
     "striptags sum truncate urlencode urlize wordcount wordwrap xmlattr",
     "*", nullptr}};

}  // namespace

const std::span<const Function> kScalarFilters = kRows;

}  // namespace jinja
