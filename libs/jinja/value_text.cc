#include "jinja/value_text.h"

#include <algorithm>
#include <cmath>

#include "jinja/environment.h"
#include "jinja/error.h"
#include "jinja/loop.h"
#include "jinja/number_text.h"
#include "jinja/operators.h"
#include "jinja/string_literal.h"

namespace jinja {
namespace {

class ReprWriter {
 public:
  explicit ReprWriter(Environment* environment) : environment_(*environment) {}
  std::string Take() { return std::move(text_); }

  Status Write(const Value& value) {
    JINJA_RETURN_IF_ERROR(environment_.Step());
    JINJA_RETURN_IF_ERROR(environment_.CheckSize(text_.size()));
    switch (value.kind()) {
      case Kind::kUndefined:
        text_ += "Undefined";
        return {};
      case Kind::kNone:
        text_ += "None";
        return {};
      case Kind::kBool:
        text_ += value.boolean() ? "True" : "False";
        return {};
      case Kind::kInt:
        text_ += std::to_string(value.integer());
        return {};
      case Kind::kFloat:
        text_ += FloatText(value.number());
        return {};
      case Kind::kString:
        return WriteString(value);
      case Kind::kSequence:
        return WriteSequence(value.sequence());
      case Kind::kDict:
        return WriteDict(value.dict());
      case Kind::kNamespace:
        return WriteNamespace(value.space());
      case Kind::kCallable:
        return WriteMacro(value.callable());
      case Kind::kLoop:
        break;
    }
    return Unsupported("'{}' has no text", value.type_name());
  }

 private:
  Status WriteString(const Value& value) {
    const std::string quoted = PythonQuoted(value.string());
    text_ += value.is_markup() ? "Markup(" + quoted + ")" : quoted;
    return {};
  }

  Status WriteItems(const List& items, std::string_view open, std::string_view close) {
    text_ += open;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i != 0) text_ += ", ";
      JINJA_RETURN_IF_ERROR(Write(items[i]));
    }
    text_ += close;
    return {};
  }

  Status WriteSequence(const Sequence& sequence) {
    switch (sequence.kind) {
      case SequenceKind::kList:
        return WriteItems(sequence.items, "[", "]");
      case SequenceKind::kTuple:
        return WriteItems(sequence.items, "(", sequence.items.size() == 1 ? ",)" : ")");
      case SequenceKind::kRange: {
        const auto& [start, stop, step] = sequence.range;
        text_ += step == 1 ? fmt::format("range({}, {})", start, stop)
                           : fmt::format("range({}, {}, {})", start, stop, step);
        return {};
      }
      case SequenceKind::kKeys:
        return WriteItems(sequence.items, "dict_keys([", "])");
      case SequenceKind::kValues:
        return WriteItems(sequence.items, "dict_values([", "])");
      case SequenceKind::kItems:
        return WriteItems(sequence.items, "dict_items([", "])");
      case SequenceKind::kGenerator:
        break;
    }
    return Unsupported("a generator has no text; use the filter list");
  }

  Status WriteDict(const Dict& dict) {
    text_ += '{';
    for (size_t i = 0; i < dict.size(); ++i) {
      if (i != 0) text_ += ", ";
      JINJA_RETURN_IF_ERROR(Write(dict.entries()[i].first));
      text_ += ": ";
      JINJA_RETURN_IF_ERROR(Write(dict.entries()[i].second));
    }
    text_ += '}';
    return {};
  }

  Status WriteNamespace(const Namespace& space) {
    if (++num_namespaces_ > kMaxValueDepth) return Invalid("namespaces hold each other");
    text_ += "<Namespace ";
    JINJA_RETURN_IF_ERROR(WriteDict(space.attributes));
    text_ += '>';
    --num_namespaces_;
    return {};
  }

  Status WriteMacro(const Callable& callable) {
    if (callable.macro == nullptr) return Unsupported("a function has no text");
    text_ += "<Macro " + PythonQuoted(callable.name) + ">";
    return {};
  }

