// Filters of lists, dicts and what else can be iterated over.
#include <algorithm>
#include <set>

#include "jinja/functions.h"
#include "jinja/operators.h"
#include "jinja/text.h"
#include "jinja/value_text.h"

namespace jinja {
namespace {

Value MakeGenerator(List items) {
  return Value::MakeSequence(SequenceKind::kGenerator, std::move(items));
}

// item.a.b.0 for the attribute "a.b.0"; the item itself for none. `fallback`, unless none, replaces
// what is undefined on the way.
Value GetPath(Environment& environment, Value item, const Value& attribute,
              const Value& fallback = Value()) {
  if (attribute.is_none()) return item;
  if (!attribute.is_string()) return GetItem(environment, item, attribute);
  for (const std::string_view part : Split(attribute.string(), ".", -1, false)) {
    const bool is_index = !part.empty() && part.find_first_not_of("0123456789") == part.npos;
    const auto index = is_index ? ParseInt(part) : std::nullopt;
    item = GetItem(environment, item, index ? Value(*index) : Value(part));
    if (item.is_undefined() && !fallback.is_none()) item = fallback;
  }
  return item;
}

// What a value is sorted or compared by: itself, in lower case.
Value SortKey(const Value& value) {
  return value.is_string() ? Value(ToLower(value.string())) : value;
}

// The second items of `pairs`, sorted by the first.
Value SortPairs(Environment& environment, std::vector<std::pair<Value, Value>> pairs) {
  std::stable_sort(pairs.begin(), pairs.end(), [&](const auto& a, const auto& b) {
    return Order(environment, a.first, b.first) < 0;
  });
  List sorted;
  for (const auto& [key, item] : pairs) sorted.push_back(item);
  return Value::MakeList(std::move(sorted));
}

Value Sort(Call& call) {
  const Value attribute = call.Get(2, Value());
  List attributes = {attribute};
  if (attribute.is_string()) {
    attributes.clear();
    for (const auto part : Split(attribute.string(), ",", -1, false)) attributes.emplace_back(part);
  }
  std::vector<std::pair<Value, Value>> pairs;
  for (const Value& item : Iterate(call.self)) {
    List keys;
    for (const Value& part : attributes) {
      keys.push_back(SortKey(GetPath(call.environment, item, part)));
    }
    pairs.emplace_back(Value::MakeList(std::move(keys)), item);
  }
  return SortPairs(call.environment, std::move(pairs));
}

Value DictSort(Call& call) {
  if (!call.self.is_dict()) Invalid("dictsort needs a dict, not '{}'", call.self.type_name());
  std::vector<std::pair<Value, Value>> pairs;
  for (const auto& [key, value] : call.self.dict().entries()) {
    pairs.emplace_back(SortKey(key), Value::MakeSequence(SequenceKind::kTuple, {key, value}));
  }
  return SortPairs(call.environment, std::move(pairs));
}

Value Unique(Call& call) {
  std::set<std::string> seen;
  List unique;
  for (const Value& item : Iterate(call.self)) {
    if (seen.insert(HashKey(SortKey(item))).second) unique.push_back(item);
  }
  return MakeGenerator(std::move(unique));
}

template <bool kMax>
Value Extreme(Call& call) {
  const List items = Iterate(call.self);
  if (items.empty()) return Value::MakeUndefined("No aggregated item, sequence was empty.");
  Value best = items[0];
  for (const Value& item : items) {
    const auto order = Order(call.environment, SortKey(item), SortKey(best));
    if (kMax ? order > 0 : order < 0) best = item;
  }
  return best;
}

Value Join(Call& call) {
  const List items = Iterate(call.self);
  const std::string separator = ToText(call.environment, call.Get(0, Value(std::string())));
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i != 0) text += separator;
    text += ToText(call.environment, items[i]);
    call.environment.CheckSize(text.size());
  }
  return Value(std::move(text));
}

