#include "jinja/predicates.h"

#include <algorithm>

#include "jinja/environment.h"
#include "jinja/error.h"
#include "jinja/filters.h"
#include "jinja/operators.h"
#include "jinja/parameters.h"
#include "jinja/text_edit.h"
#include "jinja/value_text.h"

namespace jinja {
namespace {

// A test without parameters, from a plain question about the value.
template <bool (*kAsk)(const Value&)>
Result<Value> Ask(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("test", {}, 0, arguments));
  return Value(kAsk(self));
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
bool IsEscaped(const Value& value) { return value.is_markup(); }

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

bool IsFilterName(const Value& value) {
  return value.is_string() && FindFilter(value.string()) != nullptr;
}

bool IsTestName(const Value& value) {
  return value.is_string() && FindPredicate(value.string()) != nullptr;
}

template <bool (*kAsk)(std::string_view)>
Result<Value> AskText(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("test", {}, 0, arguments));
  JINJA_ASSIGN(const std::string text, ToText(environment, self));
  return Value(kAsk(text));
}

template <CompareOperator kOperator>
Result<Value> CompareWith(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound, Parameters::Bind("test", {"other"}, 1, arguments));
  JINJA_ASSIGN(const bool holds, Compare(environment, kOperator, self, bound[0]));
  return Value(holds);
}

Result<Value> SameAs(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound, Parameters::Bind("sameas", {"other"}, 1, arguments));
  return Value(self.IsSame(bound[0]));
}

Result<bool> HasRemainder(Environment& environment, const Value& value, int64_t divisor,
                          int64_t remainder) {
  JINJA_ASSIGN(const Value rest,
               Arithmetic(environment, ArithmeticOperator::kModulo, value, Value(divisor)));
  return Equals(environment, rest, Value(remainder));
}

template <int64_t kRemainder>
Result<Value> Parity(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("test", {}, 0, arguments));
  JINJA_ASSIGN(const bool holds, HasRemainder(environment, self, 2, kRemainder));
  return Value(holds);
}

Result<Value> DivisibleBy(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound, Parameters::Bind("divisibleby", {"num"}, 1, arguments));
  JINJA_ASSIGN(const int64_t divisor, bound.Integer(0, 1));
  JINJA_ASSIGN(const bool holds, HasRemainder(environment, self, divisor, 0));
  return Value(holds);
}

constexpr PredicateRow kRows[] = {{"defined", Ask<IsDefined>},
                                  {"undefined", Ask<IsUndefined>},
                                  {"none", Ask<IsNone>},
                                  {"boolean", Ask<IsBoolean>},
                                  {"true", Ask<IsTrue>},
                                  {"false", Ask<IsFalse>},
                                  {"integer", Ask<IsInteger>},
                                  {"float", Ask<IsFloat>},
                                  {"number", Ask<IsNumber>},
                                  {"string", Ask<IsString>},
                                  {"mapping", Ask<IsMapping>},
                                  {"sequence", Ask<IsSequence>},
                                  {"iterable", Ask<IsIterable>},
                                  {"callable", Ask<IsCallable>},
                                  {"escaped", Ask<IsEscaped>},
                                  {"filter", Ask<IsFilterName>},
                                  {"test", Ask<IsTestName>},
                                  {"lower", AskText<IsLowerText>},
                                  {"upper", AskText<IsUpperText>},
                                  {"odd", Parity<1>},
                                  {"even", Parity<0>},
                                  {"divisibleby", DivisibleBy},
                                  {"sameas", SameAs},
                                  {"in", CompareWith<CompareOperator::kIn>},
                                  {"==", CompareWith<CompareOperator::kEqual>},
                                  {"eq", CompareWith<CompareOperator::kEqual>},
                                  {"equalto", CompareWith<CompareOperator::kEqual>},
                                  {"!=", CompareWith<CompareOperator::kNotEqual>},
                                  {"ne", CompareWith<CompareOperator::kNotEqual>},
                                  {">", CompareWith<CompareOperator::kGreater>},
                                  {"gt", CompareWith<CompareOperator::kGreater>},
                                  {"greaterthan", CompareWith<CompareOperator::kGreater>},
                                  {">=", CompareWith<CompareOperator::kGreaterEqual>},
                                  {"ge", CompareWith<CompareOperator::kGreaterEqual>},
                                  {"<", CompareWith<CompareOperator::kLess>},
                                  {"lt", CompareWith<CompareOperator::kLess>},
                                  {"lessthan", CompareWith<CompareOperator::kLess>},
                                  {"<=", CompareWith<CompareOperator::kLessEqual>},
                                  {"le", CompareWith<CompareOperator::kLessEqual>}};

}  // namespace

const PredicateRow* FindPredicate(std::string_view name) {
  const auto row =
      std::find_if(std::begin(kRows), std::end(kRows),
                   [&](const PredicateRow& candidate) { return candidate.name == name; });
  return row == std::end(kRows) ? nullptr : row;
}

}  // namespace jinja
