#include "jinja/lexer.h"

#include <algorithm>
#include <array>
#include <optional>

#include "jinja/error.h"
#include "jinja/number_text.h"
#include "jinja/string_literal.h"
#include "jinja/text.h"

namespace jinja {
namespace {

bool IsAsciiDigit(char c) { return c >= '0' && c <= '9'; }

std::string NormalizeNewlines(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      text += source[i];
      continue;
    }
    text += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  Result<std::vector<Token>> Run() {
    while (position_ < source_.size()) JINJA_RETURN_IF_ERROR(LexRoot());
    Emit(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  std::string_view Rest() const { return std::string_view(source_).substr(position_); }
  bool At(std::string_view text) const { return Rest().starts_with(text); }

  void Advance(size_t size) {
    const std::string_view passed = Rest().substr(0, size);
    line_ += static_cast<int>(std::count(passed.begin(), passed.end(), '\n'));
    position_ += passed.size();
    if (!passed.empty()) line_starting_ = passed.back() == '\n';
  }

  void Emit(TokenKind kind, std::string_view text) {
    tokens_.push_back({kind, line_, std::string(text), 0, 0});
  }

  size_t SpaceSize(std::string_view text) const {
    return text.size() - Strip(text, kLeftEnd).size();
  }

  // Bytes of a tag's end at `text`, with the white space that it takes along; 0 if there is none.
  // `trims` says whether one newline goes with it (trim_blocks).
  size_t EndSize(std::string_view text, std::string_view end, bool trims) const {
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
      const size_t last_newline = data.rfind('\n');
      const size_t line_begin = last_newline == data.npos ? 0 : last_newline + 1;
      if ((line_begin > 0 || line_starting_) && IsAllSpace(data.substr(line_begin))) {
        data = data.substr(0, line_begin);
      }
    }
    if (!data.empty()) Emit(TokenKind::kData, data);
    Advance(size);
  }

  size_t FindTag() const {
    const std::string_view rest = Rest();
    for (size_t i = 0; (i = rest.find('{', i)) != rest.npos; ++i) {
      const char next = i + 1 < rest.size() ? rest[i + 1] : '\0';
      if (next == '%' || next == '{' || next == '#') return i;
    }
    return rest.npos;
  }

  char SignAt(size_t offset) const {
    const std::string_view rest = Rest();
    return offset < rest.size() && (rest[offset] == '-' || rest[offset] == '+') ? rest[offset] : 0;
  }

  Status LexRoot() {
    const size_t tag = FindTag();
    if (tag == std::string_view::npos) {
      EmitData(source_.size() - position_, '+', false);
      return {};
    }
    const char type = Rest()[tag + 1];
    const char sign = SignAt(tag + 2);
    const size_t raw_size = type == '%' ? RawBeginSize(Rest().substr(tag)) : 0;
    EmitData(tag, sign, type == '{');
    const size_t tag_size = sign != 0 ? 3 : 2;
    if (raw_size != 0) {
      Advance(raw_size);
      return LexRaw();
    }
    if (type == '#') {
      Advance(tag_size);
      return LexComment();
    }
    Emit(type == '{' ? TokenKind::kPrintBegin : TokenKind::kBlockBegin, "");
    Advance(tag_size);
    return LexExpression(type == '{');
  }

  // Bytes of `{% raw %}` at `text`, 0 if another tag stands there.
  size_t RawBeginSize(std::string_view text) const {
    size_t size = 2 + (text.size() > 2 && (text[2] == '-' || text[2] == '+') ? 1 : 0);
    size += SpaceSize(text.substr(size));
    if (!text.substr(size).starts_with("raw")) return 0;
    size += 3;
    size += SpaceSize(text.substr(size));
    const size_t end_size = EndSize(text.substr(size), "%}", false);
    return end_size == 0 ? 0 : size + end_size;
  }

  Status LexRaw() {
    const int begin_line = line_;
    const std::string_view rest = Rest();
    for (size_t i = 0; (i = rest.find("{%", i)) != rest.npos; ++i) {
      const char sign = SignAt(i + 2);
      size_t size = i + 2 + (sign != 0 ? 1 : 0);
      size += SpaceSize(rest.substr(size));
      if (!rest.substr(size).starts_with("endraw")) continue;
      size += 6;
      size += SpaceSize(rest.substr(size));
      const size_t end_size = EndSize(rest.substr(size), "%}", true);
      if (end_size == 0) continue;
      EmitData(i, sign, false);
      Advance(size + end_size - i);
      return {};
    }
    return Invalid("template line {}: a raw block without its end", begin_line);
  }

  Status LexComment() {
    const std::string_view rest = Rest();
    for (size_t i = rest.find('#'); i != rest.npos; i = rest.find('#', i + 1)) {
      if (!rest.substr(i).starts_with("#}")) continue;
      const bool signed_end = i > 0 && (rest[i - 1] == '-' || rest[i - 1] == '+');
      const size_t begin = signed_end ? i - 1 : i;
      Advance(begin + EndSize(rest.substr(begin), "#}", true));
      return {};
    }
    return Invalid("template line {}: a comment without its end", line_);
  }

  // Tokens up to and with the end of a block ({% %}) or a print statement ({{ }}).
  Status LexExpression(bool is_print) {
    while (position_ < source_.size()) {
      const size_t end_size =
          brackets_.empty() ? EndSize(Rest(), is_print ? "}}" : "%}", !is_print) : 0;
      if (end_size != 0) {
        Emit(is_print ? TokenKind::kPrintEnd : TokenKind::kBlockEnd, "");
        Advance(end_size);
        return {};
      }
      const size_t space_size = SpaceSize(Rest());
      if (space_size != 0) {
        Advance(space_size);
      } else {
        JINJA_RETURN_IF_ERROR(LexToken());
      }
    }
    return {};
  }

  Status LexToken() {
    const char first = Rest()[0];
    if (IsAsciiDigit(first)) return LexNumber();
    if (first == '\'' || first == '"') return LexString(first);
    size_t name_size = 0;
    while (name_size < Rest().size()) {
      size_t next = name_size;
      if (!IsWordCharacter(DecodeAt(Rest(), &next))) break;
      name_size = next;
    }
    if (name_size == 0) return LexOperator();
    Emit(TokenKind::kName, Rest().substr(0, name_size));
    Advance(name_size);
    return {};
  }

  Status LexString(char quote) {
    const std::string_view rest = Rest();
    size_t end = 1;
    while (end < rest.size() && rest[end] != quote) end += rest[end] == '\\' ? 2 : 1;
    if (end >= rest.size()) return Invalid("template line {}: a string without its end", line_);
    auto text = UnescapeString(rest.substr(1, end - 1));
    if (!text) return Invalid("template line {}: {}", line_, text.error().message);
    Emit(TokenKind::kString, *text);
    Advance(end + 1);
    return {};
  }

  // Digits with single underscores between them.
  static size_t DigitsSize(std::string_view text) {
    size_t size = 0;
    while (size < text.size() &&
           (IsAsciiDigit(text[size]) || (text[size] == '_' && size > 0 && text[size - 1] != '_' &&
                                         size + 1 < text.size() && IsAsciiDigit(text[size + 1])))) {
      ++size;
    }
    return size;
  }

  // Bytes of a float at `text`, 0 if there is none: 1.5, 1e9, 1.5e-3.
  size_t FloatSize(std::string_view text) const {
    if (position_ > 0 && source_[position_ - 1] == '.') return 0;
    const size_t whole = DigitsSize(text);
    size_t size = whole;
    if (text.substr(size).starts_with('.')) {
      const size_t fraction = DigitsSize(text.substr(size + 1));
      if (fraction != 0) size += 1 + fraction;
    }
    if (size < text.size() && (text[size] | 0x20) == 'e') {
      size_t mark = size + 1;
      if (mark < text.size() && (text[mark] == '+' || text[mark] == '-')) ++mark;
      const size_t exponent = DigitsSize(text.substr(mark));
      if (exponent != 0) return mark + exponent;
    }
    return size == whole ? 0 : size;
  }

  static size_t IntegerSize(std::string_view text) {
    const auto is_hex = [](char c) {
      return IsAsciiDigit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
    };
    const char mark = text.size() > 2 ? static_cast<char>(text[1] | 0x20) : '\0';
    if (text[0] == '0' && (mark == 'x' || mark == 'o' || mark == 'b')) {
      const auto in_base = [&](char c) {
        return mark == 'x' ? is_hex(c) : c >= '0' && c <= (mark == 'o' ? '7' : '1');
      };
      size_t size = 2;
      while (size < text.size() && (in_base(text[size]) || text[size] == '_')) ++size;
      if (size > 2) return size;
    }
    if (text[0] != '0') return DigitsSize(text);
    size_t size = 1;
    while (size < text.size() && text[size] == '0') ++size;
    return size;
  }

  Status LexNumber() {
    Token token{TokenKind::kFloat, line_, "", 0, 0};
    size_t size = FloatSize(Rest());
    if (size != 0) {
      const std::optional<double> number = ParseFloat(Rest().substr(0, size));
      token.number = number.value_or(0);
    } else {
      size = IntegerSize(Rest());
      const std::optional<int64_t> integer = ParseInt(Rest().substr(0, size), 0);
      if (!integer) {
        return Invalid("template line {}: the number {} does not fit 64 bits", line_,
                       Rest().substr(0, std::min<size_t>(size, 40)));
      }
      token.kind = TokenKind::kInteger;
      token.integer = *integer;
    }
    tokens_.push_back(std::move(token));
    Advance(size);
    return {};
  }

  Status LexOperator() {
    static constexpr std::array<std::string_view, 26> kOperators = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    const auto symbol =
        std::find_if(kOperators.begin(), kOperators.end(), [&](auto text) { return At(text); });
    if (symbol == kOperators.end()) {
      return Invalid("template line {}: unexpected character '{}'", line_,
                     Rest().substr(0, OffsetOf(Rest(), 1)));
    }
    JINJA_RETURN_IF_ERROR(Balance((*symbol)[0]));
    Emit(TokenKind::kOperator, *symbol);
    Advance(symbol->size());
    return {};
  }

  Status Balance(char symbol) {
    static constexpr std::string_view kOpen = "([{";
    static constexpr std::string_view kClose = ")]}";
    if (const size_t open = kOpen.find(symbol); open != kOpen.npos) brackets_ += kClose[open];
    if (kClose.find(symbol) == kClose.npos) return {};
    if (brackets_.empty() || brackets_.back() != symbol) {
      return Invalid("template line {}: unexpected '{}'", line_, symbol);
    }
    brackets_.pop_back();
    return {};
  }

  const std::string source_;
  size_t position_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::string brackets_;  // the closing brackets that are due
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> Tokenize(std::string_view source) {
  if (!IsValidUtf8(source)) return Invalid("template: not valid UTF-8");
  return Lexer(NormalizeNewlines(source)).Run();
}

std::string Describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kData:
      return "text";
    case TokenKind::kBlockBegin:
      return "{%";
    case TokenKind::kBlockEnd:
      return "%}";
    case TokenKind::kPrintBegin:
      return "{{";
    case TokenKind::kPrintEnd:
      return "}}";
    case TokenKind::kString:
      return "a string";
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return "a number";
    case TokenKind::kEnd:
      return "the end of the template";
    default:
      return token.text.substr(0, 40);
  }
}

}  // namespace jinja
