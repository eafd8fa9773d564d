#include <algorithm>

#include "jinja/environment.h"
#include "jinja/error.h"
#include "jinja/format.h"
#include "jinja/methods.h"
#include "jinja/operators.h"
#include "jinja/parameters.h"
#include "jinja/text.h"
#include "jinja/text_edit.h"

namespace jinja {
namespace {

template <StripEnds kEnds>
Result<Value> StripMethod(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound, Parameters::Bind("strip", {"chars"}, 0, arguments));
  if (!bound.HasValue(0)) return Value(Strip(self.string(), kEnds));
  JINJA_ASSIGN(const std::string characters, bound.Text(0, ""));
  JINJA_RETURN_IF_ERROR(environment.Step(ScanSteps(self.string(), characters)));
  return Value(Strip(self.string(), characters, kEnds));
}

template <std::string (*kMap)(std::string_view)>
Result<Value> MapMethod(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("case method", {}, 0, arguments));
  return Value(kMap(self.string()));
}

template <bool kFromRight>
Result<Value> SplitMethod(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound,
               Parameters::Bind("split", {"sep", "maxsplit"}, 0, arguments));
  JINJA_ASSIGN(const int64_t max_splits, bound.Integer(1, -1));
  std::string separator;
  if (bound.HasValue(0)) {
    JINJA_ASSIGN(separator, bound.Text(0, ""));
    if (separator.empty()) return Invalid("split(): empty separator");
  }
  JINJA_RETURN_IF_ERROR(environment.Step(ScanSteps(self.string(), separator)));
  List parts;
  for (const std::string_view part : Split(self.string(), separator, max_splits, kFromRight)) {
    parts.emplace_back(part);
  }
  JINJA_RETURN_IF_ERROR(environment.Allocate(parts.size() * 64 + self.string().size()));
  return Value::MakeList(std::move(parts));
}

template <bool kFromRight>
Result<Value> Partition(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound, Parameters::Bind("partition", {"sep"}, 1, arguments));
  JINJA_ASSIGN(const std::string separator, bound.Text(0, ""));
  if (separator.empty()) return Invalid("partition(): empty separator");
  const std::string_view text = self.string();
  JINJA_RETURN_IF_ERROR(environment.Step(ScanSteps(text, separator)));
  const size_t place = kFromRight ? text.rfind(separator) : text.find(separator);
  List parts;
  if (place != text.npos) {
    parts = {Value(text.substr(0, place)), Value(separator),
             Value(text.substr(place + separator.size()))};
  } else if (kFromRight) {
    parts = {Value(std::string()), Value(std::string()), Value(text)};
  } else {
    parts = {Value(text), Value(std::string()), Value(std::string())};
  }
  return Value::MakeSequence(SequenceKind::kTuple, std::move(parts));
}

Result<Value> SplitLinesMethod(Environment& environment, const Value& self,
                               const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound, Parameters::Bind("splitlines", {"keepends"}, 0, arguments));
  List lines;
  for (const std::string_view line : SplitLines(self.string(), bound.Truth(0, false))) {
    lines.emplace_back(line);
  }
  JINJA_RETURN_IF_ERROR(environment.Allocate(lines.size() * 64 + self.string().size()));
  return Value::MakeList(std::move(lines));
}

// The part of a text that start and end (code points, as in a slice) cut out.
struct Window {
  std::string_view text;
  size_t begin = 0;    // code points before it
  bool inside = true;  // false: begins behind the end, where not even "" is found
};

Result<Window> CutWindow(const Value& self, const Parameters& bound) {
  const std::string_view text = self.string();
  if (!bound.HasValue(1) && !bound.HasValue(2)) return Window{text};
  const int64_t size = static_cast<int64_t>(CountCodePoints(text));
  JINJA_ASSIGN(const int64_t start, bound.HasValue(1) ? bound.Integer(1, 0) : Result<int64_t>(0));
  JINJA_ASSIGN(const int64_t stop,
               bound.HasValue(2) ? bound.Integer(2, size) : Result<int64_t>(size));
  const auto clamp = [&](int64_t i) { return std::max<int64_t>(i < 0 ? i + size : i, 0); };
  const int64_t begin = clamp(start);
  const int64_t end = std::min(clamp(stop), size);
  if (begin > end) return Window{{}, 0, false};
  const size_t begin_offset = OffsetOf(text, static_cast<size_t>(begin));
  const size_t end_offset = OffsetOf(text, static_cast<size_t>(end));
  return Window{text.substr(begin_offset, end_offset - begin_offset), static_cast<size_t>(begin)};
}

