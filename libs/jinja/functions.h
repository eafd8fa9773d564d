// Every native function of the language, in tables: filters, tests, methods, globals. A row tells
// its parameters, so that binding and checking arguments is written once. Not macros (parser.cc).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/environment.h"
#include "jinja/operators.h"
#include "jinja/value.h"

namespace jinja {

struct Call;

struct Function {
  std::string_view names;  // one, or several with spaces
  // "old:str new:str count:int?": names with their types, separated by spaces. No type takes
  // anything; bool takes anything's truth; never is what Python takes and this library does not.
  // One that ends in ? may be left out, and if it has a type none means left out. "*" alone takes
  // any arguments, unbound.
  std::string_view parameters;
  Value (*apply)(Call& call);  // null: Jinja has it, this library has not
};

// One call: the value it is applied to and its bound arguments.
struct Call {
  Environment& environment;
  const Value& self;
  const Arguments& arguments;
  std::vector<std::optional<Value>> bound = {};  // one for each parameter, once Bind was called

  // Lays the arguments onto the function's parameters; to be asked before what follows.
  void Bind(std::string_view name, std::string_view parameters);

  bool Has(size_t i) const { return bound[i].has_value(); }
  const Value& operator[](size_t i) const { return *bound[i]; }
  Value Get(size_t i, const Value& fallback) const { return Has(i) ? *bound[i] : fallback; }
  // Only of parameters of that type.
  bool Truth(size_t i) const { return Has(i) && bound[i]->Truth(); }
  int64_t Integer(size_t i, int64_t fallback) const {
    return Has(i) ? bound[i]->integer() : fallback;
  }
  std::string Text(size_t i) const { return Has(i) ? bound[i]->string() : ""; }
  std::string SelfText() const { return ToText(environment, self); }
  // `text` as a value that is markup if self is.
  Value Like(std::string_view text) const { return Value(std::string(text), self.is_markup()); }
};

// The function on `self`, with arguments that its row describes. `what` it is ("filter", ...) and
// its name go into messages.
Value Apply(Environment& environment, std::string_view what, std::string_view name,
            const Function& function, const Value& self, const Arguments& arguments);

// The function as a value; `what` it is ("function", "method") and its name go into messages.
Value Bound(std::string_view what, std::string_view name, const Function& row,
            const Value& self = Value());

// Null where there is no filter or test of that name.
const Function* FindFilter(std::string_view name);
const Function* FindTest(std::string_view name);
const Function* FindRow(std::span<const Function> rows, std::string_view name);

// The attribute `name` of `object` as Python's getattr finds it: a bound method, a member of a
// namespace; undefined where the sandbox refuses what would change its object; nullopt where there
// is none.
std::optional<Value> FindAttribute(const Value& object, std::string_view name);

// A failure for a name that a namespace can't hold.
void CheckMemberName(std::string_view name);
// Sets range, dict, namespace, raise_exception, strftime_now, and what this library lacks.
void SetGlobals(Environment& environment);

}  // namespace jinja
