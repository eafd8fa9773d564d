#include <algorithm>
#include <charconv>
#include <cmath>

#include "jinja/operators.h"
#include "jinja/text.h"

namespace jinja {
namespace {

// repr(str): single quotes, unless only those occur in the text.
std::string PythonQuoted(std::string_view text) {
  static constexpr std::string_view kEscaped = "\\\n\r\t";
  static constexpr std::string_view kNames = "\\nrt";
  const bool has_single = text.find('\'') != text.npos;
  const char quote = has_single && text.find('"') == text.npos ? '"' : '\'';
  std::string quoted(1, quote);
  for (const std::string_view part : SplitCodePoints(text)) {
    size_t offset = 0;
    const char32_t c = DecodeAt(part, &offset);
    const auto number = static_cast<uint32_t>(c);
    if (const size_t place = kEscaped.find(part[0]); place != kEscaped.npos) {
      quoted += {'\\', kNames[place]};
    } else if (part[0] == quote) {
      quoted += {'\\', quote};
    } else if (IsPrintable(c)) {
      quoted += part;
    } else {
      quoted += c < 0x100     ? fmt::format("\\x{:02x}", number)
                : c < 0x10000 ? fmt::format("\\u{:04x}", number)
                              : fmt::format("\\U{:08x}", number);
    }
  }
  return quoted + quote;
}

// repr(float): the shortest text that reads back as the same number, always with a point or an
// exponent.
std::string FloatText(double value) {
  std::string text = fmt::format("{}", value);
  const bool is_whole = text.find_first_not_of("-0123456789") == text.npos;
  return is_whole ? text + ".0" : text;
}

// Both forms of a value: JSON in a style, or Python's repr.
class Writer {
 public:
  Writer(Environment* environment, const JsonStyle& style, bool is_json)
      : environment_(*environment), style_(style), is_json_(is_json) {}

  std::string Run(const Value& value) {
    Write(value);
    return std::move(text_);
  }

 private:
  void Write(const Value& value) {
    environment_.Step();
    environment_.CheckSize(text_.size());
    if (value.is_dict()) return WriteDict(value.dict());
    const bool is_tuple = value.is_sequence(SequenceKind::kTuple);
    if (!is_tuple && !value.is_sequence(SequenceKind::kList)) {
      text_ += ScalarText(value);
      return;
    }
    const List& items = value.sequence().items;
    const bool round = is_tuple && !is_json_;
    WriteItems(round ? '(' : '[', items, [&](const Value& item) { Write(item); });
    if (round && items.size() == 1) text_ += ',';
    text_ += round ? ')' : ']';
  }

  std::string ScalarText(const Value& value) const {
    switch (value.kind()) {
      case Kind::kNone:
        return is_json_ ? "null" : "None";
      case Kind::kBool:
        if (is_json_) return value.boolean() ? "true" : "false";
        return value.boolean() ? "True" : "False";
      case Kind::kInt:
        return std::to_string(value.integer());
      case Kind::kFloat:
        if (!is_json_ || std::isfinite(value.number())) return FloatText(value.number());
        if (std::isnan(value.number())) return "NaN";
        return value.number() < 0 ? "-Infinity" : "Infinity";
      case Kind::kString:
        if (is_json_) return nlohmann::json(value.string()).dump(-1, ' ', style_.ensure_ascii);
        return value.is_markup() ? "Markup(" + PythonQuoted(value.string()) + ")"
                                 : PythonQuoted(value.string());
      default:
        if (is_json_) Invalid("'{}' cannot be written as JSON", value.type_name());
        if (!value.is_undefined()) Unsupported("a {} has no text", value.type_name());
        return "Undefined";
    }
  }

  void WriteDict(const Dict& dict) {
    WriteItems('{', dict.entries(), [&](const auto& entry) {
      const std::string key = ScalarText(entry.first);
      text_ += is_json_ && !entry.first.is_string() ? '"' + key + '"' : key;
      text_ += style_.key_separator;
      Write(entry.second);
    });
    text_ += '}';
  }

  template <typename Items, typename WriteItem>
  void WriteItems(char open, const Items& items, WriteItem write) {
    text_ += open;
    ++level_;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i != 0) text_ += style_.item_separator;
      BreakLine();
      write(items[i]);
    }
    --level_;
    if (!items.empty()) BreakLine();
  }

