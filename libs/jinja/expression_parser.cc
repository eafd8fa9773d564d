#include "jinja/expression_parser.h"

#include "jinja/filters.h"
#include "jinja/parser.h"
#include "jinja/predicates.h"

namespace jinja {
namespace {

int DepthOf(const ExpressionPtr& expression) { return expression ? expression->depth : 0; }

int DepthOf(const CallArguments& arguments) {
  int depth = std::max(DepthOf(arguments.spread_list), DepthOf(arguments.spread_dict));
  for (const auto& argument : arguments.positional) depth = std::max(depth, DepthOf(argument));
  for (const auto& [name, argument] : arguments.keyword) depth = std::max(depth, DepthOf(argument));
  return depth;
}

template <typename Row>
const Row* FindOperator(std::span<const Row> rows, const Token& token) {
  if (token.kind != TokenKind::kOperator) return nullptr;
  const auto row = std::find_if(rows.begin(), rows.end(), [&](const Row& candidate) {
    return candidate.first == token.text;
  });
  return row == rows.end() ? nullptr : &*row;
}

using ArithmeticRow = std::pair<std::string_view, ArithmeticOperator>;
constexpr ArithmeticRow kSumOperators[] = {{"+", ArithmeticOperator::kAdd},
                                           {"-", ArithmeticOperator::kSubtract}};
constexpr ArithmeticRow kProductOperators[] = {{"*", ArithmeticOperator::kMultiply},
                                               {"/", ArithmeticOperator::kDivide},
                                               {"//", ArithmeticOperator::kFloorDivide},
                                               {"%", ArithmeticOperator::kModulo}};
using CompareRow = std::pair<std::string_view, CompareOperator>;
constexpr CompareRow kCompareOperators[] = {
    {"==", CompareOperator::kEqual},  {"!=", CompareOperator::kNotEqual},
    {"<", CompareOperator::kLess},    {"<=", CompareOperator::kLessEqual},
    {">", CompareOperator::kGreater}, {">=", CompareOperator::kGreaterEqual}};

}  // namespace

template <typename Node>
Result<ExpressionPtr> ExpressionParser::Make(int line, int child_depth, Node node) {
  if (child_depth >= kMaxExpressionDepth) {
    return Invalid("template line {}: expressions nested deeper than {}", line,
                   kMaxExpressionDepth);
  }
  auto expression = std::make_unique<Expression>();
  expression->line = line;
  expression->depth = child_depth + 1;
  expression->node = std::move(node);
  return expression;
}

Result<ExpressionPtr> ExpressionParser::ParseExpression(bool conditional) {
  if (++nesting_ > kMaxExpressionDepth) {
    return Invalid("template line {}: expressions nested deeper than {}", tokens_.current().line,
                   kMaxExpressionDepth);
  }
  auto expression = conditional ? ParseConditional() : ParseOr();
  --nesting_;
  return expression;
}

Result<ExpressionPtr> ExpressionParser::ParseConditional() {
  JINJA_ASSIGN(ExpressionPtr then, ParseOr());
  while (tokens_.current().IsName("if")) {
    const int line = tokens_.Next().line;
    JINJA_ASSIGN(ExpressionPtr test, ParseOr());
    ExpressionPtr otherwise;
    if (tokens_.SkipName("else")) {
      JINJA_ASSIGN(otherwise, ParseExpression());
    }
    const int depth = std::max({DepthOf(then), DepthOf(test), DepthOf(otherwise)});
    JINJA_ASSIGN(
        then, Make(line, depth,
                   ConditionalExpression{std::move(test), std::move(then), std::move(otherwise)}));
  }
  return then;
}

Result<ExpressionPtr> ExpressionParser::ParseOr() {
  JINJA_ASSIGN(ExpressionPtr left, ParseAnd());
  while (tokens_.current().IsName("or")) {
    const int line = tokens_.Next().line;
    JINJA_ASSIGN(ExpressionPtr right, ParseAnd());
    const int depth = std::max(DepthOf(left), DepthOf(right));
    JINJA_ASSIGN(left,
                 Make(line, depth, LogicExpression{false, std::move(left), std::move(right)}));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::ParseAnd() {
  JINJA_ASSIGN(ExpressionPtr left, ParseNot());
  while (tokens_.current().IsName("and")) {
    const int line = tokens_.Next().line;
    JINJA_ASSIGN(ExpressionPtr right, ParseNot());
    const int depth = std::max(DepthOf(left), DepthOf(right));
    JINJA_ASSIGN(left, Make(line, depth, LogicExpression{true, std::move(left), std::move(right)}));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::ParseNot() {
  int num_nots = 0;
  const int line = tokens_.current().line;
  while (tokens_.SkipName("not")) ++num_nots;
  JINJA_ASSIGN(ExpressionPtr operand, ParseCompare());
  for (; num_nots > 0; --num_nots) {
    const int depth = DepthOf(operand);
    JINJA_ASSIGN(operand,
                 Make(line, depth, UnaryExpression{UnaryOperator::kNot, std::move(operand)}));
  }
  return operand;
}

Result<ExpressionPtr> ExpressionParser::ParseCompare() {
  const int line = tokens_.current().line;
  JINJA_ASSIGN(ExpressionPtr first, ParseSum());
  int depth = DepthOf(first);
  std::vector<std::pair<CompareOperator, ExpressionPtr>> rest;
  while (true) {
    CompareOperator op = CompareOperator::kIn;
    if (const auto* row = FindOperator<CompareRow>(kCompareOperators, tokens_.current())) {
      op = row->second;
      tokens_.Next();
    } else if (tokens_.current().IsName("not") && tokens_.Look(1).IsName("in")) {
      op = CompareOperator::kNotIn;
      tokens_.Next();
      tokens_.Next();
    } else if (!tokens_.SkipName("in")) {
      break;
    }
    JINJA_ASSIGN(ExpressionPtr operand, ParseSum());
    depth = std::max(depth, DepthOf(operand));
    rest.emplace_back(op, std::move(operand));
  }
  if (rest.empty()) return first;
  return Make(line, depth, CompareExpression{std::move(first), std::move(rest)});
}

Result<ExpressionPtr> ExpressionParser::ParseSum() {
  JINJA_ASSIGN(ExpressionPtr left, ParseConcat());
  while (const auto* row = FindOperator<ArithmeticRow>(kSumOperators, tokens_.current())) {
    const int line = tokens_.Next().line;
    JINJA_ASSIGN(ExpressionPtr right, ParseConcat());
    const int depth = std::max(DepthOf(left), DepthOf(right));
    JINJA_ASSIGN(left, Make(line, depth,
                            ArithmeticExpression{row->second, std::move(left), std::move(right)}));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::ParseConcat() {
  const int line = tokens_.current().line;
  JINJA_ASSIGN(ExpressionPtr first, ParseProduct());
  if (!tokens_.current().IsOperator("~")) return first;
  int depth = DepthOf(first);
  std::vector<ExpressionPtr> parts;
  parts.push_back(std::move(first));
  while (tokens_.SkipOperator("~")) {
    JINJA_ASSIGN(ExpressionPtr part, ParseProduct());
    depth = std::max(depth, DepthOf(part));
    parts.push_back(std::move(part));
  }
  return Make(line, depth, ConcatExpression{std::move(parts)});
}

Result<ExpressionPtr> ExpressionParser::ParseProduct() {
  JINJA_ASSIGN(ExpressionPtr left, ParsePower());
  while (const auto* row = FindOperator<ArithmeticRow>(kProductOperators, tokens_.current())) {
    const int line = tokens_.Next().line;
    JINJA_ASSIGN(ExpressionPtr right, ParsePower());
    const int depth = std::max(DepthOf(left), DepthOf(right));
    JINJA_ASSIGN(left, Make(line, depth,
                            ArithmeticExpression{row->second, std::move(left), std::move(right)}));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::ParsePower() {
  JINJA_ASSIGN(ExpressionPtr left, ParseUnary(true));
  while (tokens_.current().IsOperator("**")) {
    const int line = tokens_.Next().line;
    JINJA_ASSIGN(ExpressionPtr right, ParseUnary(true));
    const int depth = std::max(DepthOf(left), DepthOf(right));
    JINJA_ASSIGN(left, Make(line, depth,
                            ArithmeticExpression{ArithmeticOperator::kPower, std::move(left),
                                                 std::move(right)}));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::ParseUnary(bool with_filter) {
  const Token& sign = tokens_.current();
  ExpressionPtr expression;
  if (sign.IsOperator("-") || sign.IsOperator("+")) {
    const UnaryOperator op = sign.text == "-" ? UnaryOperator::kMinus : UnaryOperator::kPlus;
    tokens_.Next();
    if (++nesting_ > kMaxExpressionDepth) return tokens_.Unexpected("fewer signs");
    JINJA_ASSIGN(ExpressionPtr operand, ParseUnary(false));
    --nesting_;
    const int depth = DepthOf(operand);
    JINJA_ASSIGN(expression, Make(sign.line, depth, UnaryExpression{op, std::move(operand)}));
  } else {
    JINJA_ASSIGN(expression, ParsePrimary());
  }
  JINJA_ASSIGN(expression, ParsePostfix(std::move(expression)));
  if (!with_filter) return expression;
  return ParseFiltersAndTests(std::move(expression));
}

Result<ExpressionPtr> ExpressionParser::ParsePrimary() {
  const Token& token = tokens_.current();
  switch (token.kind) {
    case TokenKind::kName:
      return ParseNameOrConstant();
    case TokenKind::kString: {
      std::string text;
      while (tokens_.current().kind == TokenKind::kString) text += tokens_.Next().text;
      return Make(token.line, 0, LiteralExpression{Value(std::move(text))});
    }
    case TokenKind::kInteger:
      return Make(token.line, 0, LiteralExpression{Value(tokens_.Next().integer)});
    case TokenKind::kFloat:
      return Make(token.line, 0, LiteralExpression{Value(tokens_.Next().number)});
    default:
      break;
  }
  if (token.IsOperator("(")) return ParseParenthesized();
  if (token.IsOperator("[")) return ParseListLiteral();
  if (token.IsOperator("{")) return ParseDictLiteral();
  return tokens_.Unexpected("an expression");
}

Result<ExpressionPtr> ExpressionParser::ParseNameOrConstant() {
  const Token& token = tokens_.Next();
  const std::string& name = token.text;
  if (name == "true" || name == "True") return Make(token.line, 0, LiteralExpression{Value(true)});
  if (name == "false" || name == "False") {
    return Make(token.line, 0, LiteralExpression{Value(false)});
  }
  if (name == "none" || name == "None") return Make(token.line, 0, LiteralExpression{Value()});
  names_read_.insert(name);
  return Make(token.line, 0, NameExpression{name});
}

bool ExpressionParser::AtTupleEnd(std::string_view stop_name) const {
  const Token& token = tokens_.current();
  return token.kind == TokenKind::kPrintEnd || token.kind == TokenKind::kBlockEnd ||
         token.IsOperator(")") || (!stop_name.empty() && token.IsName(stop_name));
}

Result<ExpressionPtr> ExpressionParser::ParseTuple(bool conditional, std::string_view stop_name) {
  const int line = tokens_.current().line;
  if (AtTupleEnd(stop_name)) return tokens_.Unexpected("an expression");
  JINJA_ASSIGN(ExpressionPtr first, ParseExpression(conditional));
  if (!tokens_.current().IsOperator(",")) return first;
  int depth = DepthOf(first);
  std::vector<ExpressionPtr> items;
  items.push_back(std::move(first));
  while (tokens_.SkipOperator(",") && !AtTupleEnd(stop_name)) {
    JINJA_ASSIGN(ExpressionPtr item, ParseExpression(conditional));
    depth = std::max(depth, DepthOf(item));
    items.push_back(std::move(item));
  }
  return Make(line, depth, SequenceExpression{SequenceKind::kTuple, std::move(items)});
}

Result<ExpressionPtr> ExpressionParser::ParseParenthesized() {
  const int line = tokens_.Next().line;
  if (tokens_.SkipOperator(")")) {
    return Make(line, 0, SequenceExpression{SequenceKind::kTuple, {}});
  }
  JINJA_ASSIGN(ExpressionPtr expression, ParseTuple());
  JINJA_RETURN_IF_ERROR(tokens_.ExpectOperator(")"));
  return expression;
}

Result<ExpressionPtr> ExpressionParser::ParseListLiteral() {
  const int line = tokens_.Next().line;
  std::vector<ExpressionPtr> items;
  int depth = 0;
  while (!tokens_.current().IsOperator("]")) {
    if (!items.empty()) JINJA_RETURN_IF_ERROR(tokens_.ExpectOperator(","));
    if (tokens_.current().IsOperator("]")) break;
    JINJA_ASSIGN(ExpressionPtr item, ParseExpression());
    depth = std::max(depth, DepthOf(item));
    items.push_back(std::move(item));
  }
  tokens_.Next();
  return Make(line, depth, SequenceExpression{SequenceKind::kList, std::move(items)});
}

Result<ExpressionPtr> ExpressionParser::ParseDictLiteral() {
  const int line = tokens_.Next().line;
  DictExpression dict;
  int depth = 0;
  while (!tokens_.current().IsOperator("}")) {
    if (!dict.entries.empty()) JINJA_RETURN_IF_ERROR(tokens_.ExpectOperator(","));
    if (tokens_.current().IsOperator("}")) break;
    JINJA_ASSIGN(ExpressionPtr key, ParseExpression());
    JINJA_RETURN_IF_ERROR(tokens_.ExpectOperator(":"));
    JINJA_ASSIGN(ExpressionPtr value, ParseExpression());
    depth = std::max({depth, DepthOf(key), DepthOf(value)});
    dict.entries.emplace_back(std::move(key), std::move(value));
  }
  tokens_.Next();
  return Make(line, depth, std::move(dict));
}

Result<ExpressionPtr> ExpressionParser::ParsePostfix(ExpressionPtr object) {
  while (true) {
    const Token& token = tokens_.current();
    if (token.IsOperator(".") || token.IsOperator("[")) {
      JINJA_ASSIGN(object, ParseSubscript(std::move(object)));
    } else if (token.IsOperator("(")) {
      JINJA_ASSIGN(object, ParseCall(std::move(object)));
    } else {
      return object;
    }
  }
}

Result<ExpressionPtr> ExpressionParser::ParseFiltersAndTests(ExpressionPtr input) {
  while (true) {
    const Token& token = tokens_.current();
    if (token.IsOperator("|")) {
      tokens_.Next();
      JINJA_ASSIGN(input, ParseFilter(std::move(input)));
    } else if (token.IsName("is")) {
      JINJA_ASSIGN(input, ParseTest(std::move(input)));
    } else if (token.IsOperator("(")) {
      JINJA_ASSIGN(input, ParseCall(std::move(input)));
    } else {
      return input;
    }
  }
}

Result<ExpressionPtr> ExpressionParser::ParseSubscript(ExpressionPtr object) {
  const Token& token = tokens_.Next();
  if (token.IsOperator("[")) return ParseBracket(std::move(object), token.line);
  const int depth = DepthOf(object);
  if (tokens_.current().kind == TokenKind::kInteger) {
    JINJA_ASSIGN(ExpressionPtr key,
                 Make(token.line, 0, LiteralExpression{Value(tokens_.Next().integer)}));
    return Make(token.line, depth, SubscriptExpression{std::move(object), std::move(key)});
  }
  JINJA_ASSIGN(std::string name, tokens_.ExpectAnyName());
  return Make(token.line, depth, AttributeExpression{std::move(object), std::move(name)});
}

Result<ExpressionPtr> ExpressionParser::ParseBracket(ExpressionPtr object, int line) {
  ExpressionPtr parts[3];  // start, stop, step; or the key alone
  int depth = DepthOf(object);
  int num_colons = 0;
  while (!tokens_.current().IsOperator("]")) {
    if (tokens_.SkipOperator(":")) {
      if (++num_colons > 2) return tokens_.Unexpected("]");
    } else if (parts[num_colons]) {
      return tokens_.Unexpected("]");
    } else {
      JINJA_ASSIGN(parts[num_colons], ParseExpression());
      depth = std::max(depth, DepthOf(parts[num_colons]));
    }
  }
  if (num_colons == 0 && !parts[0]) return tokens_.Unexpected("an expression");
  tokens_.Next();
  if (num_colons == 0) {
    return Make(line, depth, SubscriptExpression{std::move(object), std::move(parts[0])});
  }
  return Make(line, depth,
              SliceExpression{std::move(object), std::move(parts[0]), std::move(parts[1]),
                              std::move(parts[2])});
}

Result<ExpressionPtr> ExpressionParser::ParseCall(ExpressionPtr callee) {
  const int line = tokens_.current().line;
  JINJA_ASSIGN(CallArguments arguments, ParseArguments());
  const int depth = std::max(DepthOf(callee), DepthOf(arguments));
  return Make(line, depth, CallExpression{std::move(callee), std::move(arguments)});
}

Result<CallArguments> ExpressionParser::ParseArguments() {
  JINJA_RETURN_IF_ERROR(tokens_.ExpectOperator("("));
  CallArguments arguments;
  bool first = true;
  while (!tokens_.current().IsOperator(")")) {
    if (!first) JINJA_RETURN_IF_ERROR(tokens_.ExpectOperator(","));
    first = false;
    if (tokens_.current().IsOperator(")")) break;
    JINJA_RETURN_IF_ERROR(ParseArgument(&arguments));
  }
  tokens_.Next();
  return arguments;
}

Status ExpressionParser::ParseArgument(CallArguments* arguments) {
  const Token& token = tokens_.current();
  const bool spread = arguments->spread_list || arguments->spread_dict;
  if (token.IsOperator("*") && !spread) {
    tokens_.Next();
    JINJA_ASSIGN(arguments->spread_list, ParseExpression());
  } else if (token.IsOperator("**") && !arguments->spread_dict) {
    tokens_.Next();
    JINJA_ASSIGN(arguments->spread_dict, ParseExpression());
  } else if (token.kind == TokenKind::kName && tokens_.Look(1).IsOperator("=") &&
             !arguments->spread_dict) {
    tokens_.Next();
    tokens_.Next();
    const bool repeated = std::any_of(arguments->keyword.begin(), arguments->keyword.end(),
                                      [&](const auto& entry) { return entry.first == token.text; });
    if (repeated) return tokens_.Unexpected("each keyword argument once");
    JINJA_ASSIGN(ExpressionPtr value, ParseExpression());
    arguments->keyword.emplace_back(token.text, std::move(value));
  } else if (!spread && arguments->keyword.empty()) {
    JINJA_ASSIGN(ExpressionPtr value, ParseExpression());
    arguments->positional.push_back(std::move(value));
  } else {
    return tokens_.Unexpected("a keyword argument");
  }
  return {};
}

Result<ExpressionPtr> ExpressionParser::ParseFilter(ExpressionPtr input) {
  const int line = tokens_.current().line;
  JINJA_ASSIGN(const std::string name, tokens_.ExpectAnyName());
  const FilterRow* filter = FindFilter(name);
  if (filter == nullptr) return Unsupported("template line {}: no filter named '{}'", line, name);
  CallArguments arguments;
  if (tokens_.current().IsOperator("(")) {
    JINJA_ASSIGN(arguments, ParseArguments());
  }
  const int depth = std::max(DepthOf(input), DepthOf(arguments));
  return Make(line, depth, FilterExpression{std::move(input), filter, std::move(arguments)});
}

Result<ExpressionPtr> ExpressionParser::ParseFilterChain(bool inline_start) {
  ExpressionPtr chain;
  while (inline_start || tokens_.SkipOperator("|")) {
    inline_start = false;
    JINJA_ASSIGN(chain, ParseFilter(std::move(chain)));
  }
  return chain;
}

Result<ExpressionPtr> ExpressionParser::ParseTest(ExpressionPtr input) {
  const int line = tokens_.Next().line;
  const bool negated = tokens_.SkipName("not");
  JINJA_ASSIGN(const std::string name, tokens_.ExpectAnyName());
  const PredicateRow* predicate = FindPredicate(name);
  if (predicate == nullptr) return Unsupported("template line {}: no test named '{}'", line, name);
  CallArguments arguments;
  const Token& token = tokens_.current();
  const bool is_value = token.kind == TokenKind::kName || token.kind == TokenKind::kString ||
                        token.kind == TokenKind::kInteger || token.kind == TokenKind::kFloat ||
                        token.IsOperator("[") || token.IsOperator("{");
  if (token.IsOperator("(")) {
    JINJA_ASSIGN(arguments, ParseArguments());
  } else if (is_value && !token.IsName("else") && !token.IsName("or") && !token.IsName("and")) {
    if (token.IsName("is")) return tokens_.Unexpected("one test only");
    JINJA_ASSIGN(ExpressionPtr argument, ParsePrimary());
    JINJA_ASSIGN(argument, ParsePostfix(std::move(argument)));
    arguments.positional.push_back(std::move(argument));
  }
  const int depth = std::max(DepthOf(input), DepthOf(arguments));
  auto test =
      Make(line, depth, PredicateExpression{std::move(input), predicate, std::move(arguments)});
  if (!test || !negated) return test;
  return Make(line, depth + 1, UnaryExpression{UnaryOperator::kNot, *std::move(test)});
}

}  // namespace jinja
