#include "jinja/lexer.h"

#include <algorithm>
#include <charconv>

#include "jinja/error.h"
#include "jinja/operators.h"
#include "jinja/text.h"

namespace jinja {
namespace {

constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kWord =
    "0123456789_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

bool IsSign(char c) { return c == '-' || c == '+'; }

// Bytes at the beginning of `text` that are among `characters`.
size_t SpanOf(std::string_view text, std::string_view characters) {
  return std::min(text.find_first_not_of(characters), text.size());
}

size_t SpaceSize(std::string_view text) { return text.size() - Strip(text, kLeftEnd).size(); }

std::string NormalizeNewlines(std::string_view source) {
  std::string text;
  for (size_t i = 0; i < source.size(); ++i) {
    const bool is_return = source[i] == '\r';
    text += is_return ? '\n' : source[i];
    if (is_return && i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

// Bytes of a tag's end at `text`, with the white space that it takes along; 0 if there is none.
// `trims` says whether one newline goes with it (trim_blocks).
size_t EndSize(std::string_view text, std::string_view end, bool trims) {
  const bool has_sign = text.starts_with('-') || (trims && text.starts_with('+'));
  const size_t size = end.size() + (has_sign ? 1 : 0);
  if (!text.substr(has_sign ? 1 : 0).starts_with(end)) return 0;
  if (has_sign) return size + (text[0] == '-' ? SpaceSize(text.substr(size)) : 0);
  return size + (trims && text.substr(size).starts_with('\n') ? 1 : 0);
}

// Bytes of `{% name %}` at `text`, 0 if another tag stands there.
size_t NamedTagSize(std::string_view text, std::string_view name, bool trims) {
  if (!text.starts_with("{%")) return 0;
  size_t size = 2 + (text.size() > 2 && IsSign(text[2]) ? 1 : 0);
  size += SpaceSize(text.substr(size));
  if (!text.substr(size).starts_with(name)) return 0;
  size += name.size();
  size += SpaceSize(text.substr(size));
  const size_t end_size = EndSize(text.substr(size), "%}", trims);
  return end_size == 0 ? 0 : size + end_size;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  std::vector<Token> Run() {
    while (position_ < source_.size()) LexRoot();
    Emit(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  template <typename... Args>
  [[noreturn]] void Refuse(ErrorKind kind, fmt::format_string<Args...> format,
                           Args&&... args) const {
    Fail(kind, "template line {}: {}", line_, fmt::format(format, std::forward<Args>(args)...));
  }

  std::string_view Rest() const { return std::string_view(source_).substr(position_); }
  char At(size_t offset) const { return offset < Rest().size() ? Rest()[offset] : '\0'; }

  void Advance(size_t size) {
    const std::string_view passed = Rest().substr(0, size);
    line_ += static_cast<int>(std::count(passed.begin(), passed.end(), '\n'));
    position_ += passed.size();
    if (!passed.empty()) line_starting_ = passed.back() == '\n';
  }

  void Emit(TokenKind kind, std::string_view text) {
    tokens_.push_back({kind, line_, std::string(text), {}});
  }

  // Emits the next `size` bytes, for which the token stands, and passes them.
  void EmitNext(TokenKind kind, size_t size) {
    Emit(kind, Rest().substr(0, size));
    Advance(size);
  }

  // Emits the data before a tag whose sign is '-', '+' or something else, and passes it.
  void EmitData(size_t size, char sign, bool is_print) {
    std::string_view data = Rest().substr(0, size);
    if (sign == '-') {
      data = Strip(data, kRightEnd);
    } else if (sign != '+' && !is_print) {
      const size_t line_begin = data.rfind('\n') + 1;  // 0 for none
      if ((line_begin > 0 || line_starting_) && Strip(data.substr(line_begin), kLeftEnd).empty()) {
        data = data.substr(0, line_begin);
      }
    }
    if (!data.empty()) Emit(TokenKind::kData, data);
    Advance(size);
  }

  void LexRoot() {
    size_t tag = Rest().find('{');
    while (tag != std::string::npos && SpanOf(Rest().substr(tag + 1, 1), "%{#") == 0) {
      tag = Rest().find('{', tag + 1);
    }
    if (tag == std::string::npos) return EmitData(Rest().size(), '+', false);
    const char type = At(tag + 1);
    const char sign = At(tag + 2);
    const size_t raw_size = NamedTagSize(Rest().substr(tag), "raw", false);
    EmitData(tag, sign, type == '{');
    if (raw_size != 0) return LexRaw(raw_size);
    if (type == '#') return LexComment();
    EmitNext(TokenKind::kSymbol, 2);
    Advance(IsSign(sign) ? 1 : 0);
    LexExpression(type == '{');
  }

  void LexRaw(size_t tag_size) {
    Advance(tag_size);
    for (size_t i = 0; (i = Rest().find("{%", i)) != std::string::npos; ++i) {
      const size_t size = NamedTagSize(Rest().substr(i), "endraw", true);
      if (size == 0) continue;
      EmitData(i, At(i + 2), false);
      return Advance(size);
    }
    Refuse(ErrorKind::kInvalid, "a raw block without its end");
  }

  void LexComment() {
    const size_t end = Rest().find("#}", 2);
    if (end == std::string::npos) Refuse(ErrorKind::kInvalid, "a comment without its end");
    const size_t begin = end > 2 && IsSign(At(end - 1)) ? end - 1 : end;
    Advance(begin + EndSize(Rest().substr(begin), "#}", true));
  }

  // Tokens up to and with the end of a block ({% %}) or a print statement ({{ }}).
  void LexExpression(bool is_print) {
    const std::string_view end = is_print ? "}}" : "%}";
    while (position_ < source_.size()) {
      const size_t end_size = num_open_ == 0 ? EndSize(Rest(), end, !is_print) : 0;
      if (end_size != 0) {
        Emit(TokenKind::kSymbol, end);
        return Advance(end_size);
      }
      const size_t space_size = SpaceSize(Rest());
      space_size != 0 ? Advance(space_size) : LexToken();
    }
  }

  void LexToken() {
    const char first = At(0);
    const size_t word_size = SpanOf(Rest(), kWord);
    if (first == '\'' || first == '"') return LexString(first);
    if (word_size == 0) return LexOperator();
    if (SpanOf(Rest(), kDigits) != 0) return LexNumber();
    EmitNext(TokenKind::kName, word_size);
  }

  void LexString(char quote) {
    std::string text;
    size_t i = 1;
    while (i < Rest().size() && At(i) != quote) {
      if (At(i) != '\\') {
        text += At(i++);
      } else {
        i += 1 + AppendEscape(Rest().substr(i + 1), &text);
      }
    }
    if (At(i) != quote) Refuse(ErrorKind::kInvalid, "a string without its end");
    Emit(TokenKind::kString, text);
    Advance(i + 1);
  }

  // Appends what the escape at `rest` (behind the backslash) stands for; returns its size.
  size_t AppendEscape(std::string_view rest, std::string* text) const {
    static constexpr std::string_view kLetters = "\\'\"abfnrtv\n";
    static constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
    const char letter = rest.empty() ? '\0' : rest[0];
    if (const size_t place = kLetters.find(letter); place != kLetters.npos) {
      *text += kMeanings.substr(place, 1);  // nothing for a newline
      return 1;
    }
    const size_t num_digits = letter == 'x' ? 2 : letter == 'u' ? 4 : letter == 'U' ? 8 : 0;
    if (num_digits == 0) {
      if (letter == 'N' || (letter >= '0' && letter <= '7')) {
        Refuse(ErrorKind::kUnsupported, "the string escape \\{} is not supported", letter);
      }
      *text += '\\';  // an unknown escape stays as it is
      return 0;
    }
    const std::string_view digits = rest.substr(1, num_digits);
    uint32_t point = 0;
    const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), point, 16).ptr;
    if (digits.size() < num_digits || end != digits.data() + num_digits || point > 0x10ffff ||
        (point >= 0xd800 && point <= 0xdfff)) {
      Refuse(ErrorKind::kInvalid, "the string escape \\{}{} is not a character", letter, digits);
    }
    AppendUtf8(static_cast<char32_t>(point), text);
    return 1 + num_digits;
  }

  // 12 or 1.5, without the forms that no template uses: exponents, underscores, other bases.
  void LexNumber() {
    size_t end = SpanOf(Rest(), kDigits);
    const bool is_index = position_ > 0 && source_[position_ - 1] == '.';  // the 0 of a.0.1
    const bool is_whole =
        is_index || At(end) != '.' || SpanOf(Rest().substr(end + 1), kDigits) == 0;
    if (!is_whole) end += 1 + SpanOf(Rest().substr(end + 1), kDigits);
    const std::string_view text = Rest().substr(0, end);
    if (SpanOf(Rest().substr(end), kWord) != 0 || (is_whole && end > 1 && text[0] == '0')) {
      const size_t size = end + SpanOf(Rest().substr(end), kWord);
      Refuse(ErrorKind::kUnsupported, "the number {} is not supported", Rest().substr(0, size));
    }
    Value number;
    if (const auto integer = ParseInt(text); is_whole && integer) number = Value(*integer);
    if (const auto real = ParseFloat(text); !is_whole && real) number = Value(*real);
    if (number.is_none()) Refuse(ErrorKind::kInvalid, "{:.40} does not fit 64 bits", text);
    tokens_.push_back({TokenKind::kNumber, line_, "", number});
    Advance(end);
  }

  void LexOperator() {
    static constexpr std::string_view kPairs[] = {"//", "**", "==", "!=", ">=", "<="};
    const std::string_view pair = Rest().substr(0, 2);
    if (std::find(std::begin(kPairs), std::end(kPairs), pair) != std::end(kPairs)) {
      return EmitNext(TokenKind::kSymbol, 2);
    }
    if (SpanOf(Rest().substr(0, 1), "+-/*%~[](){}><=.:|,;") == 0) {
      Refuse(ErrorKind::kInvalid, "unexpected character '{}'",
             Rest().substr(0, OffsetOf(Rest(), 1)));
    }
    if (SpanOf(Rest().substr(0, 1), "([{") != 0) ++num_open_;
    if (SpanOf(Rest().substr(0, 1), ")]}") != 0 && num_open_ > 0) --num_open_;
    EmitNext(TokenKind::kSymbol, 1);
  }

  const std::string source_;
  size_t position_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  int num_open_ = 0;  // brackets; mismatches are the parser's
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> Tokenize(std::string_view source) {
  if (!IsValidUtf8(source)) Invalid("template: not valid UTF-8");
  return Lexer(NormalizeNewlines(source)).Run();
}

std::string Describe(const Token& token) {
  static constexpr std::string_view kNames[] = {"text",     "", "a string",
                                                "a number", "", "the end of the template"};
  const std::string_view name = kNames[static_cast<size_t>(token.kind)];
  return name.empty() ? token.text.substr(0, 40) : std::string(name);
}

}  // namespace jinja
