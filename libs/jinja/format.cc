#include "jinja/format.h"

#include <algorithm>
#include <charconv>

#include "jinja/text.h"
#include "jinja/value_text.h"

namespace jinja {
namespace {

constexpr int kMaxFieldWidth = 1000;

class PercentFormatter {
 public:
  PercentFormatter(Environment* environment, std::string_view format, const Value& values)
      : environment_(*environment), format_(format), values_(values) {}

  std::string Run() {
    while (position_ < format_.size()) {
      const size_t percent = std::min(format_.find('%', position_), format_.size());
      text_ += format_.substr(position_, percent - position_);
      position_ = percent;
      if (Skip("%")) FormatField();
      environment_.CheckSize(text_.size());
    }
    const bool is_tuple = values_.is_sequence(SequenceKind::kTuple);
    const size_t num_values = is_tuple ? values_.sequence().items.size() : 1;
    if (!values_.is_dict() && num_taken_ < num_values) {
      Invalid("not all arguments converted during string formatting");
    }
    return std::move(text_);
  }

 private:
  // One of `characters`, or 0 where another stands.
  char Skip(std::string_view characters) {
    if (position_ >= format_.size() || characters.find(format_[position_]) == characters.npos) {
      return 0;
    }
    return format_[position_++];
  }

  int Number() {
    int number = 0;
    while (const char digit = Skip("0123456789")) {
      number = number * 10 + (digit - '0');
      if (number > kMaxFieldWidth) Unsupported("a format width above {}", kMaxFieldWidth);
    }
    return number;
  }

  Value NextValue() {
    const bool is_tuple = values_.is_sequence(SequenceKind::kTuple);
    const size_t num_values = is_tuple ? values_.sequence().items.size() : 1;
    if (num_taken_ >= num_values) Invalid("not enough arguments for format string");
    ++num_taken_;
    return is_tuple ? values_.sequence().items[num_taken_ - 1] : values_;
  }

  void FormatField() {
    if (Skip("(")) Unsupported("%(name) is not supported");
    bool left = false;
    bool zero = false;
    while (const char flag = Skip("-0+ #")) {
      if (flag != '-' && flag != '0') Unsupported("the format flag '{}' is not supported", flag);
      (flag == '-' ? left : zero) = true;
    }
    const int width = Number();
    const int precision = Skip(".") ? Number() : -1;
    if (position_ >= format_.size()) Invalid("incomplete format");
    const char type = format_[position_++];
    if (type == '%') {
      text_ += '%';
      return;
    }
    std::string body = Convert(NextValue(), type, precision);
    const size_t size = CountCodePoints(body);
    const size_t margin = static_cast<size_t>(width) > size ? static_cast<size_t>(width) - size : 0;
    if (left) {
      text_ += body + std::string(margin, ' ');
    } else if (zero && type != 's' && type != 'r') {
      text_ += body.insert(body.starts_with('-') ? 1 : 0, margin, '0');
    } else {
      text_ += std::string(margin, ' ') + body;
    }
  }

  std::string Convert(const Value& value, char type, int precision) {
    if (type == 's' || type == 'r') {
      std::string text = type == 's' ? ToText(environment_, value) : ToRepr(environment_, value);
      if (precision >= 0) text.resize(OffsetOf(text, static_cast<size_t>(precision)));
      return text;
    }
    if (value.is_undefined()) Invalid("{}", value.reason());
    const bool whole = type == 'd' || type == 'i';
    if ((!whole && type != 'f') || (whole && precision >= 0)) {
      Unsupported("the format character '{}' is not supported", type);
    }
    if (!value.is_number()) {
      Invalid("%{} format: a number is required, not '{}'", type, value.type_name());
    }
    if (!whole) return fmt::format("{:.{}f}", value.number(), precision < 0 ? 6 : precision);
    if (!value.is_integral() && !(std::abs(value.number()) < 0x1p63)) {
      Invalid("{} does not fit 64 bits", value.number());
    }
    return std::to_string(value.is_integral() ? value.integer()
                                              : static_cast<int64_t>(value.number()));
  }

  Environment& environment_;
  std::string_view format_;
  const Value& values_;
  size_t position_ = 0;
  size_t num_taken_ = 0;
  std::string text_;
};

// The argument that the braces' content `field` names; `*next` counts the fields without a name.
Value FieldValue(std::string_view field, const Arguments& arguments, size_t* next) {
  if (field.ends_with(":d")) {
    const Value value = FieldValue(field.substr(0, field.size() - 2), arguments, next);
    if (!value.is_integral()) Invalid("format(): {{:d}} needs an integer");
    return Value(value.integer());
  }
  if (field.find_first_of("!:.[") != field.npos) {
    Unsupported("format(): the field '{}' is not supported", field);
  }
  size_t index = arguments.positional.size();
  if (field.empty()) {
    index = (*next)++;
  } else {
    std::from_chars(field.data(), field.data() + field.size(), index);
    for (const auto& [name, value] : arguments.keyword) {
      if (name == field) return value;
    }
  }
  if (index < arguments.positional.size()) return arguments.positional[index];
  Invalid("format(): no argument for the field '{}'", field);
}

}  // namespace

std::string FormatPercent(Environment& environment, std::string_view format, const Value& values) {
  return PercentFormatter(&environment, format, values).Run();
}

std::string FormatBraces(Environment& environment, std::string_view format,
                         const Arguments& arguments) {
  std::string text;
  size_t next = 0;
  for (size_t i = 0; i < format.size(); ++i) {
    const char c = format[i];
    if (c != '{' && c != '}') {
      text += c;
    } else if (i + 1 < format.size() && format[i + 1] == c) {
      text += c;
      ++i;
    } else {
      const size_t end = format.find('}', i);
      if (c == '}' || end == format.npos) Invalid("format(): a single '{}'", c);
      text += ToText(environment, FieldValue(format.substr(i + 1, end - i - 1), arguments, &next));
      environment.CheckSize(text.size());
      i = end;
    }
  }
  return text;
}

}  // namespace jinja
