#include "jinja/format.h"

#include <algorithm>
#include <charconv>

#include "jinja/environment.h"
#include "jinja/error.h"
#include "jinja/text.h"
#include "jinja/value_text.h"

namespace jinja {
namespace {

constexpr int kMaxFieldWidth = 1000;

struct Conversion {
  bool left = false, plus = false, space = false, zero = false, alternate = false;
  int width = 0;
  int precision = -1;
  char type = 's';
};

class PercentFormatter {
 public:
  PercentFormatter(Environment* environment, std::string_view format, const Value& values)
      : environment_(*environment), format_(format), values_(values) {}

  Result<std::string> Run() {
    while (position_ < format_.size()) {
      const size_t percent = std::min(format_.find('%', position_), format_.size());
      text_ += format_.substr(position_, percent - position_);
      position_ = percent;
      if (percent == format_.size()) break;
      ++position_;
      JINJA_RETURN_IF_ERROR(FormatField());
      JINJA_RETURN_IF_ERROR(environment_.CheckSize(text_.size()));
    }
    const bool is_tuple = values_.is_sequence(SequenceKind::kTuple);
    const size_t num_values = is_tuple ? values_.sequence().items.size() : 1;
    if ((is_tuple || !values_.is_dict()) && num_taken_ < num_values) {
      return Invalid("not all arguments converted during string formatting");
    }
    return std::move(text_);
  }

 private:
  bool Skip(char c) {
    if (position_ >= format_.size() || format_[position_] != c) return false;
    ++position_;
    return true;
  }

  Result<Value> NextValue() {
    if (values_.is_sequence(SequenceKind::kTuple)) {
      const List& items = values_.sequence().items;
      if (num_taken_ < items.size()) return items[num_taken_++];
    } else if (num_taken_ == 0) {
      ++num_taken_;
      return values_;
    }
    return Invalid("not enough arguments for format string");
  }

  Result<Value> NamedValue() {
    const size_t end = format_.find(')', position_);
    if (end == format_.npos) return Invalid("incomplete format key");
    if (!values_.is_dict()) return Invalid("format requires a mapping");
    const std::string_view name = format_.substr(position_, end - position_);
    position_ = end + 1;
    const Value* value = values_.dict().Find(name);
    if (value == nullptr) return Invalid("format key '{}' is missing", name);
    return *value;
  }

  Result<int> Number() {
    int number = 0;
    const char* begin = format_.data() + position_;
    const auto result = std::from_chars(begin, format_.data() + format_.size(), number);
    if (result.ptr == begin) return 0;
    if (result.ec != std::errc() || number > kMaxFieldWidth || number < 0) {
      return Unsupported("a format width or precision above {}", kMaxFieldWidth);
    }
    position_ += static_cast<size_t>(result.ptr - begin);
    return number;
  }

  Result<Conversion> ParseConversion() {
    Conversion conversion;
    while (position_ < format_.size()) {
      if (Skip('-')) {
        conversion.left = true;
      } else if (Skip('+')) {
        conversion.plus = true;
      } else if (Skip(' ')) {
        conversion.space = true;
      } else if (Skip('0')) {
        conversion.zero = true;
      } else if (Skip('#')) {
        conversion.alternate = true;
      } else {
        break;
      }
    }
    JINJA_ASSIGN(conversion.width, Number());
    if (Skip('.')) {
      JINJA_ASSIGN(conversion.precision, Number());
    }
    if (position_ >= format_.size()) return Invalid("incomplete format");
    conversion.type = format_[position_++];
    return conversion;
  }

  Status FormatField() {
    std::optional<Value> value;
    if (Skip('(')) {
      JINJA_ASSIGN(value, NamedValue());
    }
    JINJA_ASSIGN(const Conversion conversion, ParseConversion());
    if (conversion.type == '%') {
      text_ += '%';
      return {};
    }
    if (!value) {
      JINJA_ASSIGN(value, NextValue());
    }
    JINJA_ASSIGN(std::string body, FormatValue(*value, conversion));
    Pad(std::move(body), conversion);
    return {};
  }

  Result<std::string> FormatValue(const Value& value, const Conversion& conversion) {
    if (conversion.type == 's' || conversion.type == 'r') {
      JINJA_ASSIGN(std::string text, conversion.type == 's' ? ToText(environment_, value)
                                                            : ToRepr(environment_, value));
      if (conversion.precision >= 0) {
        text.resize(OffsetOf(text, static_cast<size_t>(conversion.precision)));
      }
      return text;
    }
    if (value.is_undefined()) return Invalid("{}", value.reason());
    static constexpr std::string_view kNumberTypes = "diuxXofFeEgG";
    if (kNumberTypes.find(conversion.type) == kNumberTypes.npos) {
      return Unsupported("the format character '{}' is not supported", conversion.type);
    }
    if (!value.is_number()) {
      return Invalid("%{} format: a number is required, not '{}'", conversion.type,
                     value.type_name());
    }
    return FormatNumber(value, conversion);
  }

