// The part of the grammar between {{ and }}, and the parser's place in the list of tokens.
// Not the statements (parser.cc).
#pragma once

#include <algorithm>
#include <span>
#include <string_view>

#include "jinja/ast.h"
#include "jinja/error.h"
#include "jinja/functions.h"
#include "jinja/lexer.h"

namespace jinja {

inline constexpr int kMaxExpressionDepth = 200;
inline constexpr std::string_view kConstants[] = {"true", "false", "none", "True", "False", "None"};

struct OperatorRow {
  std::string_view text;
  NodeKind kind = NodeKind::kCompare;
  Operator op = Operator::kAdd;
};
// From the loosest to the tightest; between level 1 and level 2 stand `not` and the comparisons.
inline const std::vector<OperatorRow> kLevels[] = {
    {{"or", NodeKind::kOr}},
    {{"and", NodeKind::kAnd}},
    {{"+", NodeKind::kArithmetic, Operator::kAdd},
     {"-", NodeKind::kArithmetic, Operator::kSubtract}},
    {{"~", NodeKind::kConcat}},
    {{"*", NodeKind::kArithmetic, Operator::kMultiply},
     {"/", NodeKind::kArithmetic, Operator::kDivide},
     {"//", NodeKind::kArithmetic, Operator::kFloorDivide},
     {"%", NodeKind::kArithmetic, Operator::kModulo}},
    {{"**", NodeKind::kArithmetic, Operator::kPower}}};
inline constexpr std::pair<std::string_view, Operator> kComparisons[] = {
    {"==", Operator::kEqual},     {"!=", Operator::kNotEqual}, {"<", Operator::kLess},
    {"<=", Operator::kLessEqual}, {">", Operator::kGreater},   {">=", Operator::kGreaterEqual},
    {"in", Operator::kIn},        {"not", Operator::kNotIn}};

class ExpressionParser {
 public:
  explicit ExpressionParser(std::span<const Token> tokens) : tokens_(tokens) {}

 protected:
  const Token& current() const { return tokens_[position_]; }
  const Token& Next() {
    const Token& token = current();
    if (position_ + 1 < tokens_.size()) ++position_;
    return token;
  }
  // Whether the token `ahead` of the current one is this name or operator.
  bool At(std::string_view text, size_t ahead = 0) const {
    const Token& token = tokens_[std::min(position_ + ahead, tokens_.size() - 1)];
    return token.Is(TokenKind::kName, text) || token.Is(TokenKind::kOperator, text);
  }
  bool Skip(std::string_view text) {
    const bool matches = At(text);
    if (matches) Next();
    return matches;
  }
  void Expect(std::string_view text) {
    if (!Skip(text)) Unexpected(text);
  }
  void ExpectKind(TokenKind kind) {
    if (current().kind != kind) Unexpected(Describe({kind, 0, "", {}}));
    Next();
  }
  std::string ExpectName() {
    if (current().kind != TokenKind::kName) Unexpected("a name");
    return Next().text;
  }
  [[noreturn]] void Unexpected(std::string_view wanted) const {
    Invalid("template line {}: expected {}, found {}", current().line, wanted, Describe(current()));
  }

  NodePtr MakeOf(NodeKind kind, int line, std::vector<NodePtr> parts,
                 std::vector<Argument> arguments = {}) const {
    auto node = std::make_unique<Node>();
    for (const NodePtr& part : parts) node->depth = std::max(node->depth, DepthAbove(part));
    for (const Argument& argument : arguments) {
      node->depth = std::max(node->depth, DepthAbove(argument.value));
    }
    if (node->depth > kMaxExpressionDepth) Unexpected("expressions that are nested less deep");
    node->kind = kind;
    node->line = line;
    node->parts = std::move(parts);
    node->arguments = std::move(arguments);
    return node;
  }
  template <typename... Parts>
  static std::vector<NodePtr> Nodes(Parts... parts) {
    std::vector<NodePtr> nodes;
    (nodes.push_back(std::move(parts)), ...);
    return nodes;
  }
  template <typename... Parts>
  NodePtr Make(NodeKind kind, int line, Parts... parts) const {
    return MakeOf(kind, line, Nodes(std::move(parts)...));
  }
  NodePtr MakeNamed(NodeKind kind, int line, std::string name) const {
    NodePtr node = Make(kind, line);
    node->name = std::move(name);
    return node;
  }

