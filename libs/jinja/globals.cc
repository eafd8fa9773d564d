#include "jinja/globals.h"

#include "jinja/environment.h"
#include "jinja/error.h"
#include "jinja/operators.h"
#include "jinja/parameters.h"
#include "jinja/text.h"
#include "jinja/value_text.h"

namespace jinja {
namespace {

constexpr int64_t kMaxRange = 100000;  // MAX_RANGE of Jinja's sandbox
constexpr size_t kMaxDateSize = 4096;

Result<Value> Range(Environment& environment, const Value&, const Arguments& arguments) {
  const List& given = arguments.positional;
  if (given.empty() || given.size() > 3 || !arguments.keyword.empty()) {
    return Invalid("range() takes 1 to 3 positional arguments");
  }
  for (const Value& value : given) {
    if (value.is_undefined()) return Invalid("{}", value.reason());
    if (!value.is_integral()) return Invalid("range() of '{}'", value.type_name());
  }
  const int64_t start = given.size() > 1 ? given[0].integer() : 0;
  const int64_t stop = given.size() > 1 ? given[1].integer() : given[0].integer();
  const int64_t step = given.size() > 2 ? given[2].integer() : 1;
  if (step == 0) return Invalid("range() step must not be zero");
  List items;
  int64_t i = start;
  while (step > 0 ? i < stop : i > stop) {
    items.emplace_back(i);
    if (static_cast<int64_t>(items.size()) > kMaxRange) {
      return Invalid("range() of more than {} items", kMaxRange);
    }
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  JINJA_RETURN_IF_ERROR(environment.Step(static_cast<int64_t>(items.size() / 16)));
  return Value::MakeRange(start, stop, step, std::move(items));
}

// dict(mapping or pairs, name=value, ...).
Result<Dict> BuildDict(const Arguments& arguments) {
  Dict dict;
  if (arguments.positional.size() > 1) return Invalid("dict() takes one positional argument");
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (source.is_dict()) {
      dict = source.dict();
    } else {
      JINJA_ASSIGN(const List pairs, Iterate(source));
      for (const Value& pair : pairs) {
        JINJA_ASSIGN(const List parts, Iterate(pair));
        if (parts.size() != 2) return Invalid("dict() needs pairs, got {} items", parts.size());
        JINJA_RETURN_IF_ERROR(dict.Set(parts[0], parts[1]));
      }
    }
  }
  for (const auto& [name, value] : arguments.keyword) dict.Set(name, value);
  return dict;
}

Result<Value> MakeDict(Environment&, const Value&, const Arguments& arguments) {
  JINJA_ASSIGN(Dict dict, BuildDict(arguments));
  return Value(std::move(dict));
}

Result<Value> MakeNamespace(Environment& environment, const Value&, const Arguments& arguments) {
  JINJA_ASSIGN(Dict attributes, BuildDict(arguments));
  for (const auto& [key, value] : attributes.entries()) {
    if (key.is_string() && key.string().starts_with('_')) {
      return Invalid("a namespace can't hold '{}': it begins with an underscore", key.string());
    }
  }
  std::shared_ptr<Namespace> space = environment.MakeNamespace();
  space->attributes = std::move(attributes);
  return Value(std::move(space));
}

Result<Value> RaiseException(Environment& environment, const Value&, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound,
               Parameters::Bind("raise_exception", {"message"}, 1, arguments));
  JINJA_ASSIGN(const std::string message, ToText(environment, bound[0]));
  return Fail(ErrorKind::kRaised, "{}", message);
}

Result<Value> StrftimeNow(Environment& environment, const Value&, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound, Parameters::Bind("strftime_now", {"format"}, 1, arguments));
  JINJA_ASSIGN(const std::string format, bound.Text(0, ""));
  if (format.empty()) return Value(std::string());
  if (format.find('\0') != std::string::npos) return Invalid("strftime_now: a zero byte");
  const std::tm now = environment.Now();
  // A character in front tells an empty date from one that does not fit.
  std::string date(kMaxDateSize, '\0');
  date.resize(std::strftime(date.data(), date.size(), (" " + format).c_str(), &now));
  if (date.empty() || !IsValidUtf8(date)) {
    return Invalid("strftime_now: '{}' makes no date", format.substr(0, 40));
  }
  return Value(date.substr(1));
}

constexpr GlobalRow kGlobals[] = {{"dict", MakeDict},
                                  {"namespace", MakeNamespace},
                                  {"raise_exception", RaiseException},
                                  {"range", Range},
                                  {"strftime_now", StrftimeNow}};

}  // namespace

std::span<const GlobalRow> Globals() { return kGlobals; }

}  // namespace jinja