template <bool kAtStart>
Result<Value> Affix(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound, Parameters::Bind(kAtStart ? "startswith" : "endswith",
                                                        {"affix", "start", "end"}, 1, arguments));
  JINJA_ASSIGN(const Window window, CutWindow(self, bound));
  const bool is_tuple = bound[0].is_sequence(SequenceKind::kTuple);
  for (const Value& affix : is_tuple ? bound[0].sequence().items : List{bound[0]}) {
    if (!affix.is_string()) {
      return Invalid("{}: expected a string, not '{}'", kAtStart ? "startswith" : "endswith",
                     affix.type_name());
    }
    const bool matches =
        kAtStart ? window.text.starts_with(affix.string()) : window.text.ends_with(affix.string());
    if (matches && window.inside) return Value(true);
  }
  return Value(false);
}

template <bool kFromRight, bool kRequired>
Result<Value> FindMethod(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound,
               Parameters::Bind("find", {"sub", "start", "end"}, 1, arguments));
  JINJA_ASSIGN(const std::string needle, bound.Text(0, ""));
  JINJA_ASSIGN(const Window window, CutWindow(self, bound));
  JINJA_RETURN_IF_ERROR(environment.Step(ScanSteps(window.text, needle)));
  const size_t place = kFromRight ? window.text.rfind(needle) : window.text.find(needle);
  if (place != window.text.npos && window.inside) {
    return Value(
        static_cast<int64_t>(window.begin + CountCodePoints(window.text.substr(0, place))));
  }
  if (kRequired) return Invalid("index(): substring not found");
  return Value(int64_t{-1});
}

Result<Value> CountMethod(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound,
               Parameters::Bind("count", {"sub", "start", "end"}, 1, arguments));
  JINJA_ASSIGN(const std::string needle, bound.Text(0, ""));
  JINJA_ASSIGN(const Window window, CutWindow(self, bound));
  JINJA_RETURN_IF_ERROR(environment.Step(ScanSteps(window.text, needle)));
  if (!window.inside) return Value(int64_t{0});
  if (needle.empty()) return Value(static_cast<int64_t>(CountCodePoints(window.text) + 1));
  int64_t count = 0;
  for (size_t i = 0; (i = window.text.find(needle, i)) != window.text.npos; i += needle.size()) {
    ++count;
  }
  return Value(count);
}

Result<Value> ReplaceMethod(Environment& environment, const Value& self,
                            const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound,
               Parameters::Bind("replace", {"old", "new", "count"}, 2, arguments));
  JINJA_ASSIGN(const std::string from, bound.Text(0, ""));
  JINJA_ASSIGN(const std::string to, bound.Text(1, ""));
  JINJA_ASSIGN(const int64_t count, bound.Integer(2, -1));
  JINJA_ASSIGN(std::string text, Replace(environment, self.string(), from, to, count));
  return Value(std::move(text));
}

Result<Value> JoinMethod(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound, Parameters::Bind("join", {"iterable"}, 1, arguments));
  JINJA_ASSIGN(const List items, Iterate(bound[0]));
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_string()) {
      return Invalid("join(): item {} is '{}', not a string", i, items[i].type_name());
    }
    if (i != 0) text += self.string();
    text += items[i].string();
    JINJA_RETURN_IF_ERROR(environment.CheckSize(text.size()));
  }
  return Value(std::move(text));
}

template <bool kPrefix>
Result<Value> RemoveAffix(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound, Parameters::Bind("removeprefix", {"affix"}, 1, arguments));
  JINJA_ASSIGN(const std::string affix, bound.Text(0, ""));
  std::string_view text = self.string();
  if (kPrefix && text.starts_with(affix)) text.remove_prefix(affix.size());
  if (!kPrefix && text.ends_with(affix)) text.remove_suffix(affix.size());
  return Value(text);
}

// How the width of ljust, rjust, center or zfill is spread: columns to the left and to the right.
enum class Justify { kLeft, kRight, kCenter };