  Environment& environment_;
  std::string text_;
  int num_namespaces_ = 0;
};

class JsonWriter {
 public:
  JsonWriter(Environment* environment, const JsonStyle& style)
      : environment_(*environment), style_(style) {}
  std::string Take() { return std::move(text_); }

  Status Write(const Value& value) {
    JINJA_RETURN_IF_ERROR(environment_.Step());
    JINJA_RETURN_IF_ERROR(environment_.CheckSize(text_.size()));
    if (value.is_string()) {
      text_ += JsonQuoted(value.string(), style_.ensure_ascii);
    } else if (value.is_dict()) {
      return WriteDict(value.dict());
    } else if (value.is_sequence(SequenceKind::kList) || value.is_sequence(SequenceKind::kTuple)) {
      return WriteList(value.sequence().items);
    } else {
      JINJA_ASSIGN(const std::string text, ScalarText(value));
      text_ += text;
    }
    return {};
  }

 private:
  static Result<std::string> ScalarText(const Value& value) {
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
        return Invalid("'{}' cannot be written as JSON", value.type_name());
    }
  }

  void BreakLine() {
    if (!style_.indent) return;
    text_ += '\n';
    for (int i = 0; i < level_; ++i) text_ += *style_.indent;
  }

  Status WriteList(const List& items) {
    if (items.empty()) {
      text_ += "[]";
      return {};
    }
    text_ += '[';
    ++level_;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i != 0) text_ += style_.item_separator;
      BreakLine();
      JINJA_RETURN_IF_ERROR(Write(items[i]));
    }
    --level_;
    BreakLine();
    text_ += ']';
    return {};
  }

  Result<std::vector<const std::pair<Value, Value>*>> OrderedEntries(const Dict& dict) {
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries()) entries.push_back(&entry);
    if (!style_.sort_keys) return entries;
    Status status;
    std::stable_sort(entries.begin(), entries.end(), [&](const auto* a, const auto* b) {
      if (!status) return false;
      const auto order = Order(environment_, a->first, b->first);
      if (!order) status = tl::unexpected<Error>(order.error());
      return order && *order < 0;
    });
    JINJA_RETURN_IF_ERROR(status);
    return entries;
  }

  Status WriteDict(const Dict& dict) {
    if (dict.size() == 0) {
      text_ += "{}";
      return {};
    }
    JINJA_ASSIGN(const auto entries, OrderedEntries(dict));
    text_ += '{';
    ++level_;
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i != 0) text_ += style_.item_separator;
      BreakLine();
      const Value& key = entries[i]->first;
      if (key.is_string()) {
        text_ += JsonQuoted(key.string(), style_.ensure_ascii);
      } else {
        JINJA_ASSIGN(const std::string text, ScalarText(key));
        text_ += '"' + text + '"';
      }
      text_ += style_.key_separator;
      JINJA_RETURN_IF_ERROR(Write(entries[i]->second));
    }
    --level_;
    BreakLine();
    text_ += '}';
    return {};
  }

  Environment& environment_;
  const JsonStyle& style_;
  std::string text_;
  int level_ = 0;
};

}  // namespace

Result<std::string> ToRepr(Environment& environment, const Value& value) {
  ReprWriter writer(&environment);
  JINJA_RETURN_IF_ERROR(writer.Write(value));
  return writer.Take();
}

Result<std::string> ToText(Environment& environment, const Value& value) {
  if (value.is_string()) return value.string();
  if (value.is_undefined()) return std::string();
  return ToRepr(environment, value);
}

Result<std::string> ToJson(Environment& environment, const Value& value, const JsonStyle& style) {
  JsonWriter writer(&environment, style);
  JINJA_RETURN_IF_ERROR(writer.Write(value));
  return writer.Take();
}

std::string EscapeHtml(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      case '"':
        escaped += "&#34;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

}  // namespace jinja
