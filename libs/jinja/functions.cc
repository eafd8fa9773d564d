#include "jinja/functions.h"

#include <algorithm>
#include <ctime>

#include "jinja/operators.h"
#include "jinja/text.h"

namespace jinja {
namespace {

struct Parameter {
  std::string_view name;
  std::string_view type;  // "", "str", "int" or "bool"
  bool required = true;
};

std::vector<Parameter> ParseParameters(std::string_view text) {
  std::vector<Parameter> parameters;
  for (std::string_view part : Split(text, "", -1)) {
    const bool required = !part.ends_with('?');
    if (!required) part.remove_suffix(1);
    const auto name_and_type = Split(part, ":", 1);
    parameters.push_back(
        {name_and_type[0], name_and_type.size() > 1 ? name_and_type[1] : "", required});
  }
  return parameters;
}

void CheckType(std::string_view function, const Parameter& parameter, const Value& value) {
  if (parameter.type == "never") {
    Unsupported("{}: the argument '{}' is not supported", function, parameter.name);
  }
  const bool is_text = parameter.type == "str";
  if (is_text ? value.is_string() : parameter.type != "int" || value.is_integral()) return;
  RefuseUndefined(value);
  Unsupported("{}: '{}' must be {}, not '{}'", function, parameter.name,
              is_text ? "a string" : "an integer", value.type_name());
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
  return Value(call.self.has_subscript() ||
               IsKind<Kind::kUndefined, Kind::kString, Kind::kDict>(call).boolean());
}

constexpr std::string_view kComparisons[] = {"==", "!=", "<", "<=", ">", ">=", "in"};

template <size_t kIndex>
Value CompareWith(Call& call) {
  return Operate(call.environment, kComparisons[kIndex], call.self, call[0]);
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
    {"in", "seq", CompareWith<6>},
    {"eq equalto ==", "b", CompareWith<0>},
    {"ne !=", "b", CompareWith<1>},
    {"gt greaterthan >", "b", CompareWith<4>},
    {"ge >=", "b", CompareWith<5>},
    {"lt lessthan <", "b", CompareWith<2>},
    {"le <=", "b", CompareWith<3>},
    {"divisibleby escaped even filter lower odd sameas test upper", "*", nullptr}};

// The functions that every chat template sees.

constexpr size_t kMaxRange = 100000;  // MAX_RANGE of Jinja's sandbox
constexpr size_t kMaxDateSize = 4096;

Value Range(Call& call) {
  const int64_t start = call.Has(1) ? call.Integer(0, 0) : 0;
  const int64_t stop = call.Integer(call.Has(1) ? 1 : 0, 0);
  const int64_t step = call.Integer(2, 1);
  if (step == 0) Invalid("range() step must not be zero");
  List items;
  int64_t i = start;
  bool overflows = false;
  while (!overflows && (step > 0 ? i < stop : i > stop)) {
    items.emplace_back(i);
    if (items.size() > kMaxRange) Invalid("range() of more than {} items", kMaxRange);
    overflows = __builtin_add_overflow(i, step, &i);
  }
  call.environment.Step(static_cast<int64_t>(items.size() / 16));
  return Value::MakeSequence(SequenceKind::kRange, std::move(items));
}

// name=value, ...; by position no template has anything.
Value MakeDict(Call& call) {
  if (!call.arguments.positional.empty()) Unsupported("arguments by position are not supported");
  Dict dict;
  for (const auto& [name, value] : call.arguments.keyword) dict.Set(Value(name), value);
  return Value(std::move(dict));
}

Value MakeNamespace(Call& call) {
  for (const auto& [name, value] : call.arguments.keyword) CheckMemberName(name);
  return call.environment.MakeNamespace(MakeDict(call).dict());
}

Value RaiseException(Call& call) {
  Fail(ErrorKind::kRaised, "{}", ToText(call.environment, call[0]));
}

Value StrftimeNow(Call& call) {
  const std::string format = call.Text(0);
  if (format.empty()) return Value(std::string());
  if (format.find('\0') != std::string::npos) Invalid("strftime_now: a zero byte");
  const auto& clock = call.environment.options.clock;
  const std::time_t seconds = std::time(nullptr);
  std::tm now = {};
  clock ? void(now = clock()) : void(localtime_r(&seconds, &now));
  // A character in front tells an empty date from one that does not fit.
  std::string date(kMaxDateSize, '\0');
  date.resize(std::strftime(date.data(), date.size(), (" " + format).c_str(), &now));
  if (date.empty() || !IsValidUtf8(date)) {
    Invalid("strftime_now: '{}' makes no date", format.substr(0, 40));
  }
  return Value(date.substr(1));
}

constexpr Function kGlobals[] = {{"dict", "*", MakeDict},
                                 {"namespace", "*", MakeNamespace},
                                 {"raise_exception", "message", RaiseException},
                                 {"range", "start:int stop:int? step:int?", Range},
                                 {"strftime_now", "format:str", StrftimeNow},
                                 {"cycler joiner lipsum", "*", nullptr}};

}  // namespace

void Call::Bind(std::string_view function, std::string_view description) {
  if (description == "*") return;
  const std::vector<Parameter> parameters = ParseParameters(description);
  bound.resize(parameters.size());
  if (arguments.positional.size() > parameters.size()) {
    Invalid("{} takes at most {} arguments, got {}", function, parameters.size(),
            arguments.positional.size());
  }
  std::copy(arguments.positional.begin(), arguments.positional.end(), bound.begin());
  for (const auto& [name, value] : arguments.keyword) {
    const auto place = std::find_if(parameters.begin(), parameters.end(),
                                    [&](const Parameter& p) { return p.name == name; });
    if (place == parameters.end()) Invalid("{} has no parameter '{}'", function, name);
    auto& slot = bound[static_cast<size_t>(place - parameters.begin())];
    if (slot) Invalid("{} got '{}' twice", function, name);
    slot = value;
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& parameter = parameters[i];
    if (!parameter.required && !parameter.type.empty() && Has(i) && bound[i]->is_none()) {
      bound[i].reset();
    }
    if (Has(i)) CheckType(function, parameter, *bound[i]);
    if (!Has(i) && parameter.required) Invalid("{} misses '{}'", function, parameter.name);
  }
}

Value Apply(Environment& environment, std::string_view what, std::string_view name,
            const Function& function, const Value& self, const Arguments& arguments) {
  if (function.apply == nullptr) Unsupported("the {} '{}' is not supported", what, name);
  environment.Step(1 + static_cast<int64_t>(self.shallow_size() / 256));
  Call call{environment, self, arguments};
  call.Bind(name, function.parameters);
  return function.apply(call);
}

Value Bound(std::string_view what, std::string_view name, const Function& row, const Value& self) {
  return Value(Callable{[=, name = std::string(name), function = &row](Environment& environment,
                                                                       const Arguments& arguments) {
                          return Apply(environment, what, name, *function, self, arguments);
                        },
                        self.depth()});
}

const Function* FindRow(std::span<const Function> rows, std::string_view name) {
  const auto row = std::find_if(rows.begin(), rows.end(), [&](const Function& row_of_names) {
    const auto names = Split(row_of_names.names, "", -1);
    return std::find(names.begin(), names.end(), name) != names.end();
  });
  return row == rows.end() ? nullptr : &*row;
}

const Function* FindTest(std::string_view name) { return FindRow(kTests, name); }

void CheckMemberName(std::string_view name) {
  if (!name.starts_with('_')) return;
  Invalid("a namespace can't hold '{}': it begins with an underscore", name);
}

void SetGlobals(Environment& environment) {
  for (const Function& row : kGlobals) {
    for (const auto name : Split(row.names, "", -1)) {
      environment.Set(std::string(name), Bound("function", name, row));
    }
  }
  environment.Set("self", environment.MakeNamespace({}));  // no blocks
}

}  // namespace jinja
