#include <algorithm>
#include <set>

#include "jinja/environment.h"
#include "jinja/error.h"
#include "jinja/filters.h"
#include "jinja/number_text.h"
#include "jinja/operators.h"
#include "jinja/parameters.h"
#include "jinja/predicates.h"
#include "jinja/text.h"
#include "jinja/text_edit.h"
#include "jinja/value_text.h"

namespace jinja {
namespace {

Value MakeGenerator(List items) {
  return Value::MakeSequence(SequenceKind::kGenerator, std::move(items));
}

// item.a.b.0 for the attribute "a.b.0"; the item itself for none. `fallback`, unless none, replaces
// what is undefined on the way.
Result<Value> GetPath(Environment& environment, Value item, const Value& attribute,
                      const Value& fallback = Value()) {
  if (attribute.is_none()) return item;
  if (!attribute.is_string()) return GetItem(environment, item, attribute);
  for (const std::string_view part : Split(attribute.string(), ".", -1, false)) {
    const bool is_index = !part.empty() && part.find_first_not_of("0123456789") == part.npos;
    const auto index = is_index ? ParseInt(part, 10) : std::nullopt;
    JINJA_ASSIGN(item, GetItem(environment, item, index ? Value(*index) : Value(part)));
    if (item.is_undefined() && !fallback.is_none()) item = fallback;
  }
  return item;
}

// What a value is sorted or compared by: itself, its attribute, in lower case.
struct SortKey {
  Value attribute;
  bool case_sensitive = false;

  Result<Value> Of(Environment& environment, const Value& item) const {
    JINJA_ASSIGN(Value key, GetPath(environment, item, attribute));
    return !case_sensitive && key.is_string() ? Value(ToLower(key.string())) : key;
  }
};

// Stable; the first error of a comparison is returned.
Result<List> SortByKeys(Environment& environment, const List& items, const List& keys,
                        bool reverse) {
  std::vector<size_t> order(items.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  Status status;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (!status) return false;
    const auto result =
        reverse ? Order(environment, keys[b], keys[a]) : Order(environment, keys[a], keys[b]);
    if (!result) status = tl::unexpected<Error>(result.error());
    return result && *result < 0;
  });
  JINJA_RETURN_IF_ERROR(status);
  List sorted;
  for (const size_t i : order) sorted.push_back(items[i]);
  return sorted;
}

Result<Value> Sort(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound,
               Parameters::Bind("sort", {"reverse", "case_sensitive", "attribute"}, 0, arguments));
  JINJA_ASSIGN(const List items, Iterate(self));
  const Value attribute = bound.Get(2, Value());
  std::vector<Value> attributes = {attribute};
  if (attribute.is_string()) {
    attributes.clear();
    for (const auto part : Split(attribute.string(), ",", -1, false)) attributes.emplace_back(part);
  }
  List keys;
  for (const Value& item : items) {
    List parts;
    for (const Value& part : attributes) {
      JINJA_ASSIGN(Value key, (SortKey{part, bound.Truth(1, false)}.Of(environment, item)));
      parts.push_back(std::move(key));
    }
    keys.push_back(Value::MakeList(std::move(parts)));
  }
  JINJA_ASSIGN(List sorted, SortByKeys(environment, items, keys, bound.Truth(0, false)));
  return Value::MakeList(std::move(sorted));
}

Result<Value> DictSort(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound,
               Parameters::Bind("dictsort", {"case_sensitive", "by", "reverse"}, 0, arguments));
  JINJA_ASSIGN(const std::string by, bound.Text(1, "key"));
  if (by != "key" && by != "value") return Invalid("dictsort by '{}'", by);
  if (!self.is_dict()) return Invalid("dictsort needs a dict, not '{}'", self.type_name());
  const SortKey sort_key{Value(), bound.Truth(0, false)};
  List items, keys;
  for (const auto& [key, value] : self.dict().entries()) {
    items.push_back(Value::MakeSequence(SequenceKind::kTuple, {key, value}));
    JINJA_ASSIGN(Value sort_value, sort_key.Of(environment, by == "key" ? key : value));
    keys.push_back(std::move(sort_value));
  }
  JINJA_ASSIGN(List sorted, SortByKeys(environment, items, keys, bound.Truth(2, false)));
  return Value::MakeList(std::move(sorted));
}

Result<Value> Unique(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound,
               Parameters::Bind("unique", {"case_sensitive", "attribute"}, 0, arguments));
  JINJA_ASSIGN(const List items, Iterate(self));
  const SortKey sort_key{bound.Get(1, Value()), bound.Truth(0, false)};
  std::set<std::string> seen;
  List unique;
  for (const Value& item : items) {
    JINJA_ASSIGN(const Value key, sort_key.Of(environment, item));
    JINJA_ASSIGN(std::string hash_key, HashKey(key));
    if (seen.insert(std::move(hash_key)).second) unique.push_back(item);
  }
  return MakeGenerator(std::move(unique));
}

