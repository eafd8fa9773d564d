// Filters of lists, dicts and what else can be iterated over.
#include <algorithm>
#include <set>

#include "jinja/functions.h"
#include "jinja/number_text.h"
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

// Stable; the first error of a comparison is returned.
Value SortByKeys(Environment& environment, const List& items, const List& keys, bool reverse) {
  std::vector<size_t> order(items.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return (reverse ? Order(environment, keys[b], keys[a]) : Order(environment, keys[a], keys[b])) <
           0;
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
      Value key = SortKey(call.environment, item, part, call.Truth(1));
      parts.push_back(std::move(key));
    }
    keys.push_back(Value::MakeList(std::move(parts)));
  }
  return SortByKeys(call.environment, items, keys, call.Truth(0));
}

Value DictSort(Call& call) {
  const std::string by = call.Text(1, "key");
  if (by != "key" && by != "value") Invalid("dictsort by '{}'", by);
  if (!call.self.is_dict()) {
    Invalid("dictsort needs a dict, not '{}'", call.self.type_name());
  }
  List items, keys;
  for (const auto& [key, value] : call.self.dict().entries()) {
    items.push_back(Value::MakeSequence(SequenceKind::kTuple, {key, value}));
    Value sort_key = SortKey(call.environment, by == "key" ? key : value, Value(), call.Truth(0));
    keys.push_back(std::move(sort_key));
  }
  return SortByKeys(call.environment, items, keys, call.Truth(2));
}

Value Unique(Call& call) {
  const List items = Iterate(call.self);
  std::set<std::string> seen;
  List unique;
  for (const Value& item : items) {
    const Value key = SortKey(call.environment, item, call.Get(1, Value()), call.Truth(0));
    std::string hash_key = HashKey(key);
    if (seen.insert(std::move(hash_key)).second) unique.push_back(item);
  }
  return MakeGenerator(std::move(unique));
}

template <bool kMax>
Value Extreme(Call& call) {
  const List items = Iterate(call.self);
  if (items.empty()) return Value::MakeUndefined("No aggregated item, sequence was empty.");
  size_t best = 0;
  Value best_key;
  for (size_t i = 0; i < items.size(); ++i) {
    Value key = SortKey(call.environment, items[i], call.Get(1, Value()), call.Truth(0));
    if (i != 0) {
      const auto order = Order(call.environment, key, best_key);
      if (kMax ? !(order > 0) : !(order < 0)) continue;
    }
    best = i;
    best_key = std::move(key);
  }
  return items[best];
}

Value Sum(Call& call) {
  const List items = Iterate(call.self);
  Value sum = call.Get(1, Value(int64_t{0}));
  if (sum.is_string()) Invalid("sum can't add strings; use join");
  for (const Value& item : items) {
    const Value part = GetPath(call.environment, item, call.Get(0, Value()));
    sum = Arithmetic(call.environment, Operator::kAdd, sum, part);
    call.environment.Allocate(sum.shallow_size());
  }
  return sum;
}

Value Join(Call& call) {
  const List items = Iterate(call.self);
  const std::string separator = ToText(call.environment, call.Get(0, Value(std::string())));
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    const Value item = GetPath(call.environment, items[i], call.Get(1, Value()));
    const std::string part = ToText(call.environment, item);
    if (i != 0) text += separator;
    text += part;
    call.environment.CheckSize(text.size());
  }
  return Value(std::move(text));
}

Value LengthFilter(Call& call) {
  const int64_t length = Length(call.self);
  return Value(length);
}

Value First(Call& call) {
  if (call.self.is_sequence(SequenceKind::kGenerator)) {
    const Sequence& generator = call.self.sequence();
    if (generator.num_taken < generator.items.size()) return generator.items[generator.num_taken++];
  } else {
    const List items = Iterate(call.self);
    if (!items.empty()) return items.front();
  }
  return Value::MakeUndefined("No first item, sequence was empty.");
}

Value Last(Call& call) {
  if (call.self.is_sequence(SequenceKind::kGenerator)) {
    Invalid("last needs a sequence, not a generator");
  }
  const List items = Iterate(call.self);
  if (items.empty()) return Value::MakeUndefined("No last item, sequence was empty.");
  return items.back();
}

Value ListFilter(Call& call) {
  List items = Iterate(call.self);
  return Value::MakeList(std::move(items));
}

Value Reverse(Call& call) {
  List items = Iterate(call.self);
  std::reverse(items.begin(), items.end());
  if (!call.self.is_string()) return MakeGenerator(std::move(items));
  std::string text;
  for (const Value& item : items) text += item.string();
  return Value(std::move(text));
}

