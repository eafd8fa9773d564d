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
struct Writer {
  void Write(const Value& value) {
    environment.Step();
    environment.CheckSize(text.size());
    if (value.is_dict()) return WriteDict(value.dict());
    const bool is_tuple = value.is_sequence(SequenceKind::kTuple);
    if (!is_tuple && !value.is_sequence(SequenceKind::kList)) {
      text += ScalarText(value);
      return;
    }
    const List& items = value.sequence().items;
    const bool round = is_tuple && !is_json;
    WriteItems(round ? '(' : '[', items, [&](const Value& item) { Write(item); });
    if (round && items.size() == 1) text += ',';
    text += round ? ')' : ']';
  }

  std::string ScalarText(const Value& value) const {
    switch (value.kind()) {
      case Kind::kNone:
        return is_json ? "null" : "None";
      case Kind::kBool:
        if (is_json) return value.boolean() ? "true" : "false";
        return value.boolean() ? "True" : "False";
      case Kind::kInt:
        return std::to_string(value.integer());
      case Kind::kFloat:
        if (!is_json || std::isfinite(value.number())) return FloatText(value.number());
        if (std::isnan(value.number())) return "NaN";
        return value.number() < 0 ? "-Infinity" : "Infinity";
      case Kind::kString:
        if (is_json) return nlohmann::json(value.string()).dump(-1, ' ', style.ensure_ascii);
        return value.is_markup() ? "Markup(" + PythonQuoted(value.string()) + ")"
                                 : PythonQuoted(value.string());
      default:
        if (is_json) Invalid("'{}' cannot be written as JSON", value.type_name());
        if (!value.is_undefined()) Unsupported("a {} has no text", value.type_name());
        return "Undefined";
    }
  }

  void WriteDict(const Dict& dict) {
    WriteItems('{', dict.entries(), [&](const auto& entry) {
      const std::string key = ScalarText(entry.first);
      text += is_json && !entry.first.is_string() ? '"' + key + '"' : key;
      text += style.key_separator;
      Write(entry.second);
    });
    text += '}';
  }

  template <typename Items, typename WriteItem>
  void WriteItems(char open, const Items& items, WriteItem write) {
    text += open;
    ++level;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i != 0) text += style.item_separator;
      BreakLine();
      write(items[i]);
    }
    --level;
    if (!items.empty()) BreakLine();
  }

  void BreakLine() {
    if (!style.indent) return;
    text += '\n';
    for (int i = 0; i < level; ++i) text += *style.indent;
  }

  Environment& environment;
  const JsonStyle& style;
  const bool is_json;
  std::string text;
  int level = 0;
};

std::string Written(Environment& environment, const Value& value, const JsonStyle& style,
                    bool is_json) {
  Writer writer{environment, style, is_json, "", 0};
  writer.Write(value);
  return std::move(writer.text);
}

// All of `text` as a number; nullopt where it is none, a failure where it does not fit.
template <typename Number>
std::optional<Number> ParseNumber(std::string_view text) {
  text = Strip(text, kBothEnds);
  if (text.find('_') != text.npos) Unsupported("underscores in a number are not supported");
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  Number value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool is_whole = result.ptr == text.data() + text.size() && !text.ends_with(')');
  if (!is_whole) return std::nullopt;
  if (result.ec == std::errc()) return value;
  if (result.ec != std::errc::result_out_of_range) return std::nullopt;
  Invalid("the number {:.40} does not fit 64 bits", text);
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
  return Written(environment, value, {}, false);
}

std::string ToJson(Environment& environment, const Value& value, const JsonStyle& style) {
  return Written(environment, value, style, true);
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
  while (!format.empty()) {
    const size_t percent = std::min(format.find('%'), format.size());
    text += format.substr(0, percent);
    environment.CheckSize(text.size());
    const std::string_view field = format.substr(percent, 2);
    format.remove_prefix(percent + field.size());
    if (field == "%s" && num_taken == items.size()) Invalid("not enough arguments for format");
    if (!field.empty() && field != "%s" && field != "%%") {
      Unsupported("the format {} is not supported", field);
    }
    if (!field.empty()) text += field == "%s" ? ToText(environment, items[num_taken++]) : "%";
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
