#include "jinja/filters.h"

#include <algorithm>
#include <cmath>

#include "jinja/environment.h"
#include "jinja/error.h"
#include "jinja/format.h"
#include "jinja/number_text.h"
#include "jinja/operators.h"
#include "jinja/parameters.h"
#include "jinja/text.h"
#include "jinja/text_edit.h"
#include "jinja/value_text.h"

namespace jinja {
namespace {

constexpr int64_t kMaxIndent = 1000;

template <std::string (*kMap)(std::string_view)>
Result<Value> MapText(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("filter", {}, 0, arguments));
  JINJA_ASSIGN(const std::string text, ToText(environment, self));
  return Value(kMap(text));
}

// The filter title begins words behind white space and - ( { [ < only, unlike str.title().
std::string TitleWords(std::string_view text) {
  std::string result;
  bool in_word = false;
  size_t word_begin = 0;
  const auto flush = [&](size_t end) {
    const std::string_view word = text.substr(word_begin, end - word_begin);
    const size_t first_size = OffsetOf(word, 1);
    result += ToUpper(word.substr(0, first_size)) + ToLower(word.substr(first_size));
  };
  for (size_t offset = 0; offset < text.size();) {
    const size_t begin = offset;
    const char32_t c = DecodeAt(text, &offset);
    const bool separates = IsSpace(c) || std::u32string_view(U"-({[<").find(c) < 5;
    if (separates && in_word) flush(begin);
    if (!separates && !in_word) word_begin = begin;
    if (separates) result += text.substr(begin, offset - begin);
    in_word = !separates;
  }
  if (in_word) flush(text.size());
  return result;
}

Result<Value> Default(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound,
               Parameters::Bind("default", {"default_value", "boolean"}, 0, arguments));
  const bool missing = self.is_undefined() || (bound.Truth(1, false) && !self.Truth());
  return missing ? bound.Get(0, Value(std::string())) : self;
}

Result<Value> String(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("string", {}, 0, arguments));
  if (self.is_string()) return self;
  JINJA_ASSIGN(std::string text, ToText(environment, self));
  return Value(std::move(text));
}

Result<Value> Trim(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound, Parameters::Bind("trim", {"chars"}, 0, arguments));
  JINJA_ASSIGN(const std::string text, ToText(environment, self));
  if (!bound.HasValue(0)) return Value(Strip(text, kBothEnds));
  JINJA_ASSIGN(const std::string characters, bound.Text(0, ""));
  JINJA_RETURN_IF_ERROR(environment.Step(ScanSteps(text, characters)));
  return Value(Strip(text, characters, kBothEnds));
}

Result<Value> ReplaceFilter(Environment& environment, const Value& self,
                            const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound,
               Parameters::Bind("replace", {"old", "new", "count"}, 2, arguments));
  JINJA_ASSIGN(const std::string text, ToText(environment, self));
  JINJA_ASSIGN(const std::string from, ToText(environment, bound[0]));
  JINJA_ASSIGN(const std::string to, ToText(environment, bound[1]));
  JINJA_ASSIGN(const int64_t count, bound.HasValue(2) ? bound.Integer(2, -1) : Result<int64_t>(-1));
  JINJA_ASSIGN(std::string result, Replace(environment, text, from, to, count));
  return Value(std::move(result));
}

// The white space of one level: a number of columns, or the text itself.
Result<std::string> IndentText(const Value& width) {
  if (width.is_string()) return width.string();
  if (!width.is_integral() || width.integer() > kMaxIndent) {
    return Invalid("an indent must be a string or an integer up to {}", kMaxIndent);
  }
  return std::string(static_cast<size_t>(std::max<int64_t>(width.integer(), 0)), ' ');
}

Result<Value> Indent(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound,
               Parameters::Bind("indent", {"width", "first", "blank"}, 0, arguments));
  if (!self.is_string()) return Invalid("indent needs a string, not '{}'", self.type_name());
  JINJA_ASSIGN(const std::string indent, IndentText(bound.Get(0, Value(int64_t{4}))));
  const bool blank = bound.Truth(2, false);
  const std::string text = self.string() + "\n";
  const std::vector<std::string_view> lines = SplitLines(text, false);
  JINJA_RETURN_IF_ERROR(environment.CheckSize(text.size() + lines.size() * indent.size()));
  std::string result = bound.Truth(1, false) ? indent : "";
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i != 0) result += '\n';
    if (i != 0 && (blank || !lines[i].empty())) result += indent;
    result += lines[i];
  }
  return Value(std::move(result));
}

Status ReadSeparators(const Value& value, JsonStyle* style) {
  JINJA_ASSIGN(const List separators, Iterate(value));
  if (separators.size() != 2 || !separators[0].is_string() || !separators[1].is_string()) {
    return Invalid("tojson(): separators must be two strings");
  }
  style->item_separator = separators[0].string();
  style->key_separator = separators[1].string();
  return {};
}

Result<Value> ToJsonFilter(Environment& environment, const Value& self,
                           const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound,
               Parameters::Bind("tojson", {"ensure_ascii", "indent", "separators", "sort_keys"}, 0,
                                arguments));
  JsonStyle style;
  style.ensure_ascii = bound.Truth(0, false);
  if (bound.HasValue(1)) {
    JINJA_ASSIGN(style.indent, IndentText(bound[1]));
    style.item_separator = ",";
  }
  if (bound.HasValue(2)) JINJA_RETURN_IF_ERROR(ReadSeparators(bound[2], &style));
  style.sort_keys = bound.Truth(3, false);
  JINJA_ASSIGN(std::string text, ToJson(environment, self, style));
  return Value(std::move(text));
}