  // An expression; without `conditional` none of the form `a if b else c` on its top level.
  NodePtr ParseExpression(bool conditional = true) {
    if (++nesting_ > kMaxExpressionDepth) Unexpected("expressions that are nested less deep");
    const size_t num_unknown = unknown_.size();
    NodePtr expression = ParseBinary(0);
    while (conditional && At("if")) {
      const int line = Next().line;
      NodePtr condition = ParseBinary(0);
      NodePtr otherwise = Skip("else") ? ParseExpression() : nullptr;
      expression = Make(NodeKind::kConditional, line, std::move(condition), std::move(expression),
                        std::move(otherwise));
      unknown_.resize(num_unknown);
    }
    --nesting_;
    return expression;
  }

  // One expression, or several with commas as a tuple. `stop` ends it (for x in ... recursive).
  NodePtr ParseTuple(bool conditional = true, std::string_view stop = "") {
    const int line = current().line;
    if (AtTupleEnd(stop)) Unexpected("an expression");
    NodePtr first = ParseExpression(conditional);
    if (!At(",")) return first;
    std::vector<NodePtr> items = Nodes(std::move(first));
    while (Skip(",") && !AtTupleEnd(stop)) items.push_back(ParseExpression(conditional));
    return MakeOf(NodeKind::kTuple, line, std::move(items));
  }

  // `|name(...)|...` on captured text, or `name(...)|...` when `inline_start`; null for no filter.
  NodePtr ParseFilterChain(bool inline_start) {
    NodePtr chain = inline_start ? ParseApplied(NodeKind::kFilter, nullptr) : nullptr;
    while (Skip("|")) chain = ParseApplied(NodeKind::kFilter, std::move(chain));
    return chain;
  }

  // A name, with `attributes` also name.attribute, or several with commas.
  NodePtr ParseTarget(bool attributes) {
    const int line = current().line;
    if (++nesting_ > kMaxExpressionDepth) Unexpected("fewer parentheses");
    std::vector<NodePtr> parts = Nodes(ParseSingleTarget(attributes));
    --nesting_;
    if (!At(",")) return std::move(parts[0]);
    while (Skip(",") && !AtTupleEnd("in") && !At("=")) {
      parts.push_back(ParseSingleTarget(attributes));
    }
    return MakeOf(NodeKind::kTuple, line, std::move(parts));
  }

  std::span<const Token> tokens_;
  size_t position_ = 0;
  bool soft_ = false;           // inside of an if: unknown filters and tests may wait
  std::vector<Error> unknown_;  // filters and tests that may not

 private:
  static int DepthAbove(const NodePtr& child) { return child ? child->depth + 1 : 1; }

  bool AtTupleEnd(std::string_view stop) const {
    return current().kind == TokenKind::kPrintEnd || current().kind == TokenKind::kBlockEnd ||
           At(")") || (!stop.empty() && At(stop));
  }

  // Items with commas between, and perhaps behind, up to `close`.
  template <typename ParseItem>
  void ParseItems(std::string_view close, ParseItem parse_item) {
    for (bool first = true; !Skip(close); first = false) {
      if (!first) Expect(",");
      if (!first && Skip(close)) return;
      parse_item();
    }
  }

  NodePtr ParseBinary(size_t level) {
    const auto operand = [&] {
      return level == 1 ? ParseNot() : level == 5 ? ParseFiltered() : ParseBinary(level + 1);
    };
    NodePtr left = operand();
    while (true) {
      const auto row = std::find_if(kLevels[level].begin(), kLevels[level].end(),
                                    [&](const OperatorRow& row_of) { return At(row_of.text); });
      if (row == kLevels[level].end()) return left;
      const int line = Next().line;
      NodePtr right = operand();
      left = Make(row->kind, line, std::move(left), std::move(right));
      left->operators = {row->op};
    }
  }

