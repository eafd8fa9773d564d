// Cuts a template's source into tokens as Jinja's lexer does with trim_blocks and lstrip_blocks on
// and keep_trailing_newline off. Not the grammar (parser.cc).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "jinja/value.h"

namespace jinja {

enum class TokenKind { kData, kName, kString, kNumber, kSymbol, kEnd };

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 0;
  std::string text;  // data, name, unescaped string; operator, bracket or {% %} {{ }}
  Value number;
};

// The last token is kEnd. Failures name the line.
std::vector<Token> Tokenize(std::string_view source);

// What an error message calls the token.
std::string Describe(const Token& token);

}  // namespace jinja