Value Items(Call& call) {
  List items;
  if (!call.self.is_undefined()) {
    if (!call.self.is_dict()) Invalid("items needs a dict, not '{}'", call.self.type_name());
    for (const auto& [key, value] : call.self.dict().entries()) {
      items.push_back(Value::MakeSequence(SequenceKind::kTuple, {key, value}));
    }
  }
  return MakeGenerator(std::move(items));
}

// The filter or test that the argument `i` names; `find` looks in its table.
const Function* NamedFunction(Call& call, size_t i, std::string_view what,
                              const Function* (*find)(std::string_view)) {
  const Value& name = call.arguments.positional[i];
  if (!name.is_string()) Invalid("the name of a {} must be a string", what);
  const Function* function = find(name.string());
  if (function == nullptr) Invalid("no {} named '{}'", what, name.string());
  return function;
}

// The arguments behind the first `num_taken` positional ones.
Arguments Behind(const Arguments& arguments, size_t num_taken) {
  const List& all = arguments.positional;
  const auto skipped = static_cast<ptrdiff_t>(std::min(num_taken, all.size()));
  return {List(all.begin() + skipped, all.end()), arguments.keyword};
}

Value MapAttribute(Call& call) {
  call.Bind({"map", "attribute default?", nullptr});
  const List items = Iterate(call.self);
  List mapped;
  for (const Value& item : items) {
    Value value = GetPath(call.environment, item, call[0], call.Get(1, Value()));
    mapped.push_back(std::move(value));
  }
  return MakeGenerator(std::move(mapped));
}

Value Map(Call& call) {
  if (!call.self.Truth()) return MakeGenerator({});
  if (call.arguments.positional.empty()) return MapAttribute(call);
  const List items = Iterate(call.self);
  const Function* filter = NamedFunction(call, 0, "filter", FindFilter);
  const Arguments rest = Behind(call.arguments, 1);
  List mapped;
  for (const Value& item : items) {
    Value value = Apply(call.environment, "filter", *filter, item, rest);
    call.environment.Allocate(value.shallow_size());
    mapped.push_back(std::move(value));
  }
  return MakeGenerator(std::move(mapped));
}

// select, reject, selectattr and rejectattr: the items for which the test named by the arguments
// (or plain truth) holds or does not.
template <bool kKeep, bool kByAttribute>
Value SelectWhere(Call& call) {
  if (!call.self.Truth()) return MakeGenerator({});
  const List& given = call.arguments.positional;
  const size_t num_paths = kByAttribute ? 1 : 0;
  if (given.size() < num_paths) Invalid("selectattr: the attribute's name is missing");
  const List items = Iterate(call.self);
  const Function* test = nullptr;
  if (given.size() > num_paths) {
    test = NamedFunction(call, num_paths, "test", FindTest);
  }
  const Arguments rest = Behind(call.arguments, num_paths + 1);
  List kept;
  for (const Value& item : items) {
    call.environment.Step();
    Value subject = item;
    if (kByAttribute) {
      subject = GetPath(call.environment, item, given[0]);
    }
    if (test != nullptr) {
      subject = Apply(call.environment, "test", *test, subject, rest);
    }
    if (subject.Truth() == kKeep) kept.push_back(item);
  }
  return MakeGenerator(std::move(kept));
}

constexpr Function kRows[] = {{"count", "", LengthFilter},
                              {"dictsort", "case_sensitive:bool? by:str? reverse:bool?", DictSort},
                              {"first", "", First},
                              {"items", "", Items},
                              {"join", "d? attribute?", Join},
                              {"last", "", Last},
                              {"length", "", LengthFilter},
                              {"list", "", ListFilter},
                              {"map", "*", Map},
                              {"max", "case_sensitive:bool? attribute?", Extreme<true>},
                              {"min", "case_sensitive:bool? attribute?", Extreme<false>},
                              {"reject", "*", SelectWhere<false, false>},
                              {"rejectattr", "*", SelectWhere<false, true>},
                              {"reverse", "", Reverse},
                              {"select", "*", SelectWhere<true, false>},
                              {"selectattr", "*", SelectWhere<true, true>},
                              {"sort", "reverse:bool? case_sensitive:bool? attribute?", Sort},
                              {"sum", "attribute? start?", Sum},
                              {"unique", "case_sensitive:bool? attribute?", Unique},
                              {"batch", "", nullptr},
                              {"groupby", "", nullptr},
                              {"random", "", nullptr},
                              {"slice", "", nullptr}};

}  // namespace

const std::span<const Function> kSequenceFilters = kRows;

}  // namespace jinja
