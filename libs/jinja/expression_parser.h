// The part of the grammar between {{ and }}, and the parser's place in the list of tokens.
// Not the statements (parser.cc).
#pragma once

#include <algorithm>
#include <initializer_list>
#include <span>
#include <string_view>

#include "jinja/ast.h"
#include "jinja/error.h"
#include "jinja/lexer.h"

namespace jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(std::span<const Token> tokens) : tokens_(tokens) {}

 protected:
  const Token& current() const { return tokens_[position_]; }
  const Token& Next();
  // Whether the token `ahead` of the current one is this name or operator.
  bool At(std::string_view text, size_t ahead = 0) const;
  bool Skip(std::string_view text);
  void Expect(std::string_view text);
  void ExpectKind(TokenKind kind);
  std::string ExpectName();
  [[noreturn]] void Unexpected(std::string_view wanted) const;

  // An expression; without `conditional` none of the form `a if b else c` on its top level.
  NodePtr ParseExpression(bool conditional = true);
  // One expression, or several with commas as a tuple. `stop` ends it (for x in ... recursive).
  NodePtr ParseTuple(bool conditional = true, std::string_view stop = "");
  // `|name(...)|...` on captured text, or `name(...)|...` when `inline_start`; null for no filter.
  NodePtr ParseFilterChain(bool inline_start);
  // A name, with `attributes` also name.attribute, or several with commas.
  NodePtr ParseTarget(bool attributes);
  NodePtr Make(NodeKind kind, int line, std::vector<NodePtr> parts = {}, std::string name = "",
               std::vector<Argument> arguments = {}) const;
  static std::vector<NodePtr> Nodes(NodePtr first, NodePtr second = nullptr);

  std::span<const Token> tokens_;
  size_t position_ = 0;
  bool soft_ = false;           // inside of an if: unknown filters and tests may wait
  std::vector<Error> unknown_;  // filters and tests that may not

 private:
  NodePtr ParseBinary(size_t level);
  NodePtr ParseNot();
  NodePtr ParseCompare();
  NodePtr ParseFiltered();
  NodePtr ParseUnary();
  NodePtr ParsePrimary();
  NodePtr ParseName();
  NodePtr ParseBracketed(std::string_view close);
  NodePtr ParsePostfix(NodePtr object);
  NodePtr ParseSubscript(NodePtr object);
  NodePtr ParseFilter(NodePtr input);
  NodePtr ParseTest(NodePtr input);
  NodePtr MakeApplied(NodeKind kind, int line, NodePtr input, std::string name,
                      std::vector<Argument> arguments);
  std::vector<Argument> ParseArguments();
  NodePtr ParseSingleTarget(bool attributes);
  bool AtTupleEnd(std::string_view stop) const;

  int nesting_ = 0;
};

}  // namespace jinja
