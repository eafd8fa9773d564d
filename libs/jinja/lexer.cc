#include "jinja/lexer.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "jinja/error.h"
#include "jinja/text.h"
#include "jinja/value_text.h"

namespace jinja {
namespace {

bool IsAsciiDigit(char c) { return c >= '0' && c <= '9'; }
bool IsSign(char c) { return c == '-' || c == '+'; }

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

// The code point of `size` hexadecimal digits at the beginning of `digits`.
char32_t NumericEscape(std::string_view digits, size_t size, int line) {
  uint32_t code_point = 0;
  const char* end = digits.data() + std::min(size, digits.size());
  const auto result = std::from_chars(digits.data(), end, code_point, 16);
  if (digits.size() < size || result.ptr != end)
    Invalid("template line {}: a string escape without its digits", line);
  if (code_point > 0x10ffff || (code_point >= 0xd800 && code_point <= 0xdfff)) {
    Invalid("template line {}: the string escape {:x} is not a character", line, code_point);
  }
  return static_cast<char32_t>(code_point);
}

// Appends what the escape at `rest` (behind the backslash) stands for; returns its size.
size_t AppendEscape(std::string_view rest, int line, std::string* text) {
  static constexpr std::string_view kLetters = "\\'\"abfnrtv";
  static constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
  if (const size_t letter = kLetters.find(rest[0]); letter != kLetters.npos) {
    *text += kMeanings[letter];
    return 1;
  }
  if (rest[0] == '\n') return 1;
  if (rest[0] == 'N')
    Unsupported("template line {}: the string escape \\N{{...}} is not supported", line);
  const size_t num_hex = rest[0] == 'x' ? 2 : rest[0] == 'u' ? 4 : rest[0] == 'U' ? 8 : 0;
  if (num_hex != 0) {
    AppendUtf8(NumericEscape(rest.substr(1), num_hex, line), text);
    return 1 + num_hex;
  }
  if (rest[0] >= '0' && rest[0] <= '7') {
    Unsupported("template line {}: the string escape \\{} is not supported", line, rest[0]);
  }
  *text += '\\';  // an unknown escape stays as it is
  return 0;
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
  [[noreturn]] void Refuse(fmt::format_string<Args...> format, Args&&... args) const {
    Invalid("template line {}: {}", line_, fmt::format(format, std::forward<Args>(args)...));
  }

  std::string_view Rest() const { return std::string_view(source_).substr(position_); }

  void Advance(size_t size) {
    const std::string_view passed = Rest().substr(0, size);
    line_ += static_cast<int>(std::count(passed.begin(), passed.end(), '\n'));
    position_ += passed.size();
    if (!passed.empty()) line_starting_ = passed.back() == '\n';
  }

  void Emit(TokenKind kind, std::string_view text) {
    tokens_.push_back({kind, line_, std::string(text), {}});
  }

  static size_t SpaceSize(std::string_view text) {
    return text.size() - Strip(text, kLeftEnd).size();
  }

  // Bytes of a tag's end at `text`, with the white space that it takes along; 0 if there is none.
  // `trims` says whether one newline goes with it (trim_blocks).
  static size_t EndSize(std::string_view text, std::string_view end, bool trims) {
    if (text.starts_with('-') && text.substr(1).starts_with(end)) {
      return 1 + end.size() + SpaceSize(text.substr(1 + end.size()));
    }
    if (trims && text.starts_with('+') && text.substr(1).starts_with(end)) return 1 + end.size();
    if (!text.starts_with(end)) return 0;
    return end.size() + (trims && text.substr(end.size()).starts_with('\n') ? 1 : 0);
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

  // Where the next {% or {{ or {# is.
  size_t FindTag() const {
    const std::string_view rest = Rest();
    size_t i = rest.find('{');
    while (i != rest.npos && rest.substr(i + 1, 1).find_first_of("%{#") != 0)
      i = rest.find('{', i + 1);
    return i;
  }

  char SignAt(size_t offset) const {
    return offset < Rest().size() && IsSign(Rest()[offset]) ? Rest()[offset] : '\0';
  }

  void LexRoot() {
    const size_t tag = FindTag();
    if (tag == std::string_view::npos) return EmitData(source_.size() - position_, '+', false);
    const char type = Rest()[tag + 1];
    const char sign = SignAt(tag + 2);
    const size_t raw_size = NamedTagSize(Rest().substr(tag), "raw", false);
    EmitData(tag, sign, type == '{');
    if (raw_size != 0) {
      Advance(raw_size);
      return LexRaw();
    }
    const bool is_print = type == '{';
    if (type != '#') Emit(is_print ? TokenKind::kPrintBegin : TokenKind::kBlockBegin, "");
    Advance(sign != 0 ? 3 : 2);
    if (type == '#') return LexComment();
    LexExpression(is_print);
  }

  // Bytes of `{% name %}` at `text`, 0 if another tag stands there.
  static size_t NamedTagSize(std::string_view text, std::string_view name, bool trims) {
    if (!text.starts_with("{%")) return 0;
    size_t size = 2 + (text.size() > 2 && IsSign(text[2]) ? 1 : 0);
    size += SpaceSize(text.substr(size));
    if (!text.substr(size).starts_with(name)) return 0;
    size += name.size();
    size += SpaceSize(text.substr(size));
    const size_t end_size = EndSize(text.substr(size), "%}", trims);
    return end_size == 0 ? 0 : size + end_size;
  }

  void LexRaw() {
    const std::string_view rest = Rest();
    for (size_t i = 0; (i = rest.find("{%", i)) != rest.npos; ++i) {
      const size_t size = NamedTagSize(rest.substr(i), "endraw", true);
      if (size == 0) continue;
      EmitData(i, SignAt(i + 2), false);
      return Advance(size);
    }
    Refuse("a raw block without its end");
  }

  void LexComment() {
    const size_t end = Rest().find("#}");
    if (end == std::string_view::npos) Refuse("a comment without its end");
    const size_t begin = end > 0 && IsSign(Rest()[end - 1]) ? end - 1 : end;
    Advance(begin + EndSize(Rest().substr(begin), "#}", true));
  }

  // Tokens up to and with the end of a block ({% %}) or a print statement ({{ }}).
  void LexExpression(bool is_print) {
    while (position_ < source_.size()) {
      const size_t end_size =
          num_open_ == 0 ? EndSize(Rest(), is_print ? "}}" : "%}", !is_print) : 0;
      if (end_size != 0) {
        Emit(is_print ? TokenKind::kPrintEnd : TokenKind::kBlockEnd, "");
        return Advance(end_size);
      }
      const size_t space_size = SpaceSize(Rest());
      if (space_size != 0) {
        Advance(space_size);
      } else {
        LexToken();
      }
    }
  }

  void LexToken() {
    const char first = Rest()[0];
    if (IsAsciiDigit(first)) return LexNumber();
    if (first == '\'' || first == '"') return LexString(first);
    size_t name_size = 0;
    for (size_t next = 0; next < Rest().size(); name_size = next) {
      if (!IsWordCharacter(DecodeAt(Rest(), &next))) break;
    }
    if (name_size == 0) return LexOperator();
    Emit(TokenKind::kName, Rest().substr(0, name_size));
    Advance(name_size);
  }

  void LexString(char quote) {
    const std::string_view rest = Rest();
    std::string text;
    size_t i = 1;
    while (i < rest.size() && rest[i] != quote) {
      if (rest[i] != '\\') {
        text += rest[i++];
      } else if (i + 1 < rest.size()) {
        i += 1 + AppendEscape(rest.substr(i + 1), line_, &text);
      } else {
        break;
      }
    }
    if (i >= rest.size() || rest[i] != quote) Refuse("a string without its end");
    Emit(TokenKind::kString, text);
    Advance(i + 1);
  }

  // 12, 1_000, 1.5, 1e9, 1.5e-3; without the other bases, which no template uses.
  void LexNumber() {
    const std::string_view rest = Rest();
    const auto digits_end = [&](size_t begin) {
      if (begin >= rest.size() || !IsAsciiDigit(rest[begin])) return begin;
      return std::min(rest.find_first_not_of("0123456789_", begin), rest.size());
    };
    size_t end = digits_end(0);
    const size_t whole_end = end;
    const bool is_index = position_ > 0 && source_[position_ - 1] == '.';  // the 0 of a.0.1
    if (!is_index && rest.substr(end).starts_with('.') && digits_end(end + 1) > end + 1) {
      end = digits_end(end + 1);
    }
    if (!is_index && end < rest.size() && (rest[end] | 0x20) == 'e') {
      const size_t mark = end + (end + 1 < rest.size() && IsSign(rest[end + 1]) ? 2 : 1);
      if (digits_end(mark) > mark) end = digits_end(mark);
    }
    const std::string_view text = rest.substr(0, end);
    const bool is_whole = end == whole_end;
    if ((is_whole && text[0] == '0' && end > 1) ||
        (text == "0" && end < rest.size() && std::string_view("xXoObB").find(rest[end]) < 6)) {
      Fail(ErrorKind::kUnsupported, "template line {}: the number {} is not decimal", line_, text);
    }
    const std::optional<int64_t> integer = is_whole ? ParseInt(text) : std::nullopt;
    const std::optional<double> number = is_whole ? std::nullopt : ParseFloat(text);
    if (!integer && !number) {
      Refuse("the number {} does not fit 64 bits", text.substr(0, 40));
    }
    tokens_.push_back({TokenKind::kNumber, line_, "", integer ? Value(*integer) : Value(*number)});
    Advance(end);
  }

  void LexOperator() {
    static constexpr std::string_view kOperators[] = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    const auto symbol = std::find_if(std::begin(kOperators), std::end(kOperators),
                                     [&](auto text) { return Rest().starts_with(text); });
    if (symbol == std::end(kOperators)) {
      Refuse("unexpected character '{}'", Rest().substr(0, OffsetOf(Rest(), 1)));
    }
    Balance((*symbol)[0]);
    Emit(TokenKind::kOperator, *symbol);
    Advance(symbol->size());
  }

  // Mismatches are the parser's.
  void Balance(char symbol) {
    if (std::string_view("([{").find(symbol) < 3) ++num_open_;
    if (std::string_view(")]}").find(symbol) < 3 && num_open_ > 0) --num_open_;
  }

  const std::string source_;
  size_t position_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  int num_open_ = 0;  // brackets
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> Tokenize(std::string_view source) {
  if (!IsValidUtf8(source)) Invalid("template: not valid UTF-8");
  return Lexer(NormalizeNewlines(source)).Run();
}

std::string Describe(const Token& token) {
  static constexpr std::string_view kNames[] = {
      "text", "{%", "%}", "{{", "}}", "", "a string", "a number", "", "the end of the template"};
  const std::string_view name = kNames[static_cast<size_t>(token.kind)];
  return name.empty() ? token.text.substr(0, 40) : std::string(name);
}

}  // namespace jinja
