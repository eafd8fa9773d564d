#include "jinja/value_text.h"

#include <algorithm>
#include <cmath>

#include "jinja/number_text.h"
#include "jinja/operators.h"
#include "jinja/text.h"

namespace jinja {
namespace {

// The character of `letters` at c's place in `plain`, or 0.
char EscapeLetter(char32_t c, std::string_view plain, std::string_view letters) {
  const size_t place = c < 0x80 ? plain.find(static_cast<char>(c)) : plain.npos;
  return place == plain.npos ? '\0' : letters[place];
}

// repr(str): single quotes, unless only those occur in the text.
std::string PythonQuoted(std::string_view text) {
  const bool has_single = text.find('\'') != text.npos;
  const char quote = has_single && text.find('"') == text.npos ? '"' : '\'';
  std::string quoted(1, quote);
  for (size_t offset = 0; offset < text.size();) {
    const char32_t c = DecodeAt(text, &offset);
    const auto number = static_cast<uint32_t>(c);
    if (c == static_cast<char32_t>(quote)) {
      quoted += std::string("\\") + quote;
    } else if (const char letter = EscapeLetter(c, "\\\n\r\t", "\\nrt")) {
      quoted += std::string("\\") + letter;
    } else if (IsPrintable(c)) {
      AppendUtf8(c, &quoted);
    } else {
      quoted += c < 0x100     ? fmt::format("\\x{:02x}", number)
                : c < 0x10000 ? fmt::format("\\u{:04x}", number)
                              : fmt::format("\\U{:08x}", number);
    }
  }
  return quoted + quote;
}

// As json.dumps writes a string.
std::string JsonQuoted(std::string_view text, bool ensure_ascii) {
  std::string quoted = "\"";
  for (size_t offset = 0; offset < text.size();) {
    const char32_t c = DecodeAt(text, &offset);
    const auto number = static_cast<uint32_t>(c);
    if (const char letter = EscapeLetter(c, "\"\\\b\f\n\r\t", "\"\\bfnrt")) {
      quoted += std::string("\\") + letter;
    } else if (c < 0x20 || (ensure_ascii && c >= 0x7f && c < 0x10000)) {
      quoted += fmt::format("\\u{:04x}", number);
    } else if (ensure_ascii && c >= 0x10000) {
      quoted += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + ((number - 0x10000) >> 10),
                            0xdc00 + (number & 0x3ff));
    } else {
      AppendUtf8(c, &quoted);
    }
  }
  return quoted + '"';
}

class ReprWriter {
 public:
  explicit ReprWriter(Environment* environment) : environment_(*environment) {}

  std::string Run(const Value& value) {
    Write(value);
    return std::move(text_);
  }

 private:
  void Write(const Value& value) {
    environment_.Step();
    environment_.CheckSize(text_.size());
    switch (value.kind()) {
      case Kind::kUndefined:
        text_ += "Undefined";
        break;
      case Kind::kNone:
        text_ += "None";
        break;
      case Kind::kBool:
        text_ += value.boolean() ? "True" : "False";
        break;
      case Kind::kInt:
        text_ += std::to_string(value.integer());
        break;
      case Kind::kFloat:
        text_ += FloatText(value.number());
        break;
      case Kind::kString: {
        const std::string quoted = PythonQuoted(value.string());
        text_ += value.is_markup() ? "Markup(" + quoted + ")" : quoted;
        break;
      }
      case Kind::kSequence:
        WriteSequence(value.sequence());
        break;
      case Kind::kDict:
        WriteDict(value.dict());
        break;
      case Kind::kNamespace:
        if (++num_namespaces_ > kMaxValueDepth) Invalid("namespaces hold each other");
        text_ += "<Namespace ";
        WriteDict(value.space().attributes);
        text_ += '>';
        --num_namespaces_;
        break;
      default:
        Unsupported("'{}' has no text", value.type_name());
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
    const auto [open, close] = kBrackets[static_cast<size_t>(sequence.kind)];
    if (open.empty()) Unsupported("a generator or range has no text; use the filter list");
    text_ += open;
    for (size_t i = 0; i < sequence.items.size(); ++i) {
      if (i != 0) text_ += ", ";
      Write(sequence.items[i]);
    }
    if (sequence.kind == SequenceKind::kTuple && sequence.items.size() == 1) text_ += ',';
    text_ += close;
  }

  void WriteDict(const Dict& dict) {
    text_ += '{';
    for (size_t i = 0; i < dict.size(); ++i) {
      if (i != 0) text_ += ", ";
      Write(dict.entries()[i].first);
      text_ += ": ";
      Write(dict.entries()[i].second);
    }
    text_ += '}';
  }

  Environment& environment_;
  std::string text_;
  int num_namespaces_ = 0;
};

class JsonWriter {
 public:
  JsonWriter(Environment* environment, const JsonStyle& style)
      : environment_(*environment), style_(style) {}