  NodePtr ParseNot() {
    const int line = current().line;
    int num_nots = 0;
    while (Skip("not")) ++num_nots;
    NodePtr operand = ParseCompare();
    for (; num_nots > 0; --num_nots) operand = Make(NodeKind::kNot, line, std::move(operand));
    return operand;
  }

  NodePtr ParseCompare() {
    const int line = current().line;
    std::vector<NodePtr> parts = Nodes(ParseBinary(2));
    std::vector<Operator> operators;
    while (true) {
      const auto* row = std::find_if(std::begin(kComparisons), std::end(kComparisons),
                                     [&](const auto& candidate) { return At(candidate.first); });
      if (row == std::end(kComparisons) || (At("not") && !At("in", 1))) break;
      if (Next().text == "not") Next();
      parts.push_back(ParseBinary(2));
      operators.push_back(row->second);
    }
    if (operators.empty()) return std::move(parts[0]);
    NodePtr comparison = MakeOf(NodeKind::kCompare, line, std::move(parts));
    comparison->operators = std::move(operators);
    return comparison;
  }

  NodePtr ParseFiltered() {
    NodePtr node = ParseUnary();
    while (true) {
      if (Skip("|")) {
        node = ParseApplied(NodeKind::kFilter, std::move(node));
      } else if (At("is")) {
        const int line = Next().line;
        const bool negated = Skip("not");
        node = ParseApplied(NodeKind::kTest, std::move(node));
        if (negated) node = Make(NodeKind::kNot, line, std::move(node));
      } else if (At("(")) {
        node = ParsePostfix(std::move(node));
      } else {
        return node;
      }
    }
  }

  NodePtr ParseUnary() {
    const int line = current().line;
    if (!At("-") && !At("+")) return ParsePostfix(ParsePrimary());
    const bool is_plus = Next().text == "+";  // +x is -(-x)
    if (++nesting_ > kMaxExpressionDepth) Unexpected("fewer signs");
    NodePtr operand = ParseUnary();
    --nesting_;
    if (is_plus) operand = Make(NodeKind::kNegate, line, std::move(operand));
    return ParsePostfix(Make(NodeKind::kNegate, line, std::move(operand)));
  }

  NodePtr ParsePrimary() {
    const Token& token = current();
    if (token.kind == TokenKind::kName) return ParseName();
    if (token.kind == TokenKind::kNumber) return ParseLiteral(Next().number);
    if (token.kind == TokenKind::kString) {
      std::string text;
      while (current().kind == TokenKind::kString) text += Next().text;
      return ParseLiteral(Value(std::move(text)));
    }
    if (Skip("(")) {
      if (Skip(")")) return Make(NodeKind::kTuple, token.line);
      NodePtr node = ParseTuple();
      Expect(")");
      return node;
    }
    if (!At("[") && !At("{")) Unexpected("an expression");
    const bool is_dict = Next().text == "{";
    std::vector<NodePtr> parts;
    ParseItems(is_dict ? "}" : "]", [&] {
      parts.push_back(ParseExpression());
      if (is_dict) Expect(":");
      if (is_dict) parts.push_back(ParseExpression());
    });
    return MakeOf(is_dict ? NodeKind::kDict : NodeKind::kList, token.line, std::move(parts));
  }

  // A literal, whose token has been passed.
  NodePtr ParseLiteral(Value value) {
    NodePtr node = Make(NodeKind::kLiteral, tokens_[position_ - 1].line);
    node->value = std::move(value);
    return node;
  }

  NodePtr ParseName() {
    const Token& token = Next();
    const auto place = std::find(std::begin(kConstants), std::end(kConstants), token.text);
    if (place == std::end(kConstants)) return MakeNamed(NodeKind::kName, token.line, token.text);
    const auto index = (place - std::begin(kConstants)) % 3;
    return ParseLiteral(index == 2 ? Value() : Value(index == 0));
  }

