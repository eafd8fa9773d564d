// The syntax tree of a template: one kind of node, made by the parser, walked by the interpreter.
// Not the values (value.h).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "jinja/environment.h"
#include "jinja/operators.h"
#include "jinja/value.h"

namespace jinja {

struct Function;
struct Node;
using NodePtr = std::unique_ptr<Node>;
using Body = std::vector<NodePtr>;

enum class NodeKind {
  // Expressions.
  kLiteral,      // value
  kName,         // name; as a target perhaps name.part, of which parts[0] has the name
  kList,         // parts
  kTuple,        // parts
  kDict,         // parts: key, value, key, value, ...
  kAttribute,    // parts[0].name
  kSubscript,    // parts[0][parts[1]]
  kSlice,        // parts[0][parts[1]:parts[2]:parts[3]], null where left out
  kCall,         // parts[0](arguments)
  kFilter,       // parts[0]|name(arguments); parts[0] is null for the text of a block
  kTest,         // parts[0] is name(arguments)
  kNot,          // not parts[0]
  kNegate,       // -parts[0]
  kArithmetic,   // parts[0] operators[0] parts[1]
  kConcat,       // parts[0] ~ parts[1]
  kAnd,          // parts[0] and parts[1]
  kOr,           // parts[0] or parts[1]
  kCompare,      // parts[0] operators[0] parts[1] operators[1] parts[2] ...
  kConditional,  // parts[1] if parts[0] else parts[2], null where left out
  // Statements.
  kText,         // name is the text
  kPrint,        // {{ parts[0] }}
  kIf,           // if, elif: parts[i] with bodies[i]; else: the last of the bodies, always there
  kFor,          // for parts[0] in parts[1] if parts[2]: bodies[0], else: bodies[1]
  kSet,          // parts[0] = parts[1]
  kSetBlock,     // parts[0] = bodies[0] through the filters parts[1]
  kMacro,        // name(arguments): bodies[0]; an argument's value is its default, or null
  kCallBlock,    // parts[0] is a call; parts[1] the macro that it sees as `caller`
  kFilterBlock,  // bodies[0] through the filters parts[0]
  kScope,        // bodies[0] in a scope of its own
  kBreak,
  kContinue,
  kUnsupported,  // name is what Jinja knows and this library does not; an error when reached
};

// Of a call, filter or test; or a parameter of a macro.
struct Argument {
  std::string name;  // empty by position; "*" and "**" spread a list and a dict
  NodePtr value;
};

struct Node {
  NodeKind kind = NodeKind::kText;
  int line = 0;
  int depth = 1;  // levels of expressions below and with this one
  std::string name;
  Value value;
  std::vector<Operator> operators;
  std::vector<NodePtr> parts;
  std::vector<Argument> arguments;
  std::vector<Body> bodies;
  const Function* function = nullptr;  // of a filter or test; null: there is none of that name
  bool uses_caller = false;            // of a macro: its body reads the variable `caller`
};

// Failures name the line. As in Jinja, an unknown filter or test is one here, but inside of an if
// statement (not in a loop's or macro's body there) or of an inline if one when it is reached; what
// this library lacks is always one when it is reached.
Body ParseSource(std::string_view source);

// What `body` writes. `variables` is a dict. Failures name the line, but for those of
// raise_exception.
std::string Interpret(const Body& body, const RenderOptions& options, const Value& variables);

}  // namespace jinja