  static Result<std::string> FormatNumber(const Value& value, const Conversion& conversion) {
    static constexpr std::string_view kFloatTypes = "fFeEgG";
    const std::string sign = conversion.plus ? "+" : conversion.space ? " " : "";
    if (conversion.alternate) return Unsupported("the format flag '#' is not supported");
    if (kFloatTypes.find(conversion.type) != kFloatTypes.npos) {
      const int precision = conversion.precision < 0 ? 6 : conversion.precision;
      const std::string format = fmt::format("{{:.{}{}}}", precision, conversion.type);
      const std::string text = fmt::format(fmt::runtime(format), value.number());
      return text.starts_with('-') ? text : sign + text;
    }
    if (!value.is_integral() &&
        (conversion.type == 'x' || conversion.type == 'X' || conversion.type == 'o')) {
      return Invalid("%{} format: an integer is required, not '{}'", conversion.type,
                     value.type_name());
    }
    const double number = value.number();
    if (!value.is_integral() && !(number > -0x1p63 && number < 0x1p63)) {
      return Invalid("{} does not fit 64 bits", number);
    }
    const int64_t integer = value.is_integral() ? value.integer() : static_cast<int64_t>(number);
    const uint64_t magnitude =
        integer < 0 ? 0 - static_cast<uint64_t>(integer) : static_cast<uint64_t>(integer);
    std::string digits = conversion.type == 'x'   ? fmt::format("{:x}", magnitude)
                         : conversion.type == 'X' ? fmt::format("{:X}", magnitude)
                         : conversion.type == 'o' ? fmt::format("{:o}", magnitude)
                                                  : fmt::format("{}", magnitude);
    const size_t num_digits = static_cast<size_t>(std::max(conversion.precision, 0));
    if (digits.size() < num_digits) digits.insert(0, num_digits - digits.size(), '0');
    return (integer < 0 ? "-" : sign) + digits;
  }

  void Pad(std::string body, const Conversion& conversion) {
    const size_t size = CountCodePoints(body);
    const size_t width = static_cast<size_t>(conversion.width);
    const size_t margin = width > size ? width - size : 0;
    const bool is_text = conversion.type == 's' || conversion.type == 'r';
    if (conversion.left) {
      text_ += body + std::string(margin, ' ');
    } else if (conversion.zero && !is_text) {
      const bool has_sign = body.find_first_of("+- ") == 0;
      text_ += body.insert(has_sign ? 1 : 0, margin, '0');
    } else {
      text_ += std::string(margin, ' ') + body;
    }
  }

  Environment& environment_;
  std::string_view format_;
  const Value& values_;
  size_t position_ = 0;
  size_t num_taken_ = 0;
  std::string text_;
};

// The argument that the braces' content `field` names; `*next` counts the fields without a name.
Result<Value> FieldValue(std::string_view field, const Arguments& arguments, size_t* next) {
  if (field.find_first_of("!:.[") != field.npos) {
    return Unsupported("format(): the field '{}' is not supported", field);
  }
  size_t index = arguments.positional.size();
  if (field.empty()) {
    index = (*next)++;
  } else if (std::all_of(field.begin(), field.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    std::from_chars(field.data(), field.data() + field.size(), index);
  } else {
    for (const auto& [name, value] : arguments.keyword) {
      if (name == field) return value;
    }
  }
  if (index < arguments.positional.size()) return arguments.positional[index];
  return Invalid("format(): no argument for the field '{}'", field);
}

}  // namespace

Result<std::string> FormatPercent(Environment& environment, std::string_view format,
                                  const Value& values) {
  return PercentFormatter(&environment, format, values).Run();
}

Result<std::string> FormatBraces(Environment& environment, std::string_view format,
                                 const Arguments& arguments) {
  std::string text;
  size_t next = 0;
  for (size_t i = 0; i < format.size(); ++i) {
    const char c = format[i];
    if (c != '{' && c != '}') {
      text += c;
      continue;
    }
    if (i + 1 < format.size() && format[i + 1] == c) {
      text += c;
      ++i;
      continue;
    }
    const size_t end = format.find('}', i);
    if (c == '}' || end == format.npos) return Invalid("format(): a single '{}'", c);
    JINJA_ASSIGN(const Value value,
                 FieldValue(format.substr(i + 1, end - i - 1), arguments, &next));
    JINJA_ASSIGN(const std::string part, ToText(environment, value));
    text += part;
    JINJA_RETURN_IF_ERROR(environment.CheckSize(text.size()));
    i = end;
  }
  return text;
}

}  // namespace jinja
