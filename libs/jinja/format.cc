// The % operator on strings, and str.format.
#include <algorithm>
#include <charconv>

#include "jinja/text.h"
#include "jinja/value_text.h"

namespace jinja {
namespace {

constexpr int kMaxFieldWidth = 1000;

// The number at the beginning of *rest, 0 for none, which is cut off.
int CutNumber(std::string_view* rest) {
  int number = 0;
  for (; !rest->empty() && rest->front() >= '0' && rest->front() <= '9'; rest->remove_prefix(1)) {
    number = number * 10 + (rest->front() - '0');
    if (number > kMaxFieldWidth) Unsupported("a format width above {}", kMaxFieldWidth);
  }
  return number;
}

// `value` as the conversion `type` writes it, without padding; a precision of -1 stands for none.
std::string Convert(Environment& environment, const Value& value, char type, int precision) {
  if (type == 's' || type == 'r') {
    std::string text = type == 's' ? ToText(environment, value) : ToRepr(environment, value);
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
  if (value.is_integral()) return std::to_string(value.integer());
  if (!(std::abs(value.number()) < 0x1p63)) Invalid("{} does not fit 64 bits", value.number());
  return std::to_string(static_cast<int64_t>(value.number()));
}

// The conversion of `value` at the beginning of *rest (behind the percent sign and its flags).
std::string FormatField(Environment& environment, std::string_view flags, std::string_view* rest,
                        const Value* value) {
  const auto width = static_cast<size_t>(CutNumber(rest));
  int precision = -1;
  if (rest->starts_with('.')) {
    rest->remove_prefix(1);
    precision = CutNumber(rest);
  }
  if (rest->empty()) Invalid("incomplete format");
  const char type = rest->front();
  rest->remove_prefix(1);
  if (type == '%') return "%";
  if (value == nullptr) Invalid("not enough arguments for format string");
  std::string body = Convert(environment, *value, type, precision);
  const size_t margin = width - std::min(width, CountCodePoints(body));
  if (flags.find('-') != flags.npos) return body + std::string(margin, ' ');
  const bool zeros = !flags.empty() && type != 's' && type != 'r';
  return body.insert(zeros && body.starts_with('-') ? 1 : 0, margin, zeros ? '0' : ' ');
}

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
  for (const auto& [name, value] : arguments.keyword) {
    if (name == field) return value;
  }
  size_t index = field.empty() ? (*next)++ : arguments.positional.size();
  std::from_chars(field.data(), field.data() + field.size(), index);
  if (index < arguments.positional.size()) return arguments.positional[index];
  Invalid("format(): no argument for the field '{}'", field);
}

}  // namespace

std::string FormatPercent(Environment& environment, std::string_view format, const Value& values) {
  const bool is_tuple = values.is_sequence(SequenceKind::kTuple);
  const List items = is_tuple ? values.sequence().items : List{values};
  std::string text;
  size_t num_taken = 0;
  while (true) {
    const size_t percent = std::min(format.find('%'), format.size());
    text += format.substr(0, percent);
    environment.CheckSize(text.size());
    if (percent == format.size()) break;
    format.remove_prefix(percent + 1);
    if (format.starts_with('(')) Unsupported("%(name) is not supported");
    const size_t num_flags = std::min(format.find_first_not_of("-0+ #"), format.size());
    const std::string_view flags = format.substr(0, num_flags);
    if (flags.find_first_of("+ #") != flags.npos) {
      Unsupported("the format flags '{}' are not supported", flags);
    }
    format.remove_prefix(num_flags);
    const Value* value = num_taken < items.size() ? &items[num_taken] : nullptr;
    text += FormatField(environment, flags, &format, value);
    num_taken += *(format.data() - 1) == '%' ? 0 : 1;  // a percent sign takes none
  }
  if (values.is_dict() || num_taken >= items.size()) return text;
  Invalid("not all arguments converted during string formatting");
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