  NodePtr ParsePostfix(NodePtr object) {
    while (true) {
      const int line = current().line;
      if (At(".") || At("[")) {
        object = ParseSubscript(std::move(object));
      } else if (At("(")) {
        std::vector<Argument> arguments = ParseArguments();
        object = MakeOf(NodeKind::kCall, line, Nodes(std::move(object)), std::move(arguments));
      } else {
        return object;
      }
    }
  }

  NodePtr ParseSubscript(NodePtr object) {
    const int line = current().line;
    if (Skip(".")) {
      if (current().kind == TokenKind::kNumber) {
        NodePtr index = ParsePrimary();
        return Make(NodeKind::kSubscript, line, std::move(object), std::move(index));
      }
      NodePtr node = Make(NodeKind::kAttribute, line, std::move(object));
      node->name = ExpectName();
      return node;
    }
    Expect("[");
    std::vector<NodePtr> parts(4);  // the object; start, stop, step or the key alone
    parts[0] = std::move(object);
    size_t num_colons = 0;
    while (!At("]")) {
      if (Skip(":")) {
        if (++num_colons > 2) Unexpected("]");
      } else {
        if (parts[1 + num_colons]) Unexpected("]");
        parts[1 + num_colons] = ParseExpression();
      }
    }
    if (num_colons == 0 && !parts[1]) Unexpected("an expression");
    Next();
    if (num_colons == 0) parts.resize(2);
    return MakeOf(num_colons == 0 ? NodeKind::kSubscript : NodeKind::kSlice, line,
                  std::move(parts));
  }

  std::vector<Argument> ParseArguments() {
    Expect("(");
    std::vector<Argument> arguments;
    ParseItems(")", [&] {
      std::string name;
      if (At("*") || At("**")) {
        name = Next().text;
      } else if (current().kind == TokenKind::kName && At("=", 1)) {
        name = Next().text;
        Next();
      }
      for (const Argument& before : arguments) {
        const bool in_order = before.name.empty() || (name != "*" && !name.empty());
        if (!in_order || (before.name == name && !name.empty())) {
          Unexpected("each keyword argument once, behind the others");
        }
      }
      arguments.push_back({std::move(name), ParseExpression()});
    });
    return arguments;
  }

  // The name and the arguments of a filter or a test of `input`.
  NodePtr ParseApplied(NodeKind kind, NodePtr input) {
    const bool is_filter = kind == NodeKind::kFilter;
    const int line = current().line;
    const std::string name = ExpectName();
    std::vector<Argument> arguments;
    const TokenKind next = current().kind;
    if (At("(")) {
      arguments = ParseArguments();
    } else if (!is_filter &&
               ((next == TokenKind::kName && !At("else") && !At("or") && !At("and")) ||
                next == TokenKind::kString || next == TokenKind::kNumber || At("[") || At("{"))) {
      if (At("is")) Unexpected("one test only");
      arguments.push_back({"", ParsePostfix(ParsePrimary())});
    }
    NodePtr node = MakeOf(kind, line, Nodes(std::move(input)), std::move(arguments));
    node->name = name;
    node->function = is_filter ? FindFilter(name) : FindTest(name);
    if (node->function == nullptr && !soft_) {
      unknown_.push_back(
          {ErrorKind::kInvalid, fmt::format("template line {}: no {} named '{}'", line,
                                            is_filter ? "filter" : "test", name)});
    }
    return node;
  }

  NodePtr ParseSingleTarget(bool attributes) {
    if (Skip("(")) {
      NodePtr inner = ParseTarget(false);
      Expect(")");
      return inner;
    }
    const int line = current().line;
    NodePtr target = MakeNamed(NodeKind::kName, line, ExpectName());
    if (std::find(std::begin(kConstants), std::end(kConstants), target->name) !=
        std::end(kConstants)) {
      Unexpected("a name to assign to");
    }
    if (attributes && Skip(".")) {
      target->parts.push_back(MakeNamed(NodeKind::kLiteral, line, ExpectName()));
    }
    return target;
  }

  int nesting_ = 0;
};

}  // namespace jinja
