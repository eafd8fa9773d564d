// Turns tokens into a syntax tree by Jinja's grammar, whose precedence differs from Python's in
// places (a filter binds tighter than a minus sign). Not a validator of names or types.
#pragma once

#include <span>

#include "jinja/ast.h"
#include "jinja/lexer.h"

namespace jinja {

inline constexpr int kMaxExpressionDepth = 200;
inline constexpr int kMaxStatementDepth = 60;

// `tokens` ends in kEnd. Failures name the line. As in Jinja, an unknown filter or test is one
// here, but inside of an if statement (not in a loop's or macro's body there) or of an inline if
// one when it is reached; what this library lacks is always one when it is reached.
Body ParseTokens(std::span<const Token> tokens);

}  // namespace jinja
