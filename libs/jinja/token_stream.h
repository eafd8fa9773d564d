// The parser's place in the list of tokens. Not the grammar (expression_parser.h, parser.h).
#pragma once

#include <algorithm>
#include <span>
#include <string_view>

#include "jinja/error.h"
#include "jinja/lexer.h"

namespace jinja {

class TokenStream {
 public:
  explicit TokenStream(std::span<const Token> tokens) : tokens_(tokens) {}

  const Token& current() const { return Look(0); }
  const Token& Look(size_t ahead) const {
    return tokens_[std::min(position_ + ahead, tokens_.size() - 1)];
  }
  const Token& Next() {
    const Token& token = current();
    if (position_ + 1 < tokens_.size()) ++position_;
    return token;
  }
  bool SkipName(std::string_view name) { return SkipIf(current().IsName(name)); }
  bool SkipOperator(std::string_view symbol) { return SkipIf(current().IsOperator(symbol)); }

  Status ExpectName(std::string_view name) {
    return SkipName(name) ? Status() : Status(Unexpected(name));
  }
  Status ExpectOperator(std::string_view symbol) {
    return SkipOperator(symbol) ? Status() : Status(Unexpected(symbol));
  }
  Status ExpectKind(TokenKind kind) {
    Token wanted;
    wanted.kind = kind;
    return SkipIf(current().kind == kind) ? Status() : Status(Unexpected(Describe(wanted)));
  }
  Result<std::string> ExpectAnyName() {
    if (current().kind != TokenKind::kName) return Unexpected("a name");
    return Next().text;
  }

  tl::unexpected<Error> Unexpected(std::string_view wanted) const {
    return Invalid("template line {}: expected {}, found {}", current().line, wanted,
                   Describe(current()));
  }

 private:
  bool SkipIf(bool matches) {
    if (matches) Next();
    return matches;
  }

  std::span<const Token> tokens_;
  size_t position_ = 0;
};

}  // namespace jinja