std::optional<int64_t> TruncateToInteger(double number) {
  if (!(number > -0x1p63 && number < 0x1p63)) return std::nullopt;
  return static_cast<int64_t>(number);
}

Result<Value> Int(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound, Parameters::Bind("int", {"default", "base"}, 0, arguments));
  const Value fallback = bound.Get(0, Value(int64_t{0}));
  JINJA_ASSIGN(const int64_t base, bound.Integer(1, 10));
  if (self.is_undefined()) return Invalid("{}", self.reason());
  if (self.is_integral()) return Value(self.integer());
  std::optional<double> number;
  if (self.is_number()) number = self.number();
  if (self.is_string()) {
    if (base != 0 && (base < 2 || base > 36)) return fallback;
    if (const auto integer = ParseInt(self.string(), static_cast<int>(base))) {
      return Value(*integer);
    }
    number = ParseFloat(self.string());
  }
  if (!number || !std::isfinite(*number)) return fallback;
  const std::optional<int64_t> integer = TruncateToInteger(*number);
  if (!integer) return Invalid("{} does not fit 64 bits", *number);
  return Value(*integer);
}

Result<Value> Float(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound, Parameters::Bind("float", {"default"}, 0, arguments));
  if (self.is_undefined()) return Invalid("{}", self.reason());
  if (self.is_number()) return Value(self.number());
  const auto number = self.is_string() ? ParseFloat(self.string()) : std::nullopt;
  return number ? Value(*number) : bound.Get(0, Value(0.0));
}

Result<Value> Abs(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("abs", {}, 0, arguments));
  if (self.is_number() && !self.is_integral()) return Value(std::fabs(self.number()));
  if (self.is_integral() && self.integer() >= 0) return Value(self.integer());
  return Negate(self);
}

// Python's round(): half to even, exact in decimal because it goes through the decimal text.
double RoundDecimal(double number, int precision) {
  if (precision >= 0) return ParseFloat(fmt::format("{:.{}f}", number, precision)).value_or(number);
  const double scale = std::pow(10.0, -precision);
  return std::nearbyint(number / scale) * scale;
}

Result<Value> Round(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound,
               Parameters::Bind("round", {"precision", "method"}, 0, arguments));
  JINJA_ASSIGN(const int64_t precision, bound.Integer(0, 0));
  JINJA_ASSIGN(const std::string method, bound.Text(1, "common"));
  if (self.is_undefined()) return Invalid("{}", self.reason());
  if (!self.is_number()) return Invalid("round needs a number, not '{}'", self.type_name());
  if (precision < -300 || precision > 300) return Invalid("round to {} digits", precision);
  if (method == "common") {
    if (!self.is_integral()) return Value(RoundDecimal(self.number(), static_cast<int>(precision)));
    if (precision >= 0) return Value(self.integer());
    return Unsupported("round of an integer to {} digits", precision);
  }
  if (method != "ceil" && method != "floor") return Invalid("round by '{}'", method);
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = self.number() * scale;
  return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

Result<Value> WordCount(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("wordcount", {}, 0, arguments));
  JINJA_ASSIGN(const std::string text, ToText(environment, self));
  int64_t count = 0;
  bool in_word = false;
  for (size_t offset = 0; offset < text.size();) {
    const bool is_word = IsWordCharacter(DecodeAt(text, &offset));
    if (is_word && !in_word) ++count;
    in_word = is_word;
  }
  return Value(count);
}

Result<Value> Format(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const std::string format, ToText(environment, self));
  if (!arguments.positional.empty() && !arguments.keyword.empty()) {
    return Invalid("format takes positional or keyword arguments, not both");
  }
  Value values = Value::MakeSequence(SequenceKind::kTuple, arguments.positional);
  if (!arguments.keyword.empty()) {
    Dict dict;
    for (const auto& [name, value] : arguments.keyword) dict.Set(name, value);
    values = Value(std::move(dict));
  }
  JINJA_ASSIGN(std::string text, FormatPercent(environment, format, values));
  return Value(std::move(text));
}

Result<Value> Safe(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("safe", {}, 0, arguments));
  JINJA_ASSIGN(std::string text, ToText(environment, self));
  return Value(std::move(text), true);
}

Result<Value> Escape(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("escape", {}, 0, arguments));
  if (self.is_markup()) return self;
  JINJA_ASSIGN(const std::string text, ToText(environment, self));
  return Value(EscapeHtml(text), true);
}

constexpr FilterRow kRows[] = {{"abs", Abs},
                               {"capitalize", MapText<Capitalize>},
                               {"d", Default},
                               {"default", Default},
                               {"e", Escape},
                               {"escape", Escape},
                               {"float", Float},
                               {"format", Format},
                               {"indent", Indent},
                               {"int", Int},
                               {"lower", MapText<ToLower>},
                               {"replace", ReplaceFilter},
                               {"round", Round},
                               {"safe", Safe},
                               {"string", String},
                               {"title", MapText<TitleWords>},
                               {"tojson", ToJsonFilter},
                               {"trim", Trim},
                               {"upper", MapText<ToUpper>},
                               {"wordcount", WordCount}};

}  // namespace

const std::span<const FilterRow> kScalarFilters = kRows;

const FilterRow* FindFilter(std::string_view name) {
  for (const auto& rows : {kScalarFilters, kSequenceFilters}) {
    const auto row = std::find_if(rows.begin(), rows.end(), [&](const FilterRow& candidate) {
      return candidate.name == name;
    });
    if (row != rows.end()) return &*row;
  }
  return nullptr;
}

}  // namespace jinja
