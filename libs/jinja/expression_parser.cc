#include "jinja/expression_parser.h"

#include "jinja/functions.h"
#include "jinja/parser.h"

namespace jinja {
namespace {

constexpr std::string_view kConstants[] = {"true", "false", "none", "True", "False", "None"};

struct OperatorRow {
  std::string_view text;
  NodeKind kind;
  Operator op = Operator::kAdd;
};
// From the loosest to the tightest; between level 1 and level 2 stand `not` and the comparisons.
const std::vector<OperatorRow> kLevels[] = {{{"or", NodeKind::kOr}},
                                            {{"and", NodeKind::kAnd}},
                                            {{"+", NodeKind::kArithmetic, Operator::kAdd},
                                             {"-", NodeKind::kArithmetic, Operator::kSubtract}},
                                            {{"~", NodeKind::kConcat}},
                                            {{"*", NodeKind::kArithmetic, Operator::kMultiply},
                                             {"/", NodeKind::kArithmetic, Operator::kDivide},
                                             {"//", NodeKind::kArithmetic, Operator::kFloorDivide},
                                             {"%", NodeKind::kArithmetic, Operator::kModulo}},
                                            {{"**", NodeKind::kArithmetic, Operator::kPower}}};

constexpr std::pair<std::string_view, Operator> kComparisons[] = {
    {"==", Operator::kEqual},     {"!=", Operator::kNotEqual}, {"<", Operator::kLess},
    {"<=", Operator::kLessEqual}, {">", Operator::kGreater},   {">=", Operator::kGreaterEqual},
    {"in", Operator::kIn},        {"not", Operator::kNotIn}};

}  // namespace

const Token& ExpressionParser::Next() {
  const Token& token = current();
  if (position_ + 1 < tokens_.size()) ++position_;
  return token;
}

bool ExpressionParser::At(std::string_view text, size_t ahead) const {
  const Token& token = tokens_[std::min(position_ + ahead, tokens_.size() - 1)];
  return token.Is(TokenKind::kName, text) || token.Is(TokenKind::kOperator, text);
}

bool ExpressionParser::Skip(std::string_view text) {
  const bool matches = At(text);
  if (matches) Next();
  return matches;
}

void ExpressionParser::Expect(std::string_view text) {
  if (!Skip(text)) Unexpected(text);
}

void ExpressionParser::ExpectKind(TokenKind kind) {
  if (current().kind != kind) Unexpected(Describe({kind, 0, "", {}}));
  Next();
}

std::string ExpressionParser::ExpectName() {
  if (current().kind != TokenKind::kName) Unexpected("a name");
  return Next().text;
}

void ExpressionParser::Unexpected(std::string_view wanted) const {
  Invalid("template line {}: expected {}, found {}", current().line, wanted, Describe(current()));
}

NodePtr ExpressionParser::Make(NodeKind kind, int line, std::vector<NodePtr> parts,
                               std::string name, std::vector<Argument> arguments) const {
  auto node = std::make_unique<Node>();
  const auto hold = [&](const NodePtr& child) {
    if (child) node->depth = std::max(node->depth, child->depth + 1);
  };
  for (const NodePtr& part : parts) hold(part);
  for (const Argument& argument : arguments) hold(argument.value);
  if (node->depth > kMaxExpressionDepth) Unexpected("expressions that are nested less deep");
  node->kind = kind;
  node->line = line;
  node->name = std::move(name);
  node->parts = std::move(parts);
  node->arguments = std::move(arguments);
  return node;
}

std::vector<NodePtr> ExpressionParser::Nodes(NodePtr first, NodePtr second) {
  std::vector<NodePtr> nodes;
  nodes.push_back(std::move(first));
  if (second) nodes.push_back(std::move(second));
  return nodes;
}

NodePtr ExpressionParser::ParseExpression(bool conditional) {
  if (++nesting_ > kMaxExpressionDepth) Unexpected("expressions that are nested less deep");
  const size_t num_unknown = unknown_.size();
  NodePtr expression = ParseBinary(0);
  while (conditional && At("if")) {
    const int line = Next().line;
    std::vector<NodePtr> parts = Nodes(ParseBinary(0), std::move(expression));
    parts.push_back(Skip("else") ? ParseExpression() : nullptr);
    expression = Make(NodeKind::kConditional, line, std::move(parts));
    unknown_.resize(num_unknown);
  }
  --nesting_;
  return expression;
}

NodePtr ExpressionParser::ParseBinary(size_t level) {
  const auto operand = [&] {
    return level == 1 ? ParseNot() : level == 5 ? ParseFiltered() : ParseBinary(level + 1);
  };
  NodePtr left = operand();
  while (true) {
    const auto row = std::find_if(kLevels[level].begin(), kLevels[level].end(),
                                  [&](const OperatorRow& candidate) { return At(candidate.text); });
    if (row == kLevels[level].end()) return left;
    const int line = Next().line;
    NodePtr right = operand();
    left = Make(row->kind, line, Nodes(std::move(left), std::move(right)));
    left->operators = {row->op};
  }
}

NodePtr ExpressionParser::ParseNot() {
  const int line = current().line;
  int num_nots = 0;
  while (Skip("not")) ++num_nots;
  NodePtr operand = ParseCompare();
  for (; num_nots > 0; --num_nots) operand = Make(NodeKind::kNot, line, Nodes(std::move(operand)));
  return operand;
}

NodePtr ExpressionParser::ParseCompare() {
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
  NodePtr comparison = Make(NodeKind::kCompare, line, std::move(parts));
  comparison->operators = std::move(operators);
  return comparison;
}

NodePtr ExpressionParser::ParseFiltered() {
  NodePtr node = ParseUnary();
  while (true) {
    if (Skip("|")) {
      node = ParseFilter(std::move(node));
    } else if (Skip("is")) {
      node = ParseTest(std::move(node));
    } else if (At("(")) {
      node = ParsePostfix(std::move(node));
    } else {
      return node;
    }
  }
}

NodePtr ExpressionParser::ParseUnary() {
  const int line = current().line;
  if (!At("-") && !At("+")) return ParsePostfix(ParsePrimary());
  const NodeKind kind = Next().text == "-" ? NodeKind::kNegate : NodeKind::kPlus;
  if (++nesting_ > kMaxExpressionDepth) Unexpected("fewer signs");
  NodePtr operand = ParseUnary();
  --nesting_;
  return ParsePostfix(Make(kind, line, Nodes(std::move(operand))));
}

NodePtr ExpressionParser::ParsePrimary() {
  const Token& token = current();
  if (token.kind == TokenKind::kName) return ParseName();
  if (token.kind == TokenKind::kNumber || token.kind == TokenKind::kString) {
    NodePtr node = Make(NodeKind::kLiteral, token.line);
    node->value = Next().number;
    std::string text = token.text;
    while (current().kind == TokenKind::kString && token.kind == TokenKind::kString) {
      text += Next().text;
    }
    if (token.kind == TokenKind::kString) node->value = Value(std::move(text));
    return node;
  }
  if (Skip("(")) {
    if (Skip(")")) return Make(NodeKind::kTuple, token.line);
    NodePtr node = ParseTuple();
    Expect(")");
    return node;
  }
  if (Skip("[")) return ParseBracketed("]");
  if (Skip("{")) return ParseBracketed("}");
  Unexpected("an expression");
}

NodePtr ExpressionParser::ParseName() {
  const Token& token = Next();
  const auto place = std::find(std::begin(kConstants), std::end(kConstants), token.text);
  if (place == std::end(kConstants)) return Make(NodeKind::kName, token.line, {}, token.text);
  NodePtr node = Make(NodeKind::kLiteral, token.line);
  const auto index = (place - std::begin(kConstants)) % 3;
  if (index != 2) node->value = Value(index == 0);
  return node;
}

// The items of a list up to "]", the pairs of a dict up to "}".
NodePtr ExpressionParser::ParseBracketed(std::string_view close) {
  const int line = current().line;
  const bool is_dict = close == "}";
  std::vector<NodePtr> parts;
  while (!Skip(close)) {
    if (!parts.empty()) {
      Expect(",");
      if (Skip(close)) break;
    }
    parts.push_back(ParseExpression());
    if (!is_dict) continue;
    Expect(":");
    parts.push_back(ParseExpression());
  }
  return Make(is_dict ? NodeKind::kDict : NodeKind::kList, line, std::move(parts));
}

bool ExpressionParser::AtTupleEnd(std::string_view stop) const {
  return current().kind == TokenKind::kPrintEnd || current().kind == TokenKind::kBlockEnd ||
         At(")") || (!stop.empty() && At(stop));
}

NodePtr ExpressionParser::ParseTuple(bool conditional, std::string_view stop) {
  const int line = current().line;
  if (AtTupleEnd(stop)) Unexpected("an expression");
  NodePtr first = ParseExpression(conditional);
  if (!At(",")) return first;
  std::vector<NodePtr> items = Nodes(std::move(first));
  while (Skip(",") && !AtTupleEnd(stop)) items.push_back(ParseExpression(conditional));
  return Make(NodeKind::kTuple, line, std::move(items));
}

NodePtr ExpressionParser::ParsePostfix(NodePtr object) {
  while (true) {
    const int line = current().line;
    if (At(".") || At("[")) {
      object = ParseSubscript(std::move(object));
    } else if (At("(")) {
      object = Make(NodeKind::kCall, line, Nodes(std::move(object)), "", ParseArguments());
    } else {
      return object;
    }
  }
}

NodePtr ExpressionParser::ParseSubscript(NodePtr object) {
  const int line = current().line;
  if (Skip(".")) {
    if (current().kind != TokenKind::kNumber) {
      return Make(NodeKind::kAttribute, line, Nodes(std::move(object)), ExpectName());
    }
    NodePtr index = ParsePrimary();
    return Make(NodeKind::kSubscript, line, Nodes(std::move(object), std::move(index)));
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
  return Make(num_colons == 0 ? NodeKind::kSubscript : NodeKind::kSlice, line, std::move(parts));
}

std::vector<Argument> ExpressionParser::ParseArguments() {
  Expect("(");
  std::vector<Argument> arguments;
  while (!Skip(")")) {
    if (!arguments.empty()) {
      Expect(",");
      if (Skip(")")) break;
    }
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
  }
  return arguments;
}

NodePtr ExpressionParser::MakeApplied(NodeKind kind, int line, NodePtr input, std::string name,
                                      std::vector<Argument> arguments) {
  const bool is_filter = kind == NodeKind::kFilter;
  NodePtr node = Make(kind, line, Nodes(std::move(input)), std::move(name), std::move(arguments));
  node->function = is_filter ? FindFilter(node->name) : FindTest(node->name);
  if (node->function == nullptr && !soft_) {
    unknown_.push_back(
        {ErrorKind::kInvalid, fmt::format("template line {}: no {} named '{}'", line,
                                          is_filter ? "filter" : "test", node->name)});
  }
  return node;
}

NodePtr ExpressionParser::ParseFilter(NodePtr input) {
  const int line = current().line;
  std::string name = ExpectName();
  std::vector<Argument> arguments;
  if (At("(")) arguments = ParseArguments();
  return MakeApplied(NodeKind::kFilter, line, std::move(input), std::move(name),
                     std::move(arguments));
}

NodePtr ExpressionParser::ParseFilterChain(bool inline_start) {
  NodePtr chain;
  while (inline_start || Skip("|")) {
    inline_start = false;
    chain = ParseFilter(std::move(chain));
  }
  return chain;
}

NodePtr ExpressionParser::ParseTest(NodePtr input) {
  const int line = current().line;
  const bool negated = Skip("not");
  std::string name = ExpectName();
  std::vector<Argument> arguments;
  const TokenKind kind = current().kind;
  if (At("(")) {
    arguments = ParseArguments();
  } else if ((kind == TokenKind::kName && !At("else") && !At("or") && !At("and")) ||
             kind == TokenKind::kString || kind == TokenKind::kNumber || At("[") || At("{")) {
    if (At("is")) Unexpected("one test only");
    arguments.push_back({"", ParsePostfix(ParsePrimary())});
  }
  NodePtr node =
      MakeApplied(NodeKind::kTest, line, std::move(input), std::move(name), std::move(arguments));
  return negated ? Make(NodeKind::kNot, line, Nodes(std::move(node))) : std::move(node);
}

NodePtr ExpressionParser::ParseTarget(bool attributes) {
  const int line = current().line;
  if (++nesting_ > kMaxExpressionDepth) Unexpected("fewer parentheses");
  NodePtr first = ParseSingleTarget(attributes);
  --nesting_;
  if (!At(",")) return first;
  std::vector<NodePtr> parts = Nodes(std::move(first));
  while (Skip(",") && !AtTupleEnd("in") && !At("=")) parts.push_back(ParseSingleTarget(attributes));
  return Make(NodeKind::kTuple, line, std::move(parts));
}

NodePtr ExpressionParser::ParseSingleTarget(bool attributes) {
  if (Skip("(")) {
    NodePtr inner = ParseTarget(false);
    Expect(")");
    return inner;
  }
  const int line = current().line;
  NodePtr target = Make(NodeKind::kName, line, {}, ExpectName());
  if (std::find(std::begin(kConstants), std::end(kConstants), target->name) !=
      std::end(kConstants)) {
    Unexpected("a name to assign to");
  }
  if (attributes && Skip(".")) {
    target->parts.push_back(Make(NodeKind::kLiteral, line, {}, ExpectName()));
  }
  return target;
}

}  // namespace jinja
