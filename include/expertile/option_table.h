// The table of compile options: of each one its name, type, bounds, help, who honours it and
// whether it is in fingerprints. Command line, JSON, checks, fingerprints and docs follow from it,
// and so can a binding. Not the options' values: those are fields of CompileOptions (options.h).
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "expertile/options.h"
#include "expertile/result.h"

namespace expertile {

// Options that a target honours together or not at all.
enum class OptionGroup : uint8_t {
  kGeneral,       // every target
  kBlockFormats,  // weights and caches in MX number formats
  kGraphs,        // what goes into graphs
  kCloudAi100,    // what the compiler of a card gets
};

enum class Fingerprinted : uint8_t {
  kUnlessDefault,  // its value, if it is not the default: a new option leaves old programs theirs
  kAlways,         // its value; of options that the first programs had
  kByContents,     // what it makes: the text of a file, a compiler's arguments
  kNever,          // says where things go, not what they are
};

template <typename T>
using OptionAccess = T& (*)(CompileOptions&);
using OptionField =
    std::variant<OptionAccess<bool>, OptionAccess<int>, OptionAccess<int64_t>,
                 OptionAccess<std::string>, OptionAccess<std::vector<std::string>>,
                 OptionAccess<std::optional<bool>>, OptionAccess<std::optional<int>>,
                 OptionAccess<std::optional<int64_t>>>;

struct OptionRow {
  std::string_view
      name;  // in C++, JSON and, with dashes, on the command line, unless `flag` is given
  OptionField field;
  std::string_view help;        // without the default
  std::string_view unset = {};  // what 0, "" or no value stands for; empty = nothing
  OptionGroup group = OptionGroup::kGeneral;
  Fingerprinted fingerprinted = Fingerprinted::kUnlessDefault;
  int64_t min = std::numeric_limits<int64_t>::min();  // of integers
  int64_t max = std::numeric_limits<int64_t>::max();
  std::string_view max_text = {};                   // in the place of `max` in messages
  std::optional<int64_t> auto_value = {};           // what the word "auto" stands for
  std::vector<std::string> (*choices)() = nullptr;  // of texts; null = any text
  std::string_view flag = {};
};

// In the order in which people read them.
std::span<const OptionRow> OptionTable();
// Null if there is none of that name.
const OptionRow* FindOption(std::string_view name);

// visit(field): the field of `row` in `options`, with its type.
template <typename Visitor>
decltype(auto) VisitOption(const OptionRow& row, CompileOptions& options, Visitor&& visit) {
  return std::visit([&](auto access) -> decltype(auto) { return visit(access(options)); },
                    row.field);
}
template <typename Visitor>
decltype(auto) VisitOption(const OptionRow& row, const CompileOptions& options, Visitor&& visit) {
  return std::visit(
      [&](auto access) -> decltype(auto) {
        // An access only takes the field's address.
        return visit(std::as_const(access(const_cast<CompileOptions&>(options))));
      },
      row.field);
}

// "--prefill-seq-len".
std::string FlagOf(const OptionRow& row);
// "integer", "yes or no", "text" or "texts".
std::string_view TypeOf(const OptionRow& row);
// "1 to 1073741824", "float32 or bfloat16", "none, auto, or 1 to the number of experts"; empty for
// a text that may be anything.
std::string ValuesOf(const OptionRow& row);
// The default as people write it: "float32", "512", "4096, or what the model has"; empty for none.
std::string DefaultOf(const OptionRow& row);
// The names of the targets that honour it, in the order of Targets().
std::vector<std::string> HonouredBy(const OptionRow& row);

// A value as a command line has it: "auto" and "none" where they mean something, "true" and
// "false"; a list gets one more text. `called` is the option's name in the error, which leaves
// `options` as they were. Bounds are CheckOptions()'s to check, but for integers that 64 bits do
// not hold.
Status SetOption(const OptionRow& row, std::string_view text, std::string_view called,
                 CompileOptions& options);
// The opposite of SetOption; a list's texts stand between commas.
std::string OptionText(const OptionRow& row, const CompileOptions& options);

bool IsDefault(const OptionRow& row, const CompileOptions& options);
void SetDefault(const OptionRow& row, CompileOptions& options);

}  // namespace expertile