template <bool kMax>
Result<Value> Extreme(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(
      const Parameters bound,
      Parameters::Bind(kMax ? "max" : "min", {"case_sensitive", "attribute"}, 0, arguments));
  JINJA_ASSIGN(const List items, Iterate(self));
  if (items.empty()) {
    return Value::MakeUndefined("No aggregated item, sequence was empty.");
  }
  const SortKey sort_key{bound.Get(1, Value()), bound.Truth(0, false)};
  size_t best = 0;
  JINJA_ASSIGN(Value best_key, sort_key.Of(environment, items[0]));
  for (size_t i = 1; i < items.size(); ++i) {
    JINJA_ASSIGN(Value key, sort_key.Of(environment, items[i]));
    JINJA_ASSIGN(const auto order, Order(environment, key, best_key));
    if (kMax ? order > 0 : order < 0) {
      best = i;
      best_key = std::move(key);
    }
  }
  return items[best];
}

Result<Value> Sum(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound,
               Parameters::Bind("sum", {"attribute", "start"}, 0, arguments));
  JINJA_ASSIGN(const List items, Iterate(self));
  Value sum = bound.Get(1, Value(int64_t{0}));
  if (sum.is_string()) return Invalid("sum can't add strings; use join");
  for (const Value& item : items) {
    JINJA_ASSIGN(const Value part, GetPath(environment, item, bound.Get(0, Value())));
    JINJA_ASSIGN(sum, Arithmetic(environment, ArithmeticOperator::kAdd, sum, part));
    JINJA_RETURN_IF_ERROR(environment.Allocate(sum.shallow_size()));
  }
  return sum;
}

Result<Value> Join(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound, Parameters::Bind("join", {"d", "attribute"}, 0, arguments));
  JINJA_ASSIGN(const List items, Iterate(self));
  JINJA_ASSIGN(const std::string separator,
               ToText(environment, bound.Get(0, Value(std::string()))));
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    JINJA_ASSIGN(const Value item, GetPath(environment, items[i], bound.Get(1, Value())));
    JINJA_ASSIGN(const std::string part, ToText(environment, item));
    if (i != 0) text += separator;
    text += part;
    JINJA_RETURN_IF_ERROR(environment.CheckSize(text.size()));
  }
  return Value(std::move(text));
}

Result<Value> LengthFilter(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("length", {}, 0, arguments));
  JINJA_ASSIGN(const int64_t length, Length(self));
  return Value(length);
}

Result<Value> First(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("first", {}, 0, arguments));
  if (self.is_sequence(SequenceKind::kGenerator)) {
    const Sequence& generator = self.sequence();
    if (generator.num_taken < generator.items.size()) return generator.items[generator.num_taken++];
  } else {
    JINJA_ASSIGN(const List items, Iterate(self));
    if (!items.empty()) return items.front();
  }
  return Value::MakeUndefined("No first item, sequence was empty.");
}

Result<Value> Last(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("last", {}, 0, arguments));
  if (self.is_sequence(SequenceKind::kGenerator)) {
    return Invalid("last needs a sequence, not a generator");
  }
  JINJA_ASSIGN(const List items, Iterate(self));
  if (items.empty()) return Value::MakeUndefined("No last item, sequence was empty.");
  return items.back();
}

Result<Value> ListFilter(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("list", {}, 0, arguments));
  JINJA_ASSIGN(List items, Iterate(self));
  return Value::MakeList(std::move(items));
}

Result<Value> Reverse(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("reverse", {}, 0, arguments));
  JINJA_ASSIGN(List items, Iterate(self));
  std::reverse(items.begin(), items.end());
  if (!self.is_string()) return MakeGenerator(std::move(items));
  std::string text;
  for (const Value& item : items) text += item.string();
  return Value(std::move(text));
}

Result<Value> Items(Environment&, const Value& self, const Arguments& arguments) {
  JINJA_RETURN_IF_ERROR(Parameters::Bind("items", {}, 0, arguments));
  List items;
  if (!self.is_undefined()) {
    if (!self.is_dict()) return Invalid("items needs a dict, not '{}'", self.type_name());
    for (const auto& [key, value] : self.dict().entries()) {
      items.push_back(Value::MakeSequence(SequenceKind::kTuple, {key, value}));
    }
  }
  return MakeGenerator(std::move(items));
}

