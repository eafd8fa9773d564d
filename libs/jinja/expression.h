// What the parser makes of a template: functions that evaluate its expressions and run its
// statements, each knowing its line. Not the grammar (parser.cc), not what values do (operators.h).
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/environment.h"
#include "jinja/value.h"

namespace jinja {

struct Expression {
  int line = 0;
  int depth = 0;                                // levels of expressions below and with this one
  std::function<Value(Environment&)> evaluate;  // empty: left out

  Value operator()(Environment& environment) const {
    const auto nesting = environment.Enter(line);
    return evaluate(environment);
  }
  explicit operator bool() const { return evaluate != nullptr; }
};

// Of a call, filter or test; or a parameter of a macro, whose value is its default or left out.
struct Argument {
  std::string name;  // empty by position; "*" and "**" spread a list and a dict
  Expression value;
};

enum class Flow { kOn, kBreak, kContinue };

struct Statement {
  int line = 0;
  std::function<Flow(Environment&)> run;
};
using Body = std::vector<Statement>;

// Failures name the line. As in Jinja, an unknown filter or test is one here, but inside of an if
// statement (not in a loop's or macro's body there) or of an inline if one when it is reached; what
// this library lacks is always one when it is reached.
Body ParseSource(std::string_view source);

Flow Run(Environment& environment, const Body& body);

}  // namespace jinja