  std::string Run(const Value& value) {
    Write(value);
    return std::move(text_);
  }

 private:
  void Write(const Value& value) {
    environment_.Step();
    environment_.CheckSize(text_.size());
    if (value.is_string()) {
      text_ += JsonQuoted(value.string(), style_.ensure_ascii);
    } else if (value.is_dict()) {
      const auto entries = OrderedEntries(value.dict());
      WriteItems('{', entries, '}', [&](const auto* entry) { WriteEntry(*entry); });
    } else if (value.is_sequence(SequenceKind::kList) || value.is_sequence(SequenceKind::kTuple)) {
      WriteItems('[', value.sequence().items, ']', [&](const Value& item) { Write(item); });
    } else {
      text_ += ScalarText(value);
    }
  }

  static std::string ScalarText(const Value& value) {
    switch (value.kind()) {
      case Kind::kNone:
        return "null";
      case Kind::kBool:
        return value.boolean() ? "true" : "false";
      case Kind::kInt:
        return std::to_string(value.integer());
      case Kind::kFloat:
        if (std::isnan(value.number())) return "NaN";
        if (std::isinf(value.number())) return value.number() < 0 ? "-Infinity" : "Infinity";
        return FloatText(value.number());
      default:
        Invalid("'{}' cannot be written as JSON", value.type_name());
    }
  }

  void WriteEntry(const std::pair<Value, Value>& entry) {
    const Value& key = entry.first;
    text_ += key.is_string() ? JsonQuoted(key.string(), style_.ensure_ascii)
                             : '"' + ScalarText(key) + '"';
    text_ += style_.key_separator;
    Write(entry.second);
  }

  void BreakLine() {
    if (!style_.indent) return;
    text_ += '\n';
    for (int i = 0; i < level_; ++i) text_ += *style_.indent;
  }

  template <typename Items, typename WriteItem>
  void WriteItems(char open, const Items& items, char close, WriteItem write) {
    text_ += open;
    ++level_;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i != 0) text_ += style_.item_separator;
      BreakLine();
      write(items[i]);
    }
    --level_;
    if (!items.empty()) BreakLine();
    text_ += close;
  }

  std::vector<const std::pair<Value, Value>*> OrderedEntries(const Dict& dict) {
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries()) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [&](const auto* a, const auto* b) {
        return Order(environment_, a->first, b->first) < 0;
      });
    }
    return entries;
  }

  Environment& environment_;
  const JsonStyle& style_;
  std::string text_;
  int level_ = 0;
};

}  // namespace

std::string ToRepr(Environment& environment, const Value& value) {
  return ReprWriter(&environment).Run(value);
}

std::string ToText(Environment& environment, const Value& value) {
  if (value.is_string()) return value.string();
  return value.is_undefined() ? std::string() : ToRepr(environment, value);
}

std::string ToJson(Environment& environment, const Value& value, const JsonStyle& style) {
  return JsonWriter(&environment, style).Run(value);
}

std::string EscapeHtml(std::string_view text) {
  static constexpr std::string_view kEntities[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  std::string escaped;
  for (const char c : text) {
    const size_t place = std::string_view("&<>'\"").find(c);
    if (place < 5) {
      escaped += kEntities[place];
    } else {
      escaped += c;
    }
  }
  return escaped;
}

}  // namespace jinja
