#include <algorithm>

#include "jinja/expression_parser.h"
#include "jinja/parser.h"

namespace jinja {

Result<Target> ExpressionParser::ParseTarget(bool allow_attributes) {
  if (++nesting_ > kMaxExpressionDepth) return tokens_.Unexpected("fewer parentheses");
  JINJA_ASSIGN(Target first, ParseSingleTarget(allow_attributes));
  --nesting_;
  if (!tokens_.current().IsOperator(",")) return first;
  Target tuple;
  tuple.is_tuple = true;
  tuple.parts.push_back(std::move(first));
  while (tokens_.SkipOperator(",")) {
    const Token& token = tokens_.current();
    if (AtTupleEnd("in") || token.IsOperator("=")) break;
    JINJA_ASSIGN(Target part, ParseSingleTarget(allow_attributes));
    tuple.parts.push_back(std::move(part));
  }
  return tuple;
}

Result<Target> ExpressionParser::ParseSingleTarget(bool allow_attributes) {
  if (tokens_.SkipOperator("(")) {
    JINJA_ASSIGN(Target inner, ParseTarget(false));
    JINJA_RETURN_IF_ERROR(tokens_.ExpectOperator(")"));
    return inner;
  }
  static constexpr std::string_view kConstants[] = {"true", "false", "none",
                                                    "True", "False", "None"};
  const Token& token = tokens_.current();
  if (std::find(std::begin(kConstants), std::end(kConstants), token.text) != std::end(kConstants)) {
    return tokens_.Unexpected("a name to assign to");
  }
  Target target;
  JINJA_ASSIGN(target.name, tokens_.ExpectAnyName());
  if (allow_attributes && tokens_.SkipOperator(".")) {
    JINJA_ASSIGN(target.attribute, tokens_.ExpectAnyName());
  }
  return target;
}

}  // namespace jinja
