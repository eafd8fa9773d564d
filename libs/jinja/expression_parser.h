// Expressions by Jinja's grammar, whose precedence differs from Python's in places (a filter binds
// tighter than a minus sign), and how each is evaluated. Not statements (parser.cc).
#pragma once

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>

#include "jinja/environment.h"
#include "jinja/error.h"
#include "jinja/functions.h"
#include "jinja/lexer.h"
#include "jinja/operators.h"

namespace jinja {

inline constexpr int kMaxExpressionDepth = 200;
inline constexpr std::string_view kConstants[] = {"true", "false", "none", "True", "False", "None"};

// From the loosest to the tightest; in front of a comparison may stand `not`.
inline constexpr size_t kNotLevel = 2;
inline constexpr size_t kTightestLevel = 6;
inline const std::vector<std::string_view> kLevels[] = {
    {"or"},     {"and"}, {"==", "!=", "<", "<=", ">", ">=", "in", "not in"},
    {"+", "-"}, {"~"},   {"*", "/", "//", "%"},
    {"**"}};

inline Value Combine(Environment& environment, std::string_view symbol, const Expression& left,
                     const Expression& right) {
  const Value a = left(environment);
  if (symbol == "or" || symbol == "and") {
    return a.Truth() == (symbol == "or") ? a : right(environment);
  }
  const Value b = right(environment);
  environment.Step(static_cast<int64_t>((a.shallow_size() + b.shallow_size()) / 256));
  return environment.Made(symbol == "~" ? Value(ToText(environment, a) + ToText(environment, b))
                                        : Operate(environment, symbol, a, b));
}

inline Value Negated(Environment& environment, const Expression& operand) {
  return Value(!operand(environment).Truth());
}

inline Arguments Evaluate(Environment& environment, const std::vector<Argument>& given) {
  Arguments arguments;
  for (const Argument& argument : given) {
    if (argument.name == "**") Unsupported("** in a call is not supported");
    Value value = argument.value(environment);
    if (argument.name == "*") {
      environment.Step(static_cast<int64_t>(value.shallow_size() / 256));
      const List items = Iterate(value);
      arguments.positional.insert(arguments.positional.end(), items.begin(), items.end());
    } else if (argument.name.empty()) {
      arguments.positional.push_back(std::move(value));
    } else {
      arguments.keyword.emplace_back(argument.name, std::move(value));
    }
  }
  return arguments;
}

inline Value CallOf(Environment& environment, const Expression& callee,
                    const std::vector<Argument>& given) {
  const Value function = callee(environment);
  const Arguments arguments = Evaluate(environment, given);
  if (function.is_undefined()) Invalid("{}", function.reason());
  if (function.kind() != Kind::kCallable) Invalid("'{}' is not callable", function.type_name());
  return environment.Made(function.callable().call(environment, arguments));
}

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
  // Whether the token `ahead` of the current one is this name or symbol.
  bool At(std::string_view text, size_t ahead = 0) const {
    const Token& token = tokens_[std::min(position_ + ahead, tokens_.size() - 1)];
    return token.text == text &&
           (token.kind == TokenKind::kName || token.kind == TokenKind::kSymbol);
  }
  bool Skip(std::string_view text) {
    const bool matches = At(text);
    if (matches) Next();
    return matches;
  }
  void Expect(std::string_view text) {
    if (!Skip(text)) Unexpected(text);
  }
  std::string ExpectName() {
    if (current().kind != TokenKind::kName) Unexpected("a name");
    return Next().text;
  }
  [[noreturn]] void Unexpected(std::string_view wanted) const {
    Invalid("template line {}: expected {}, found {}", current().line, wanted, Describe(current()));
  }

  // An expression of `parts`, which `evaluate` gets behind the environment.
  template <typename Evaluator, typename... Parts>
  Expression Make(int line, Evaluator evaluate, Parts... parts) const {
    const int depth = 1 + std::max({0, DepthOf(parts)...});
    if (depth > kMaxExpressionDepth) Unexpected("expressions that are nested less deep");
    return {line, depth,
            [evaluate = std::move(evaluate), ... parts = std::move(parts)](
                Environment& environment) { return evaluate(environment, parts...); }};
  }
  Expression MakeLiteral(int line, Value value) const {
    return Make(line, [value](Environment&) { return value; });
  }
  Expression MakeName(int line, const std::string& name) const {
    return Make(line, [name](Environment& environment) { return environment.Lookup(name); });
  }
  Expression MakeCaptured() const {
    return Make(current().line, [](Environment& environment) { return environment.captured; });
  }