  void BreakLine() {
    if (!style_.indent) return;
    text_ += '\n';
    for (int i = 0; i < level_; ++i) text_ += *style_.indent;
  }

  Environment& environment_;
  const JsonStyle& style_;
  const bool is_json_;
  std::string text_;
  int level_ = 0;
};

// All of `text` as a number; infinity where it is too large, nullopt where it is none.
template <typename Number>
std::optional<Number> ParseNumber(std::string_view text) {
  text = Strip(text, kBothEnds);
  if (text.find('_') != text.npos) Unsupported("underscores in a number are not supported");
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  Number value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool is_whole = result.ptr == text.data() + text.size() && !text.ends_with(')');
  if (result.ec == std::errc() && is_whole) return value;
  return std::nullopt;
}

// The argument that the braces' content `field` names; `*next` counts the fields without a name.
Value FieldValue(std::string_view field, const Arguments& arguments, size_t* next) {
  const bool is_integer = field.ends_with(":d");
  if (is_integer) field.remove_suffix(2);
  if (field.find_first_of("0123456789!:.[{") != field.npos) {
    Unsupported("format(): the field '{}' is not supported", field);
  }
  const Value* found = nullptr;
  for (const auto& [name, value] : arguments.keyword) found = name == field ? &value : found;
  if (field.empty() && *next < arguments.positional.size())
    found = &arguments.positional[(*next)++];
  if (found == nullptr) Invalid("format(): no argument for the field '{}'", field);
  if (is_integer && !found->is_integral()) Invalid("format(): {{:d}} needs an integer");
  return is_integer ? Value(found->integer()) : *found;
}

}  // namespace

std::string ToText(Environment& environment, const Value& value) {
  if (value.is_string()) return value.string();
  if (value.is_undefined()) return "";
  return Writer(&environment, JsonStyle(), false).Run(value);
}

std::string ToJson(Environment& environment, const Value& value, const JsonStyle& style) {
  return Writer(&environment, style, true).Run(value);
}

std::string EscapeHtml(std::string_view text) {
  static constexpr std::string_view kEntities[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  std::string escaped;
  for (const char& c : text) {
    const size_t place = std::string_view("&<>'\"").find(c);
    escaped += place < 5 ? kEntities[place] : std::string_view(&c, 1);
  }
  return escaped;
}

std::optional<int64_t> ParseInt(std::string_view text) { return ParseNumber<int64_t>(text); }
std::optional<double> ParseFloat(std::string_view text) { return ParseNumber<double>(text); }

std::string FormatPercent(Environment& environment, std::string_view format, const Value& values) {
  const bool is_tuple = values.is_sequence(SequenceKind::kTuple);
  const List items = is_tuple ? values.sequence().items : List{values};
  std::string text;
  size_t num_taken = 0;
  for (size_t i = 0; i < format.size(); ++i) {
    const std::string_view field = format.substr(i, 2);
    if (field[0] != '%' || field == "%%") {
      text += field[0];
      i += field == "%%" ? 1 : 0;
      continue;
    }
    if (num_taken == items.size()) Invalid("not enough arguments for format string");
    const Value& value = items[num_taken++];
    if (field != "%s" && !(field == "%d" && value.is_integral() && !value.is_bool())) {
      Unsupported("the format {} of a {} is not supported", field, value.type_name());
    }
    text += ToText(environment, value);
    environment.CheckSize(text.size());
    ++i;
  }
  if (values.is_dict() || num_taken == items.size()) return text;
  Invalid("not all arguments converted during string formatting");
}

std::string FormatBraces(Environment& environment, std::string_view format,
                         const Arguments& arguments) {
  std::string text;
  size_t next = 0;
  while (true) {
    const size_t brace = std::min(format.find_first_of("{}"), format.size());
    text += format.substr(0, brace);
    environment.CheckSize(text.size());
    if (brace == format.size()) return text;
    const size_t end = format.find('}', brace);
    if (end == format.npos) Invalid("format(): a single '{{'");
    if (end == brace) Unsupported("format(): '}}' without '{{' is not supported");
    const std::string_view field = format.substr(brace + 1, end - brace - 1);
    text += ToText(environment, FieldValue(field, arguments, &next));
    format.remove_prefix(end + 1);
  }
}

}  // namespace jinja