Result<Value> Batch(Environment& environment, const Value& self, const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound,
               Parameters::Bind("batch", {"linecount", "fill_with"}, 1, arguments));
  JINJA_ASSIGN(const int64_t size, bound.Integer(0, 1));
  JINJA_ASSIGN(const List items, Iterate(self));
  if (size < 1) return Invalid("batch of {} items", size);
  List batches, batch;
  for (const Value& item : items) {
    if (static_cast<int64_t>(batch.size()) == size) {
      batches.push_back(Value::MakeList(std::exchange(batch, {})));
    }
    batch.push_back(item);
  }
  if (!batch.empty()) {
    if (bound.HasValue(1)) {
      JINJA_RETURN_IF_ERROR(environment.Allocate(static_cast<size_t>(size)));
      batch.resize(static_cast<size_t>(size), bound[1]);
    }
    batches.push_back(Value::MakeList(std::move(batch)));
  }
  return MakeGenerator(std::move(batches));
}

// The arguments behind the first `num_taken` positional ones.
Arguments Behind(const Arguments& arguments, size_t num_taken) {
  const size_t skipped = std::min(num_taken, arguments.positional.size());
  return {List(arguments.positional.begin() + static_cast<ptrdiff_t>(skipped),
               arguments.positional.end()),
          arguments.keyword};
}

Result<Value> MapAttribute(Environment& environment, const List& items,
                           const Arguments& arguments) {
  JINJA_ASSIGN(const Parameters bound,
               Parameters::Bind("map", {"attribute", "default"}, 1, arguments));
  List mapped;
  for (const Value& item : items) {
    JINJA_ASSIGN(Value value, GetPath(environment, item, bound[0], bound.Get(1, Value())));
    mapped.push_back(std::move(value));
  }
  return MakeGenerator(std::move(mapped));
}

Result<Value> Map(Environment& environment, const Value& self, const Arguments& arguments) {
  if (!self.Truth()) return MakeGenerator({});
  JINJA_ASSIGN(const List items, Iterate(self));
  if (arguments.positional.empty()) return MapAttribute(environment, items, arguments);
  const Value& name = arguments.positional[0];
  const FilterRow* filter = name.is_string() ? FindFilter(name.string()) : nullptr;
  if (filter == nullptr) return Invalid("map: no such filter");
  const Arguments rest = Behind(arguments, 1);
  List mapped;
  for (const Value& item : items) {
    JINJA_RETURN_IF_ERROR(environment.Step());
    JINJA_ASSIGN(Value value, filter->apply(environment, item, rest));
    JINJA_RETURN_IF_ERROR(environment.Allocate(value.shallow_size()));
    mapped.push_back(std::move(value));
  }
  return MakeGenerator(std::move(mapped));
}

// select, reject, selectattr and rejectattr: the items for which the test named by the arguments
// (or plain truth) holds or does not.
template <bool kKeep, bool kByAttribute>
Result<Value> SelectWhere(Environment& environment, const Value& self, const Arguments& arguments) {
  if (!self.Truth()) return MakeGenerator({});
  if (kByAttribute && arguments.positional.empty()) {
    return Invalid("selectattr: the attribute's name is missing");
  }
  JINJA_ASSIGN(const List items, Iterate(self));
  const size_t num_paths = kByAttribute ? 1 : 0;
  const PredicateRow* predicate = nullptr;
  if (arguments.positional.size() > num_paths) {
    const Value& name = arguments.positional[num_paths];
    predicate = name.is_string() ? FindPredicate(name.string()) : nullptr;
    if (predicate == nullptr) return Invalid("select: no such test");
  }
  const Arguments rest = Behind(arguments, num_paths + 1);
  List kept;
  for (const Value& item : items) {
    JINJA_RETURN_IF_ERROR(environment.Step());
    Value subject = item;
    if (kByAttribute) {
      JINJA_ASSIGN(subject, GetPath(environment, item, arguments.positional[0]));
    }
    if (predicate != nullptr) {
      JINJA_ASSIGN(subject, predicate->apply(environment, subject, rest));
    }
    if (subject.Truth() == kKeep) kept.push_back(item);
  }
  return MakeGenerator(std::move(kept));
}

constexpr FilterRow kRows[] = {{"batch", Batch},
                               {"count", LengthFilter},
                               {"dictsort", DictSort},
                               {"first", First},
                               {"items", Items},
                               {"join", Join},
                               {"last", Last},
                               {"length", LengthFilter},
                               {"list", ListFilter},
                               {"map", Map},
                               {"max", Extreme<true>},
                               {"min", Extreme<false>},
                               {"reject", SelectWhere<false, false>},
                               {"rejectattr", SelectWhere<false, true>},
                               {"reverse", Reverse},
                               {"select", SelectWhere<true, false>},
                               {"selectattr", SelectWhere<true, true>},
                               {"sort", Sort},
                               {"sum", Sum},
                               {"unique", Unique}};

}  // namespace

const std::span<const FilterRow> kSequenceFilters = kRows;

}  // namespace jinja