Value First(Call& call) {
  const Value none = Value::MakeUndefined("No first item, sequence was empty.");
  if (call.self.is_sequence(SequenceKind::kGenerator)) {
    const Sequence& generator = call.self.sequence();
    if (generator.num_taken == generator.items.size()) return none;
    return generator.items[generator.num_taken++];
  }
  const List items = Iterate(call.self);
  return items.empty() ? none : items.front();
}

Value Last(Call& call) {
  if (call.self.is_sequence(SequenceKind::kGenerator)) {
    Invalid("last needs a sequence, not a generator");
  }
  const List items = Iterate(call.self);
  return items.empty() ? Value::MakeUndefined("No last item, sequence was empty.") : items.back();
}

// The items of `call` through the filter or test that positional argument `i` names, with the
// arguments behind it. `take` gets each item and the result.
template <typename Subject, typename Take>
void ApplyToEach(Call& call, size_t i, std::string_view what, Subject subject, Take take) {
  const List& given = call.arguments.positional;
  const Function* function = nullptr;
  if (i < given.size()) {
    if (!given[i].is_string()) Invalid("the name of a {} must be a string", what);
    const std::string& name = given[i].string();
    function = what == "test" ? FindTest(name) : FindFilter(name);
    if (function == nullptr) Invalid("no {} named '{}'", what, name);
  }
  const auto behind = static_cast<ptrdiff_t>(std::min(i + 1, given.size()));
  const Arguments rest = {List(given.begin() + behind, given.end()), call.arguments.keyword};
  for (const Value& item : Iterate(call.self)) {
    call.environment.Step();
    Value value = subject(item);
    if (function != nullptr) {
      value = Apply(call.environment, what, given[i].string(), *function, value, rest);
    }
    take(item, std::move(value));
  }
}

Value Map(Call& call) {
  List mapped;
  if (!call.self.Truth()) return MakeGenerator({});
  if (call.arguments.positional.empty()) {
    call.Bind("map", "attribute default?");
    for (const Value& item : Iterate(call.self)) {
      mapped.push_back(GetPath(call.environment, item, call[0], call.Get(1, Value())));
    }
  } else {
    ApplyToEach(
        call, 0, "filter", [](const Value& item) { return item; },
        [&](const Value&, Value value) {
          call.environment.Allocate(value.shallow_size());
          mapped.push_back(std::move(value));
        });
  }
  return MakeGenerator(std::move(mapped));
}

// select, reject, selectattr and rejectattr: the items for which the test named by the arguments
// (or plain truth) holds or does not.
template <bool kKeep, bool kByAttribute>
Value SelectWhere(Call& call) {
  List kept;
  if (!call.self.Truth()) return MakeGenerator({});
  const List& given = call.arguments.positional;
  if (kByAttribute && given.empty()) Invalid("the attribute's name is missing");
  ApplyToEach(
      call, kByAttribute ? 1 : 0, "test",
      [&](const Value& item) {
        return kByAttribute ? GetPath(call.environment, item, given[0]) : item;
      },
      [&](const Value& item, const Value& value) {
        if (value.Truth() == kKeep) kept.push_back(item);
      });
  return MakeGenerator(std::move(kept));
}

constexpr Function kRows[] = {
    {"dictsort", "case_sensitive:never? by:never? reverse:never?", DictSort},
    {"first", "", First},
    {"join", "d? attribute:never?", Join},
    {"last", "", Last},
    {"length count", "", [](Call& call) { return Value(Length(call.self)); }},
    {"list", "", [](Call& call) { return Value::MakeList(Iterate(call.self)); }},
    {"map", "*", Map},
    {"max", "case_sensitive:never? attribute:never?", Extreme<true>},
    {"min", "case_sensitive:never? attribute:never?", Extreme<false>},
    {"reject", "*", SelectWhere<false, false>},
    {"rejectattr", "*", SelectWhere<false, true>},
    {"select", "*", SelectWhere<true, false>},
    {"selectattr", "*", SelectWhere<true, true>},
    {"sort", "reverse:never? case_sensitive:never? attribute?", Sort},
    {"unique", "case_sensitive:never? attribute:never?", Unique}};

}  // namespace

const std::span<const Function> kSequenceFilters = kRows;

}  // namespace jinja
