#include "jinja/functions.h"

#include <algorithm>

#include "jinja/operators.h"
#include "jinja/text.h"
#include "jinja/value_text.h"

namespace jinja {
namespace {

struct Parameter {
  std::string_view name;
  std::string_view type;  // "", "str", "int" or "bool"
  bool required = true;
};

std::vector<Parameter> ParseParameters(std::string_view text) {
  std::vector<Parameter> parameters;
  for (std::string_view part : Split(text, "", -1, false)) {
    const bool required = !part.ends_with('?');
    if (!required) part.remove_suffix(1);
    const size_t colon = std::min(part.find(':'), part.size());
    parameters.push_back(
        {part.substr(0, colon), part.substr(std::min(colon + 1, part.size())), required});
  }
  return parameters;
}

void CheckType(std::string_view function, const Parameter& parameter, const Value& value) {
  if (parameter.type == "str"   ? value.is_string()
      : parameter.type == "int" ? value.is_integral()
                                : parameter.type != "never") {
    return;
  }
  if (parameter.type == "never") {
    Unsupported("{}: the argument '{}' is not supported", function, parameter.name);
  }
  if (value.is_undefined()) Invalid("{}", value.reason());
  Invalid("{}: '{}' must be {}, not '{}'", function, parameter.name,
          parameter.type == "str" ? "a string" : "an integer", value.type_name());
}

// Jinja's tests, `value is name(arguments)`.
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

constexpr Function kTests[] = {
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

void Call::Bind(std::string_view function, std::string_view description) {
  if (description == "*") return;
  const std::vector<Parameter> parameters = ParseParameters(description);
  bound_.resize(parameters.size());
  if (arguments.positional.size() > parameters.size()) {
    Invalid("{} takes at most {} arguments, got {}", function, parameters.size(),
            arguments.positional.size());
  }
  std::copy(arguments.positional.begin(), arguments.positional.end(), bound_.begin());
  for (const auto& [name, value] : arguments.keyword) {
    const auto place = std::find_if(parameters.begin(), parameters.end(),
                                    [&](const Parameter& p) { return p.name == name; });
    if (place == parameters.end()) Invalid("{} has no parameter '{}'", function, name);
    auto& slot = bound_[static_cast<size_t>(place - parameters.begin())];
    if (slot) Invalid("{} got '{}' twice", function, name);
    slot = value;
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& parameter = parameters[i];
    if (!parameter.required && !parameter.type.empty() && Has(i) && bound_[i]->is_none()) {
      bound_[i].reset();
    }
    if (Has(i)) CheckType(function, parameter, *bound_[i]);
    if (!Has(i) && parameter.required) Invalid("{} misses '{}'", function, parameter.name);
  }
}

std::string Call::SelfText() const { return ToText(environment, self); }

Value Apply(Environment& environment, std::string_view what, std::string_view name,
            const Function& function, const Value& self, const Arguments& arguments) {
  if (function.apply == nullptr) Unsupported("the {} '{}' is not supported", what, name);
  environment.Step(1 + static_cast<int64_t>(self.shallow_size() / 256));
  Call call(&environment, self, arguments);
  call.Bind(name, function.parameters);
  return function.apply(call);
}

const Function* FindRow(std::span<const Function> rows, std::string_view name) {
  const auto row = std::find_if(rows.begin(), rows.end(), [&](const Function& row_of_names) {
    const auto names = Split(row_of_names.names, "", -1, false);
    return std::find(names.begin(), names.end(), name) != names.end();
  });
  return row == rows.end() ? nullptr : &*row;
}

const Function* FindFilter(std::string_view name) {
  const Function* row = FindRow(kScalarFilters, name);
  return row != nullptr ? row : FindRow(kSequenceFilters, name);
}

const Function* FindTest(std::string_view name) { return FindRow(kTests, name); }

}  // namespace jinja
