// Turns tokens into a syntax tree by Jinja's grammar. Filters, tests and tags that do not exist are
// refused here, whether or not they would be reached. Not a validator of names or types.
#pragma once

#include <span>

#include "jinja/ast.h"
#include "jinja/error.h"
#include "jinja/lexer.h"

namespace jinja {

inline constexpr int kMaxExpressionDepth = 200;
inline constexpr int kMaxStatementDepth = 60;

// `tokens` ends in kEnd. Errors name the line.
Result<Body> ParseTokens(std::span<const Token> tokens);

}  // namespace jinja
