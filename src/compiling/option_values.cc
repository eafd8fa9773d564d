// What follows from a row of the option table: texts, defaults, values read from a command line.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "compiling/target_table.h"
#include "expertile/option_table.h"

namespace expertile {
namespace {

template <typename T>
struct ValueOf {
  using Type = T;
  static constexpr bool kIsOptional = false;
};
template <typename T>
struct ValueOf<std::optional<T>> {
  using Type = T;
  static constexpr bool kIsOptional = true;
};
template <typename T>
constexpr bool kIsInteger = std::is_integral_v<T> && !std::is_same_v<T, bool>;

const CompileOptions& Defaults() {
  static const CompileOptions defaults;
  return defaults;
}

// visit(std::type_identity<T>(), is_optional) for the type of a row's values.
template <typename Visitor>
decltype(auto) VisitType(const OptionRow& row, Visitor&& visit) {
  return std::visit(
      [&]<typename T>(OptionAccess<T>) {
        return visit(std::type_identity<typename ValueOf<T>::Type>(), ValueOf<T>::kIsOptional);
      },
      row.field);
}

tl::unexpected<Error> Refuse(const OptionRow& row, std::string_view called, std::string_view text) {
  return InvalidArgument("{}: {}, expected {}", called, text.empty() ? "(empty)" : OneLine(text),
                         ValuesOf(row));
}

Status Read(const OptionRow& row, std::string_view text, std::string_view called, bool& value) {
  std::string word(text);
  std::ranges::transform(word, word.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const std::string_view yes : {"true", "yes", "on", "enable", "1", "t", "y"}) {
    if (word == yes) return value = true, Status();
  }
  for (const std::string_view no : {"false", "no", "off", "disable", "0", "f", "n"}) {
    if (word == no) return value = false, Status();
  }
  return Refuse(row, called, text);
}

template <typename T>
requires kIsInteger<T> Status Read(const OptionRow& row, std::string_view text,
                                   std::string_view called, T& value) {
  if (row.auto_value && text == "auto") return value = static_cast<T>(*row.auto_value), Status();
  T number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_number = end == text.data() + text.size() && failure != std::errc::invalid_argument;
  if (!is_number) return Refuse(row, called, text);
  if (failure != std::errc() || number == row.auto_value) return Refuse(row, row.name, text);
  value = number;
  return {};
}

Status Read(const OptionRow&, std::string_view text, std::string_view, std::string& value) {
  value = text;
  return {};
}

Status Read(const OptionRow&, std::string_view text, std::string_view,
            std::vector<std::string>& values) {
  values.emplace_back(text);
  return {};
}

template <typename T>
Status Read(const OptionRow& row, std::string_view text, std::string_view called,
            std::optional<T>& value) {
  if (text == "none") return value.reset(), Status();
  T given{};
  EXPERTILE_RETURN_IF_ERROR(Read(row, text, called, given));
  value = given;
  return {};
}

template <typename T>
std::string TextOf(const OptionRow& row, const T& value) {
  if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    return fmt::format("{}", fmt::join(value, ","));
  } else if constexpr (ValueOf<T>::kIsOptional) {
    return value ? TextOf(row, *value) : "none";
  } else {
    if constexpr (kIsInteger<T>) {
      if (row.auto_value && value == *row.auto_value) return "auto";
    }
    return fmt::format("{}", value);
  }
}

}  // namespace

std::string FlagOf(const OptionRow& row) {
  if (!row.flag.empty()) return std::string(row.flag);
  std::string flag = "--" + std::string(row.name);
  std::ranges::replace(flag, '_', '-');
  return flag;
}

std::string_view TypeOf(const OptionRow& row) {
  return VisitType(row, []<typename T>(std::type_identity<T>, bool) -> std::string_view {
    if constexpr (std::is_same_v<T, bool>) return "yes or no";
    if constexpr (kIsInteger<T>) return "integer";
    return std::is_same_v<T, std::string> ? "text" : "texts";
  });
}

std::string ValuesOf(const OptionRow& row) {
  if (row.choices != nullptr) return ListWords(row.choices(), "or");
  return VisitType(row, [&]<typename T>(std::type_identity<T>, bool is_optional) -> std::string {
    if constexpr (std::is_same_v<T, bool>) return "true or false";
    if constexpr (!kIsInteger<T>) return "";
    const std::string max =
        row.max_text.empty() ? fmt::format("{}", row.max) : std::string(row.max_text);
    const std::string range = fmt::format("{} to {}", row.min, max);
    if (!row.auto_value) return range;
    return (is_optional ? "none, auto, or " : "auto, or ") + range;
  });
}

std::string DefaultOf(const OptionRow& row) {
  return row.unset.empty() ? OptionText(row, Defaults()) : std::string(row.unset);
}

std::vector<std::string> HonouredBy(const OptionRow& row) {
  std::vector<std::string> names;
  for (const std::string& name : TargetNames()) {
    if (Honours(*FindTarget(name), row.group)) names.push_back(name);
  }
  return names;
}

Status SetOption(const OptionRow& row, std::string_view text, std::string_view called,
                 CompileOptions& options) {
  return VisitOption(row, options, [&](auto& field) { return Read(row, text, called, field); });
}

std::string OptionText(const OptionRow& row, const CompileOptions& options) {
  return VisitOption(row, options, [&](const auto& field) { return TextOf(row, field); });
}

bool IsDefault(const OptionRow& row, const CompileOptions& options) {
  return VisitOption(row, options, [&]<typename T>(const T& field) {
    return field == std::get<OptionAccess<T>>(row.field)(const_cast<CompileOptions&>(Defaults()));
  });
}

void SetDefault(const OptionRow& row, CompileOptions& options) {
  VisitOption(row, options, [&]<typename T>(T& field) {
    CompileOptions defaults;
    field = std::get<OptionAccess<T>>(row.field)(defaults);
  });
}

}  // namespace expertile
