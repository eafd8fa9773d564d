// The part of the grammar between {{ and }}: precedence and shapes as in Jinja, which differ from
// Python's in places (a filter binds tighter than a minus sign; ** leans to the left).
// Not the statements (parser.h).
#pragma once

#include <set>
#include <string>

#include "jinja/ast.h"
#include "jinja/token_stream.h"

namespace jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream* tokens) : tokens_(*tokens) {}

  // An expression; with `conditional` false without the `a if b else c` form on the top level.
  Result<ExpressionPtr> ParseExpression(bool conditional = true);
  // One expression, or several with commas as a tuple. `stop_name` ends it (for x in ...
  // recursive).
  Result<ExpressionPtr> ParseTuple(bool conditional = true, std::string_view stop_name = "");
  // `name | filter(...) | ...`: the chain on captured text. Starts at the `|`, or at the first
  // filter's name when `inline_start`. Null when there is no filter.
  Result<ExpressionPtr> ParseFilterChain(bool inline_start);
  Result<Target> ParseTarget(bool allow_attributes);

  // Names read since the last time this was emptied; macros learn from it what they use.
  std::set<std::string, std::less<>>& names_read() { return names_read_; }

 private:
  Result<ExpressionPtr> ParseConditional();
  Result<ExpressionPtr> ParseOr();
  Result<ExpressionPtr> ParseAnd();
  Result<ExpressionPtr> ParseNot();
  Result<ExpressionPtr> ParseCompare();
  Result<ExpressionPtr> ParseSum();
  Result<ExpressionPtr> ParseConcat();
  Result<ExpressionPtr> ParseProduct();
  Result<ExpressionPtr> ParsePower();
  Result<ExpressionPtr> ParseUnary(bool with_filter);
  Result<ExpressionPtr> ParsePrimary();
  Result<ExpressionPtr> ParseNameOrConstant();
  Result<ExpressionPtr> ParseParenthesized();
  Result<ExpressionPtr> ParseListLiteral();
  Result<ExpressionPtr> ParseDictLiteral();
  Result<ExpressionPtr> ParsePostfix(ExpressionPtr object);
  Result<ExpressionPtr> ParseFiltersAndTests(ExpressionPtr input);
  Result<ExpressionPtr> ParseSubscript(ExpressionPtr object);
  Result<ExpressionPtr> ParseBracket(ExpressionPtr object, int line);
  Result<ExpressionPtr> ParseCall(ExpressionPtr callee);
  Result<ExpressionPtr> ParseFilter(ExpressionPtr input);
  Result<ExpressionPtr> ParseTest(ExpressionPtr input);
  Result<CallArguments> ParseArguments();
  Status ParseArgument(CallArguments* arguments);
  Result<Target> ParseSingleTarget(bool allow_attributes);
  bool AtTupleEnd(std::string_view stop_name) const;

  template <typename Node>
  Result<ExpressionPtr> Make(int line, int child_depth, Node node);

  TokenStream& tokens_;
  int nesting_ = 0;
  std::set<std::string, std::less<>> names_read_;
};

}  // namespace jinja