template <Justify kSide>
Result<Value> JustifyMethod(Environment& environment, const Value& self,
                            const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound,
               Parameters::Bind("justify", {"width", "fillchar"}, 1, arguments));
  JINJA_ASSIGN(const int64_t width, bound.Integer(0, 0));
  JINJA_ASSIGN(const std::string fill, bound.Text(1, " "));
  if (CountCodePoints(fill) != 1) return Invalid("justify(): one fill character is needed");
  const int64_t size = static_cast<int64_t>(CountCodePoints(self.string()));
  if (width <= size) return self;
  JINJA_RETURN_IF_ERROR(environment.CheckSize(static_cast<size_t>(width)));
  const int64_t margin = width - size;
  const int64_t left = kSide == Justify::kLeft    ? 0
                       : kSide == Justify::kRight ? margin
                                                  : margin / 2 + (margin & width & 1);
  std::string text;
  for (int64_t i = 0; i < left; ++i) text += fill;
  text += self.string();
  for (int64_t i = left; i < margin; ++i) text += fill;
  return Value(std::move(text));
}

// True when every character passes and there is one.
template <bool (*kIs)(char32_t)>
Result<Value> AllCharacters(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("character test", {}, 0, arguments));
  const std::string& text = self.string();
  for (size_t offset = 0; offset < text.size();) {
    if (!kIs(DecodeAt(text, &offset))) return Value(false);
  }
  return Value(!text.empty());
}

template <bool kUpper>
Result<Value> CaseTest(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("case test", {}, 0, arguments));
  return Value(kUpper ? IsUpperText(self.string()) : IsLowerText(self.string()));
}

bool IsAlphanumeric(char32_t c) { return c != U'_' && IsWordCharacter(c); }

Result<Value> FormatMethod(Environment& environment, const Value& self,
                           const Arguments& arguments) {
  JINJA_ASSIGN(std::string text, FormatBraces(environment, self.string(), arguments));
  return Value(std::move(text));
}

constexpr MethodRow kRows[] = {{"capitalize", MapMethod<Capitalize>},
                               {"center", JustifyMethod<Justify::kCenter>},
                               {"count", CountMethod},
                               {"endswith", Affix<false>},
                               {"find", FindMethod<false, false>},
                               {"format", FormatMethod},
                               {"index", FindMethod<false, true>},
                               {"isalnum", AllCharacters<IsAlphanumeric>},
                               {"isalpha", AllCharacters<IsAlpha>},
                               {"isdecimal", AllCharacters<IsDigit>},
                               {"isdigit", AllCharacters<IsDigit>},
                               {"islower", CaseTest<false>},
                               {"isnumeric", AllCharacters<IsDigit>},
                               {"isspace", AllCharacters<IsSpace>},
                               {"isupper", CaseTest<true>},
                               {"join", JoinMethod},
                               {"ljust", JustifyMethod<Justify::kLeft>},
                               {"lower", MapMethod<ToLower>},
                               {"lstrip", StripMethod<kLeftEnd>},
                               {"partition", Partition<false>},
                               {"removeprefix", RemoveAffix<true>},
                               {"removesuffix", RemoveAffix<false>},
                               {"replace", ReplaceMethod},
                               {"rfind", FindMethod<true, false>},
                               {"rindex", FindMethod<true, true>},
                               {"rjust", JustifyMethod<Justify::kRight>},
                               {"rpartition", Partition<true>},
                               {"rsplit", SplitMethod<true>},
                               {"rstrip", StripMethod<kRightEnd>},
                               {"split", SplitMethod<false>},
                               {"splitlines", SplitLinesMethod},
                               {"startswith", Affix<true>},
                               {"strip", StripMethod<kBothEnds>},
                               {"title", MapMethod<ToTitle>},
                               {"upper", MapMethod<ToUpper>},
                               {"casefold", nullptr},
                               {"encode", nullptr},
                               {"expandtabs", nullptr},
                               {"format_map", nullptr},
                               {"isascii", nullptr},
                               {"isidentifier", nullptr},
                               {"isprintable", AllCharacters<IsPrintable>},
                               {"istitle", nullptr},
                               {"maketrans", nullptr},
                               {"swapcase", nullptr},
                               {"translate", nullptr},
                               {"zfill", nullptr}};

}  // namespace

const std::span<const MethodRow> kStringMethods = kRows;

}  // namespace jinja
