// The syntax tree of a template: plain data, made by the parser, walked by the interpreter.
// Not the values (value.h).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "jinja/operators.h"
#include "jinja/value.h"

namespace jinja {

struct FilterRow;
struct PredicateRow;
struct Expression;
struct Statement;
using ExpressionPtr = std::unique_ptr<Expression>;
using Body = std::vector<Statement>;

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> keyword;
  ExpressionPtr spread_list;  // *expression, or null
  ExpressionPtr spread_dict;  // **expression, or null
};

struct LiteralExpression {
  Value value;
};
struct NameExpression {
  std::string name;
};
struct SequenceExpression {
  SequenceKind kind;
  std::vector<ExpressionPtr> items;
};
struct DictExpression {
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> entries;
};
struct AttributeExpression {
  ExpressionPtr object;
  std::string name;
};
struct SubscriptExpression {
  ExpressionPtr object;
  ExpressionPtr key;
};
struct SliceExpression {
  ExpressionPtr object;
  ExpressionPtr start, stop, step;  // null where left out
};
struct CallExpression {
  ExpressionPtr callee;
  CallArguments arguments;
};
struct FilterExpression {
  ExpressionPtr input;  // null: the text that a filter or set block has captured
  const FilterRow* filter;
  CallArguments arguments;
};
struct PredicateExpression {
  ExpressionPtr input;
  const PredicateRow* predicate;
  CallArguments arguments;
};
enum class UnaryOperator { kNot, kMinus, kPlus };
struct UnaryExpression {
  UnaryOperator op;
  ExpressionPtr operand;
};
struct ArithmeticExpression {
  ArithmeticOperator op;
  ExpressionPtr left, right;
};
struct LogicExpression {
  bool is_and;
  ExpressionPtr left, right;
};
struct ConcatExpression {
  std::vector<ExpressionPtr> parts;
};
struct CompareExpression {
  ExpressionPtr first;
  std::vector<std::pair<CompareOperator, ExpressionPtr>> rest;
};
struct ConditionalExpression {
  ExpressionPtr test, then, otherwise;  // otherwise may be null
};

struct Expression {
  int line = 0;
  int depth = 1;  // levels of expressions below and with this one
  std::variant<LiteralExpression, NameExpression, SequenceExpression, DictExpression,
               AttributeExpression, SubscriptExpression, SliceExpression, CallExpression,
               FilterExpression, PredicateExpression, UnaryExpression, ArithmeticExpression,
               LogicExpression, ConcatExpression, CompareExpression, ConditionalExpression>
      node;
};

// What `set` and `for` assign to: a name, name.attribute of a namespace, or several targets.
struct Target {
  std::string name;
  std::string attribute;      // empty for a plain name
  std::vector<Target> parts;  // of a tuple
  bool is_tuple = false;
};

struct Parameter {
  std::string name;
  ExpressionPtr fallback;  // null: none
};

struct TextStatement {
  std::string text;
};
struct PrintStatement {
  ExpressionPtr expression;
};
struct IfStatement {
  std::vector<std::pair<ExpressionPtr, Body>> branches;  // if, elif, ...
  Body otherwise;
};
struct ForStatement {
  Target target;
  ExpressionPtr iterable;
  ExpressionPtr filter;  // null: every item
  bool recursive = false;
  Body body;
  Body otherwise;
};
struct SetStatement {
  Target target;
  ExpressionPtr expression;
};
struct SetBlockStatement {
  Target target;
  ExpressionPtr filter;  // a chain of FilterExpression, or null
  Body body;
};
struct MacroStatement {
  std::string name;
  std::vector<Parameter> parameters;
  Body body;
  bool uses_caller = false;
  bool uses_keywords = false;     // the variable `kwargs`
  bool uses_positionals = false;  // the variable `varargs`
};
struct CallBlockStatement {
  ExpressionPtr call;
  MacroStatement caller;
};
struct FilterBlockStatement {
  ExpressionPtr filter;
  Body body;
};
// {% with %} and {% generation %}: a body in a scope of its own.
struct ScopeStatement {
  std::vector<std::pair<Target, ExpressionPtr>> assignments;
  Body body;
};
struct BreakStatement {};
struct ContinueStatement {};

struct Statement {
  int line = 0;
  std::variant<TextStatement, PrintStatement, IfStatement, ForStatement, SetStatement,
               SetBlockStatement, MacroStatement, CallBlockStatement, FilterBlockStatement,
               ScopeStatement, BreakStatement, ContinueStatement>
      node;
};

}  // namespace jinja
