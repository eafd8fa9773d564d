// The functions that every chat template sees.
#include <ctime>

#include "jinja/functions.h"
#include "jinja/operators.h"
#include "jinja/text.h"
#include "jinja/value_text.h"

namespace jinja {
namespace {

constexpr int64_t kMaxRange = 100000;  // MAX_RANGE of Jinja's sandbox
constexpr size_t kMaxDateSize = 4096;

Value Range(Call& call) {
  const bool has_stop = call.Has(1);
  const int64_t start = has_stop ? call.Integer(0, 0) : 0;
  const int64_t stop = has_stop ? call.Integer(1, 0) : call.Integer(0, 0);
  const int64_t step = call.Integer(2, 1);
  if (step == 0) Invalid("range() step must not be zero");
  List items;
  int64_t i = start;
  while (step > 0 ? i < stop : i > stop) {
    items.emplace_back(i);
    if (static_cast<int64_t>(items.size()) > kMaxRange) {
      Invalid("range() of more than {} items", kMaxRange);
    }
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  call.environment.Step(static_cast<int64_t>(items.size() / 16));
  return Value::MakeSequence(SequenceKind::kRange, std::move(items));
}

// dict(mapping or pairs, name=value, ...).
Dict BuildDict(const Arguments& arguments) {
  Dict dict;
  if (arguments.positional.size() > 1) Invalid("dict() takes one positional argument");
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (source.is_dict()) {
      dict = source.dict();
    } else {
      for (const Value& pair : Iterate(source)) {
        const List parts = Iterate(pair);
        if (parts.size() != 2) Invalid("dict() needs pairs, got {} items", parts.size());
        dict.Set(parts[0], parts[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.keyword) dict.Set(name, value);
  return dict;
}

Value MakeDict(Call& call) { return Value(BuildDict(call.arguments)); }

Value MakeNamespace(Call& call) {
  Dict attributes = BuildDict(call.arguments);
  for (const auto& [key, value] : attributes.entries()) {
    if (key.is_string() && key.string().starts_with('_')) {
      Invalid("a namespace can't hold '{}': it begins with an underscore", key.string());
    }
  }
  std::shared_ptr<Namespace> space = call.environment.MakeNamespace();
  space->attributes = std::move(attributes);
  return Value(std::move(space));
}

Value RaiseException(Call& call) {
  Fail(ErrorKind::kRaised, "{}", ToText(call.environment, call[0]));
}

Value StrftimeNow(Call& call) {
  const std::string format = call.Text(0);
  if (format.empty()) return Value(std::string());
  if (format.find('\0') != std::string::npos) Invalid("strftime_now: a zero byte");
  const std::tm now = call.environment.Now();
  // A character in front tells an empty date from one that does not fit.
  std::string date(kMaxDateSize, '\0');
  date.resize(std::strftime(date.data(), date.size(), (" " + format).c_str(), &now));
  if (date.empty() || !IsValidUtf8(date)) {
    Invalid("strftime_now: '{}' makes no date", format.substr(0, 40));
  }
  return Value(date.substr(1));
}

constexpr Function kRows[] = {{"dict", "*", MakeDict},
                              {"namespace", "*", MakeNamespace},
                              {"raise_exception", "message", RaiseException},
                              {"range", "start:int stop:int? step:int?", Range},
                              {"strftime_now", "format:str", StrftimeNow},
                              {"cycler", "*", nullptr},
                              {"joiner", "*", nullptr},
                              {"lipsum", "*", nullptr}};

}  // namespace

std::span<const Function> Globals() { return kRows; }

}  // namespace jinja
