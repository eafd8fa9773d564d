#include "jinja/value_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "jinja/operators.h"
#include "jinja/text.h"

namespace jinja {
namespace {

// repr(str): single quotes, unless only those occur in the text.
std::string PythonQuoted(std::string_view text) {
  const bool has_single = text.find('\'') != text.npos;
  const char quote = has_single && text.find('"') == text.npos ? '"' : '\'';
  std::string quoted(1, quote);
  for (const std::string_view part : SplitCodePoints(text)) {
    size_t offset = 0;
    const char32_t c = DecodeAt(part, &offset);
    const auto number = static_cast<uint32_t>(c);
    if (part[0] == quote || c == U'\\') {
      quoted += '\\';
      quoted += part;
    } else if (c == U'\n' || c == U'\r' || c == U'\t') {
      quoted += c == U'\n' ? "\\n" : c == U'\r' ? "\\r" : "\\t";
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
    if (value.kind() == Kind::kSequence) {
      WriteSequence(value.sequence());
    } else if (value.is_dict()) {
      WriteDict(value.dict());
    } else if (value.kind() == Kind::kNamespace && !is_json_) {
      if (++num_namespaces_ > kMaxValueDepth) Invalid("namespaces hold each other");
      text_ += "<Namespace ";
      WriteDict(value.space().attributes);
      text_ += '>';
      --num_namespaces_;
    } else {
      text_ += ScalarText(value);
    }
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
        if (!value.is_undefined()) Unsupported("'{}' has no text", value.type_name());
        return "Undefined";
    }
  }

  void WriteSequence(const Sequence& sequence) {
    static constexpr std::pair<std::string_view, std::string_view> kBrackets[] = {
        {"[", "]"},
        {"(", ")"},
        {},
        {"dict_keys([", "])"},
        {"dict_values([", "])"},
        {"dict_items([", "])"},
        {}};
    auto [open, close] = kBrackets[static_cast<size_t>(sequence.kind)];
    if (is_json_) {
      if (sequence.kind > SequenceKind::kTuple) Invalid("only lists and dicts are written as JSON");
      open = "[", close = "]";
    }
    if (open.empty()) Unsupported("a generator or range has no text; use the filter list");
    WriteItems(open, sequence.items, [&](const Value& item) { Write(item); });
    const bool is_single = sequence.kind == SequenceKind::kTuple && sequence.items.size() == 1;
    if (is_single && !is_json_) text_ += ',';
    text_ += close;
  }

  void WriteDict(const Dict& dict) {
    auto entries = dict.entries();
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [&](const auto& a, const auto& b) {
        return Order(environment_, a.first, b.first) < 0;
      });
    }
    WriteItems("{", entries, [&](const auto& entry) {
      const bool quotes = is_json_ && !entry.first.is_string();
      if (quotes) {
        text_ += '"' + ScalarText(entry.first) + '"';
      } else {
        Write(entry.first);
      }
      text_ += style_.key_separator;
      Write(entry.second);
    });
    text_ += '}';
  }

  template <typename Items, typename WriteItem>
  void WriteItems(std::string_view open, const Items& items, WriteItem write) {
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
  int num_namespaces_ = 0;
};

// `text` as from_chars takes it: without white space around, a plus, and underscores between
// digits; empty where Python would refuse it.
std::string PlainNumber(std::string_view text) {
  text = Strip(text, kBothEnds);
  if (text.starts_with('+') && text.size() > 1 && text[1] != '-') text.remove_prefix(1);
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool inside = i > 0 && i + 1 < text.size() && text[i - 1] != '_' && text[i - 1] != '-';
    if (text[i] == '(' || (text[i] == '_' && !inside)) return "";  // from_chars takes nan(...)
    if (text[i] != '_') digits += text[i];
  }
  return digits;
}

// Whether all of `digits` is a number; one out of range leaves `*value` as it was.
template <typename Number>
std::errc ParseWhole(const std::string& digits, Number* value) {
  const char* end = digits.data() + digits.size();
  const auto result = std::from_chars(digits.data(), end, *value);
  return digits.empty() || result.ptr != end ? std::errc::invalid_argument : result.ec;
}

}  // namespace

std::string ToRepr(Environment& environment, const Value& value) {
  return Writer(&environment, JsonStyle(), false).Run(value);
}

std::string ToText(Environment& environment, const Value& value) {
  if (value.is_string()) return value.string();
  return value.is_undefined() ? std::string() : ToRepr(environment, value);
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

std::string FloatText(double value) {
  std::string text = fmt::format("{}", value);
  const bool is_whole = text.find_first_not_of("-0123456789") == text.npos;
  return is_whole ? text + ".0" : text;
}

std::optional<int64_t> ParseInt(std::string_view text) {
  int64_t value = 0;
  if (ParseWhole(PlainNumber(text), &value) != std::errc()) return std::nullopt;
  return value;
}

std::optional<double> ParseFloat(std::string_view text) {
  const std::string digits = PlainNumber(text);
  double value = 0;
  const std::errc error = ParseWhole(digits, &value);
  if (error == std::errc::invalid_argument) return std::nullopt;
  if (error == std::errc::result_out_of_range) {
    const bool tiny = digits.find("e-") != digits.npos || digits.find("E-") != digits.npos;
    value = std::copysign(tiny ? 0.0 : HUGE_VAL, digits[0] == '-' ? -1 : 1);
  }
  return value;
}

}  // namespace jinja
