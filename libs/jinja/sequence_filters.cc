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

// What a value is sorted or compared by: itself, its attribute, in lower case.
Value SortKey(Environment& environment, const Value& item, const Value& attribute,
              bool case_sensitive) {
  Value key = GetPath(environment, item, attribute);
  return !case_sensitive && key.is_string() ? Value(ToLower(key.string())) : key;
}

Value SortByKeys(Environment& environment, const List& items, const List& keys, bool reverse) {
  std::vector<size_t> order(items.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (reverse) std::swap(a, b);
    return Order(environment, keys[a], keys[b]) < 0;
  });
  List sorted;
  for (const size_t i : order) sorted.push_back(items[i]);
  return Value::MakeList(std::move(sorted));
}

Value Sort(Call& call) {
  const List items = Iterate(call.self);
  const Value attribute = call.Get(2, Value());
  List attributes = {attribute};
  if (attribute.is_string()) {
    attributes.clear();
    for (const auto part : Split(attribute.string(), ",", -1, false)) attributes.emplace_back(part);
  }
  List keys;
  for (const Value& item : items) {
    List parts;
    for (const Value& part : attributes) {
      parts.push_back(SortKey(call.environment, item, part, call.Truth(1)));
    }
    keys.push_back(Value::MakeList(std::move(parts)));
  }
  return SortByKeys(call.environment, items, keys, call.Truth(0));
}

Value DictSort(Call& call) {
  const std::string by = call.Text(1, "key");
  if (by != "key" && by != "value") Invalid("dictsort by '{}'", by);
  if (!call.self.is_dict()) Invalid("dictsort needs a dict, not '{}'", call.self.type_name());
  List items, keys;
  for (const auto& [key, value] : call.self.dict().entries()) {
    items.push_back(Value::MakeSequence(SequenceKind::kTuple, {key, value}));
    keys.push_back(SortKey(call.environment, by == "key" ? key : value, Value(), call.Truth(0)));
  }
  return SortByKeys(call.environment, items, keys, call.Truth(2));
}

Value Unique(Call& call) {
  std::set<std::string> seen;
  List unique;
  for (const Value& item : Iterate(call.self)) {
    const Value key = SortKey(call.environment, item, call.Get(1, Value()), call.Truth(0));
    if (seen.insert(HashKey(key)).second) unique.push_back(item);
  }
  return MakeGenerator(std::move(unique));
}

template <bool kMax>
Value Extreme(Call& call) {
  Value best = Value::MakeUndefined("No aggregated item, sequence was empty.");
  std::optional<Value> best_key;
  for (const Value& item : Iterate(call.self)) {
    Value key = SortKey(call.environment, item, call.Get(1, Value()), call.Truth(0));
    if (best_key) {
      const auto order = Order(call.environment, key, *best_key);
      if (kMax ? !(order > 0) : !(order < 0)) continue;
    }
    best = item;
    best_key = std::move(key);
  }
  return best;
}

Value Join(Call& call) {
  const List items = Iterate(call.self);
  const std::string separator = ToText(call.environment, call.Get(0, Value(std::string())));
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i != 0) text += separator;
    text += ToText(call.environment, GetPath(call.environment, items[i], call.Get(1, Value())));
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

Value Reverse(Call& call) {
  List items = Iterate(call.self);
  std::reverse(items.begin(), items.end());
  if (!call.self.is_string()) return MakeGenerator(std::move(items));
  std::string text;
  for (const Value& item : items) text += item.string();
  return Value(std::move(text));
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
    {"dictsort", "case_sensitive:bool? by:str? reverse:bool?", DictSort},
    {"first", "", First},
    {"join", "d? attribute?", Join},
    {"last", "", Last},
    {"length count", "", [](Call& call) { return Value(Length(call.self)); }},
    {"list", "", [](Call& call) { return Value::MakeList(Iterate(call.self)); }},
    {"map", "*", Map},
    {"max", "case_sensitive:bool? attribute?", Extreme<true>},
    {"min", "case_sensitive:bool? attribute?", Extreme<false>},
    {"reject", "*", SelectWhere<false, false>},
    {"rejectattr", "*", SelectWhere<false, true>},
    {"reverse", "", Reverse},
    {"select", "*", SelectWhere<true, false>},
    {"selectattr", "*", SelectWhere<true, true>},
    {"sort", "reverse:bool? case_sensitive:bool? attribute?", Sort},
    {"unique", "case_sensitive:bool? attribute?", Unique}};

}  // namespace

const std::span<const Function> kSequenceFilters = kRows;

}  // namespace jinja