  // An expression; without `conditional` none of the form `a if b else c` on its top level.
  Expression ParseExpression(bool conditional = true) {
    const Exchanged nesting(&nesting_, nesting_ + 1);
    if (nesting_ > kMaxExpressionDepth) Unexpected("expressions that are nested less deep");
    Expression expression = ParseBinary(0);
    while (conditional && At("if")) {
      const int line = Next().line;
      Expression condition = ParseBinary(0);
      Expression otherwise =
          Skip("else") ? ParseExpression()
                       : MakeLiteral(line, Value::MakeUndefined("the inline if-expression has no "
                                                                "else and its test was false"));
      expression = Make(
          line,
          [](Environment& environment, const auto& test, const auto& yes, const auto& no) {
            return test(environment).Truth() ? yes(environment) : no(environment);
          },
          std::move(condition), std::move(expression), std::move(otherwise));
    }
    return expression;
  }

  // One expression, or several with commas as a tuple. `stop` ends it (for x in ... recursive).
  Expression ParseTuple(bool conditional = true, std::string_view stop = ")") {
    const auto at_end = [&] { return At("}}") || At("%}") || At(")") || At(stop); };
    const int line = current().line;
    if (at_end()) Unexpected("an expression");
    std::vector<Expression> items;
    items.push_back(ParseExpression(conditional));
    if (!At(",")) return std::move(items[0]);
    while (Skip(",") && !at_end()) items.push_back(ParseExpression(conditional));
    return Make(line, SequenceOf, SequenceKind::kTuple, std::move(items));
  }

