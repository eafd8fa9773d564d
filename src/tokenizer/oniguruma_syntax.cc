#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer/oniguruma_syntax.h"

#include <pcre2.h>

#include <cctype>
#include <optional>

#include "base/error.h"

namespace expertile {
namespace {

// What \s, \w and \h mean to Oniguruma, as items of a PCRE2 character class. PCRE2's own \s has
// U+180E, its \w lacks marks and connectors, and its \h is horizontal space. The superscripts and
// fractions of Latin-1 are in Oniguruma's \w too, but only where it stands outside a class.
constexpr std::string_view kSpaceItems = "\\p{White_Space}";
constexpr std::string_view kWordItems = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
constexpr std::string_view kBareWordItems =
    "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}";
constexpr std::string_view kHexItems = "0-9A-Fa-f";

// `\p{name}` of PCRE2 matches script extensions; Oniguruma means the script itself.
bool IsScript(std::string_view name) {
  const std::string probe = fmt::format("\\p{{sc:{}}}", name);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(probe.data()), probe.size(),
                                   PCRE2_UTF, &error, &offset, nullptr);
  pcre2_code_free(code);
  return code != nullptr;
}

bool IsAsciiAlnum(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsHexDigit(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  Result<std::string> Run() {
    while (!AtEnd()) EXPERTILE_RETURN_IF_ERROR(in_class_ ? ClassItem() : Item());
    return std::move(out_);
  }

 private:
  bool AtEnd() const { return at_ >= pattern_.size(); }
  std::string_view Rest() const { return pattern_.substr(at_); }
  bool Sees(std::string_view text) const { return Rest().substr(0, text.size()) == text; }
  void Copy(size_t size) {
    out_ += pattern_.substr(at_, size);
    at_ += size;
  }
  void Replace(size_t size, std::string_view replacement) {
    out_ += replacement;
    at_ += size;
  }
  tl::unexpected<Error> Refuse(std::string_view construct) const {
    return Unsupported("regex {} at byte {} of '{}'", OneLine(construct), at_, OneLine(pattern_));
  }

  Status Item() {
    switch (pattern_[at_]) {
      case '\\':
        return Escape();
      case '[':
        return OpenClass();
      case '(':
        return OpenGroup();
      case '{':
        return Interval();
      default:
        Copy(1);
        return {};
    }
  }

  Status ClassItem() {
    if (pattern_[at_] == '\\') return Escape();
    if (pattern_[at_] == '[') return Refuse("nested character class");
    if (Sees("&&")) return Refuse("class intersection '&&'");
    if (pattern_[at_] == ']') in_class_ = false;
    Copy(1);
    return {};
  }

  Status OpenClass() {
    in_class_ = true;
    Copy(Sees("[^") ? 2 : 1);
    if (Sees("]")) Replace(1, "\\]");
    return {};
  }

  Status OpenGroup() {
    if (Sees("(*")) return Refuse("'(*'");
    if (!Sees("(?")) {
      Copy(1);
      return {};
    }
    for (const std::string_view plain : {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"}) {
      if (!Sees(plain)) continue;
      Copy(plain.size());
      return {};
    }
    return GroupOptions();
  }

  // (?im-im:…), or (?im-im) at the very start, where both libraries apply it to the whole. The
  // option m ("dot matches newline") is called s in PCRE2.
  Status GroupOptions() {
    size_t end = at_ + 2;
    std::string options;
    for (; end < pattern_.size() && std::string_view("im-").find(pattern_[end]) != Rest().npos;
         ++end) {
      options += pattern_[end] == 'm' ? 's' : pattern_[end];
    }
    const char close = end < pattern_.size() ? pattern_[end] : '\0';
    if (options.empty() || !(close == ':' || (close == ')' && at_ == 0))) {
      return Refuse(fmt::format("group '{}'", Rest().substr(0, 3)));
    }
    Replace(end + 1 - at_, fmt::format("(?{}{}", options, close));
    return {};
  }

  // {n}, {n,}, {n,m} and {,m}; any other brace is a literal.
  Status Interval() {
    size_t end = at_ + 1;
    const auto skip_digits = [&] {
      const size_t start = end;
      while (end < pattern_.size() && IsDigit(pattern_[end])) ++end;
      return end - start;
    };
    const size_t num_low = skip_digits();
    const bool has_comma = end < pattern_.size() && pattern_[end] == ',';
    if (has_comma) ++end;
    const size_t num_high = has_comma ? skip_digits() : 0;
    if (num_low + num_high == 0 || end >= pattern_.size() || pattern_[end] != '}') {
      Replace(1, "\\{");
      return {};
    }
    const char suffix = end + 1 < pattern_.size() ? pattern_[end + 1] : '\0';
    if (suffix == '+' || (suffix == '?' && !has_comma)) return Refuse("suffix of an interval");
    if (num_low == 0) Replace(1, "{0");
    Copy(end + 1 - at_);
    return {};
  }

  Status Escape() {
    if (at_ + 1 == pattern_.size()) return Refuse("trailing backslash");
    const char c = pattern_[at_ + 1];
    if (c == 'p' || c == 'P') return Property();
    if (c == 'x' || c == 'u') return CodePoint();
    if (const auto items = ClassEscape(c)) return *items;
    if (c == 'v') {
      Replace(2, "\\x0B");
      return {};
    }
    const std::string_view same = in_class_ ? "nrtfaeb" : "nrtfaeAzZG";
    if (IsAsciiAlnum(c) && same.find(c) == same.npos) return Refuse(fmt::format("'\\{}'", c));
    Copy(2);
    return {};
  }

  // \s \w \d \h and their complements; nothing if `c` is none of these.
  std::optional<Status> ClassEscape(char c) {
    std::string_view items;
    const char lower = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (lower == 's') items = kSpaceItems;
    if (lower == 'd') items = "\\p{Nd}";
    if (lower == 'w') items = in_class_ ? kWordItems : kBareWordItems;
    if (lower == 'h') items = kHexItems;
    if (items.empty()) return std::nullopt;
    const bool negated = c != lower;
    if (!in_class_) {
      Replace(2, fmt::format("[{}{}]", negated ? "^" : "", items));
    } else if (!negated) {
      Replace(2, items);
    } else if (c == 'S' || c == 'D') {
      Replace(2, fmt::format("\\P{}", items.substr(2)));
    } else {
      return Refuse(fmt::format("'\\{}' in a character class", c));
    }
    return Status();
  }

  Status Property() {
    const size_t close = Rest().find('}');
    if (!Rest().substr(2).starts_with('{') || close == Rest().npos) {
      return Refuse("'\\p' without braces");
    }
    std::string_view name = Rest().substr(3, close - 3);
    const bool caret = name.starts_with('^');
    if (caret) name.remove_prefix(1);
    const bool negated = caret != (pattern_[at_ + 1] == 'P');
    const std::string_view script = name.size() > 2 && IsScript(name) ? "sc:" : "";
    Replace(close + 1, fmt::format("\\{}{{{}{}}}", negated ? 'P' : 'p', script, name));
    return {};
  }

  // \x{H…}, \xHH below 0x80 (above, Oniguruma means a raw byte) and \uHHHH.
  Status CodePoint() {
    const bool braced = Sees("\\x{");
    const size_t num_expected = Sees("\\u") ? 4 : 2;
    const size_t start = at_ + (braced ? 3 : 2);
    size_t end = start;
    while (end < pattern_.size() && IsHexDigit(pattern_[end]) &&
           (braced || end - start < num_expected)) {
      ++end;
    }
    const std::string_view digits = pattern_.substr(start, end - start);
    const bool complete = braced ? end < pattern_.size() && pattern_[end] == '}' && !digits.empty()
                                 : digits.size() == num_expected;
    if (!complete || (num_expected == 2 && !braced && digits[0] > '7')) {
      return Refuse("code point escape");
    }
    Replace(end + (braced ? 1 : 0) - at_, fmt::format("\\x{{{}}}", digits));
    return {};
  }

  const std::string_view pattern_;
  size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

Result<std::string> Pcre2FromOniguruma(std::string_view pattern) {
  return Translator(pattern).Run();
}

}  // namespace expertile
