// Jinja's tests, `value is name(arguments)`. Called predicates here, so as not to be mistaken for
// the tests of this code.
#include "jinja/functions.h"
#include "jinja/operators.h"

namespace jinja {
namespace {

template <Kind... kKinds>
Value IsKind(Call& call) {
  return Value(((call.self.kind() == kKinds) || ...));
}

template <bool kWanted>
Value IsBool(Call& call) {
  return Value(call.self.is_bool() && call.self.boolean() == kWanted);
}

Value IsSequence(Call& call) {
  const Value& value = call.self;
  return Value(value.is_undefined() || value.is_string() || value.is_dict() ||
               (value.kind() == Kind::kSequence && value.sequence().has_subscript()));
}

template <Operator kOperator>
Value CompareWith(Call& call) {
  return Value(Compare(call.environment, kOperator, call.self, call[0]));
}

constexpr Function kRows[] = {
    {"defined", "", [](Call& call) { return Value(!call.self.is_undefined()); }},
    {"undefined", "", IsKind<Kind::kUndefined>},
    {"none", "", IsKind<Kind::kNone>},
    {"boolean", "", IsKind<Kind::kBool>},
    {"true", "", IsBool<true>},
    {"false", "", IsBool<false>},
    {"integer", "", IsKind<Kind::kInt>},
    {"float", "", IsKind<Kind::kFloat>},
    {"number", "", IsKind<Kind::kBool, Kind::kInt, Kind::kFloat>},
    {"string", "", IsKind<Kind::kString>},
    {"mapping", "", IsKind<Kind::kDict>},
    {"sequence", "", IsSequence},
    {"iterable", "",
     IsKind<Kind::kUndefined, Kind::kString, Kind::kDict, Kind::kSequence, Kind::kLoop>},
    {"callable", "", IsKind<Kind::kUndefined, Kind::kCallable, Kind::kLoop>},
    {"in", "seq", CompareWith<Operator::kIn>},
    {"eq equalto ==", "b", CompareWith<Operator::kEqual>},
    {"ne !=", "b", CompareWith<Operator::kNotEqual>},
    {"gt greaterthan >", "b", CompareWith<Operator::kGreater>},
    {"ge >=", "b", CompareWith<Operator::kGreaterEqual>},
    {"lt lessthan <", "b", CompareWith<Operator::kLess>},
    {"le <=", "b", CompareWith<Operator::kLessEqual>},
    {"divisibleby escaped even filter lower odd sameas test upper", "*", nullptr}};

}  // namespace

const Function* FindTest(std::string_view name) { return FindRow(kRows, name); }

}  // namespace jinja
