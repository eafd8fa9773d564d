// Jinja's tests, `value is name(arguments)`. Called predicates here, so as not to be mistaken for
// the tests of this code.
#include "jinja/functions.h"
#include "jinja/operators.h"

namespace jinja {
namespace {

// A test without parameters, from a plain question about the value.
template <bool (*kAsk)(const Value&)>
Value Ask(Call& call) {
  return Value(kAsk(call.self));
}

bool IsDefined(const Value& value) { return !value.is_undefined(); }
bool IsUndefined(const Value& value) { return value.is_undefined(); }
bool IsNone(const Value& value) { return value.is_none(); }
bool IsBoolean(const Value& value) { return value.is_bool(); }
bool IsTrue(const Value& value) { return value.is_bool() && value.boolean(); }
bool IsFalse(const Value& value) { return value.is_bool() && !value.boolean(); }
bool IsInteger(const Value& value) { return value.kind() == Kind::kInt; }
bool IsFloat(const Value& value) { return value.kind() == Kind::kFloat; }
bool IsNumber(const Value& value) { return value.is_number(); }
bool IsString(const Value& value) { return value.is_string(); }
bool IsMapping(const Value& value) { return value.is_dict(); }

bool IsSequence(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is_dict() ||
         (value.kind() == Kind::kSequence && value.sequence().has_subscript());
}

bool IsIterable(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is_dict() ||
         value.kind() == Kind::kSequence || value.kind() == Kind::kLoop;
}

bool IsCallable(const Value& value) {
  return value.is_undefined() || value.kind() == Kind::kCallable || value.kind() == Kind::kLoop;
}

template <Operator kOperator>
Value CompareWith(Call& call) {
  const bool holds = Compare(call.environment, kOperator, call.self, call[0]);
  return Value(holds);
}

Value HasRemainder(Call& call, int64_t divisor, int64_t remainder) {
  const Value rest = Arithmetic(call.environment, Operator::kModulo, call.self, Value(divisor));
  const bool equal = Equals(call.environment, rest, Value(remainder));
  return Value(equal);
}

Value Odd(Call& call) { return HasRemainder(call, 2, 1); }
Value Even(Call& call) { return HasRemainder(call, 2, 0); }
Value DivisibleBy(Call& call) { return HasRemainder(call, call.Integer(0, 1), 0); }

constexpr Function kRows[] = {{"defined", "", Ask<IsDefined>},
                              {"undefined", "", Ask<IsUndefined>},
                              {"none", "", Ask<IsNone>},
                              {"boolean", "", Ask<IsBoolean>},
                              {"true", "", Ask<IsTrue>},
                              {"false", "", Ask<IsFalse>},
                              {"integer", "", Ask<IsInteger>},
                              {"float", "", Ask<IsFloat>},
                              {"number", "", Ask<IsNumber>},
                              {"string", "", Ask<IsString>},
                              {"mapping", "", Ask<IsMapping>},
                              {"sequence", "", Ask<IsSequence>},
                              {"iterable", "", Ask<IsIterable>},
                              {"callable", "", Ask<IsCallable>},
                              {"odd", "", Odd},
                              {"even", "", Even},
                              {"divisibleby", "num:int", DivisibleBy},
                              {"in", "seq", CompareWith<Operator::kIn>},
                              {"==", "b", CompareWith<Operator::kEqual>},
                              {"eq", "b", CompareWith<Operator::kEqual>},
                              {"equalto", "b", CompareWith<Operator::kEqual>},
                              {"!=", "b", CompareWith<Operator::kNotEqual>},
                              {"ne", "b", CompareWith<Operator::kNotEqual>},
                              {">", "b", CompareWith<Operator::kGreater>},
                              {"gt", "b", CompareWith<Operator::kGreater>},
                              {"greaterthan", "b", CompareWith<Operator::kGreater>},
                              {">=", "b", CompareWith<Operator::kGreaterEqual>},
                              {"ge", "b", CompareWith<Operator::kGreaterEqual>},
                              {"<", "b", CompareWith<Operator::kLess>},
                              {"lt", "b", CompareWith<Operator::kLess>},
                              {"lessthan", "b", CompareWith<Operator::kLess>},
                              {"<=", "b", CompareWith<Operator::kLessEqual>},
                              {"le", "b", CompareWith<Operator::kLessEqual>},
                              {"escaped", "", nullptr},
                              {"filter", "", nullptr},
                              {"lower", "", nullptr},
                              {"sameas", "", nullptr},
                              {"test", "", nullptr},
                              {"upper", "", nullptr}};

}  // namespace

const Function* FindTest(std::string_view name) { return FindRow(kRows, name); }

}  // namespace jinja