  // `chain` through `|name(...)|...`.
  Expression ParseFilterChain(Expression chain) {
    while (Skip("|")) chain = ParseApplied("filter", std::move(chain));
    return chain;
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
      const bool was_named = !arguments.empty() && !arguments.back().name.empty();
      if (was_named && (name.empty() || name == "*")) Unexpected("a keyword argument");
      arguments.push_back({std::move(name), ParseExpression()});
    });
    return arguments;
  }

  // The name and the arguments of a filter or a test of `input`.
  Expression ParseApplied(std::string_view what, Expression input) {
    const bool is_filter = what == "filter";
    const int line = current().line;
    const std::string name = ExpectName();
    const Function* function = is_filter ? FindFilter(name) : FindTest(name);
    std::vector<Argument> arguments;
    if (At("(")) {
      arguments = ParseArguments();
    } else if (!is_filter && AtOperand()) {
      if (At("is")) Unexpected("one test only");
      arguments.push_back({"", ParsePostfix(ParsePrimary())});
    }
    return Make(
        line,
        [=](Environment& environment, const auto& operand, const auto& given) {
          if (function == nullptr) Invalid("no {} named '{}'", what, name);
          const Value self = operand(environment);
          const Arguments bound = Evaluate(environment, given);
          environment.line = line;
          return environment.Made(Apply(environment, what, name, *function, self, bound));
        },
        std::move(input), std::move(arguments));
  }

  std::span<const Token> tokens_;
  size_t position_ = 0;

 private:
  template <typename Part>
  static int DepthOf(const Part&) {
    return 0;  // no expression
  }
  static int DepthOf(const Expression& part) { return part.depth; }
  static int DepthOf(const Argument& part) { return part.value.depth; }
  template <typename Part>
  static int DepthOf(const std::vector<Part>& parts) {
    int depth = 0;
    for (const Part& part : parts) depth = std::max(depth, DepthOf(part));
    return depth;
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

  // Whether the argument of a test without brackets stands here.
  bool AtOperand() const {
    const TokenKind kind = current().kind;
    if (kind == TokenKind::kName) return !At("else") && !At("or") && !At("and");
    return kind == TokenKind::kString || kind == TokenKind::kNumber || At("[") || At("{");
  }

  static Value SequenceOf(Environment& environment, SequenceKind kind,
                          const std::vector<Expression>& parts) {
    List values;
    for (const Expression& part : parts) values.push_back(part(environment));
    return environment.Made(Value::MakeSequence(kind, std::move(values)));
  }

  // The operator of `level` that stands here; empty for none.
  std::string_view AtOperator(size_t level) const {
    for (const std::string_view symbol : kLevels[level]) {
      if (symbol == "not in" ? At("not") && At("in", 1) : At(symbol)) return symbol;
    }
    return "";
  }

  Expression ParseBinary(size_t level) {
    const auto operand = [&] {
      return level == kTightestLevel  ? ParseFiltered()
             : level + 1 == kNotLevel ? ParseNot()
                                      : ParseBinary(level + 1);
    };
    Expression left = operand();
    for (auto symbol = AtOperator(level); !symbol.empty(); symbol = AtOperator(level)) {
      const int line = Next().line;
      if (symbol == "not in") Next();
      Expression right = operand();
      left = Make(line, Combine, symbol, std::move(left), std::move(right));
      if (level == kNotLevel && !AtOperator(level).empty()) {
        Unsupported("template line {}: a chain of comparisons is not supported", line);
      }
    }
    return left;
  }

  Expression ParseNot() {
    const int line = current().line;
    int num_nots = 0;
    while (Skip("not")) ++num_nots;
    Expression operand = ParseBinary(kNotLevel);
    for (; num_nots > 0; --num_nots) operand = Make(line, Negated, std::move(operand));
    return operand;
  }

  Expression ParseFiltered() {
    Expression expression = ParseUnary();
    while (true) {
      if (At("|")) {
        expression = ParseFilterChain(std::move(expression));
      } else if (At("is")) {
        const int line = Next().line;
        const bool negated = Skip("not");
        expression = ParseApplied("test", std::move(expression));
        if (negated) expression = Make(line, Negated, std::move(expression));
      } else if (At("(")) {
        expression = ParsePostfix(std::move(expression));
      } else {
        return expression;
      }
    }
  }

  Expression ParseUnary() {
    if (!At("-") && !At("+")) return ParsePostfix(ParsePrimary());
    const Token& sign = Next();
    const Exchanged nesting(&nesting_, nesting_ + 1);
    if (nesting_ > kMaxExpressionDepth) Unexpected("fewer signs");
    const auto signed_value = [is_minus = sign.text == "-"](Environment& environment,
                                                            const auto& part) {
      const Value negative = Negate(part(environment));
      return is_minus ? negative : Negate(negative);
    };
    return ParsePostfix(Make(sign.line, signed_value, ParseUnary()));
  }

  Expression ParsePrimary() {
    const Token& token = current();
    if (token.kind == TokenKind::kName) return ParseName();
    if (token.kind == TokenKind::kNumber) return MakeLiteral(token.line, Next().number);
    if (token.kind == TokenKind::kString) {
      std::string text;
      while (current().kind == TokenKind::kString) text += Next().text;
      return MakeLiteral(token.line, Value(std::move(text)));
    }
    if (Skip("(")) {
      if (Skip(")"))
        return Make(token.line, SequenceOf, SequenceKind::kTuple, std::vector<Expression>());
      Expression inner = ParseTuple();
      Expect(")");
      return inner;
    }
    if (At("{")) return ParseDict();
    Expect("[");
    std::vector<Expression> items;
    ParseItems("]", [&] { items.push_back(ParseExpression()); });
    return Make(token.line, SequenceOf, SequenceKind::kList, std::move(items));
  }

  Expression ParseDict() {
    const int line = Next().line;
    std::vector<Expression> keys;
    std::vector<Expression> values;
    ParseItems("}", [&] {
      keys.push_back(ParseExpression());
      Expect(":");
      values.push_back(ParseExpression());
    });
    return Make(
        line,
        [](Environment& environment, const auto& keys_of, const auto& values_of) {
          Dict dict;
          for (size_t i = 0; i < keys_of.size(); ++i) {
            const Value key = keys_of[i](environment);
            dict.Set(key, values_of[i](environment));
          }
          return environment.Made(Value(std::move(dict)));
        },
        std::move(keys), std::move(values));
  }

  Expression ParseName() {
    const Token& token = Next();
    const auto place = std::find(std::begin(kConstants), std::end(kConstants), token.text);
    if (place == std::end(kConstants)) return MakeName(token.line, token.text);
    const auto index = (place - std::begin(kConstants)) % 3;
    return MakeLiteral(token.line, index == 2 ? Value() : Value(index == 0));
  }

  Expression ParsePostfix(Expression object) {
    while (true) {
      const int line = current().line;
      if (At(".") || At("[")) {
        object = ParseSubscript(std::move(object));
      } else if (At("(")) {
        std::vector<Argument> arguments = ParseArguments();
        object = Make(line, CallOf, std::move(object), std::move(arguments));
      } else {
        return object;
      }
    }
  }

  static Value ItemOf(Environment& environment, const Expression& object, const Expression& key) {
    const Value container = object(environment);
    return GetItem(environment, container, key(environment));
  }

  Expression ParseSubscript(Expression object) {
    const int line = current().line;
    if (Skip(".")) {
      if (current().kind == TokenKind::kNumber) {
        return Make(line, ItemOf, std::move(object), ParsePrimary());
      }
      const auto attribute = [name = ExpectName()](Environment& environment, const auto& part) {
        return GetAttribute(part(environment), name);
      };
      return Make(line, attribute, std::move(object));
    }
    Expect("[");
    std::vector<Expression> bounds(3);  // start, stop, step; or the key alone
    size_t num_colons = 0;
    while (!At("]")) {
      if (Skip(":")) {
        if (++num_colons > 2) Unexpected("]");
      } else {
        if (bounds[num_colons]) Unexpected("]");
        bounds[num_colons] = ParseExpression();
      }
    }
    if (num_colons == 0 && !bounds[0]) Unexpected("an expression");
    Next();
    if (num_colons == 0) return Make(line, ItemOf, std::move(object), std::move(bounds[0]));
    const auto slice = [](Environment& environment, const auto& part, const auto& bounds_of) {
      const Value all = part(environment);
      List values;
      for (const auto& bound : bounds_of) values.push_back(bound ? bound(environment) : Value());
      return environment.Made(Slice(environment, all, values[0], values[1], values[2]));
    };
    return Make(line, slice, std::move(object), std::move(bounds));
  }

  int nesting_ = 0;
};

}  // namespace jinja
