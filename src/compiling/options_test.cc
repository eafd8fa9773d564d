// The option table, and what follows from it: for every row, whatever rows there are.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "compiling/option_json.h"
#include "compiling/target_table.h"
#include "expertile/option_table.h"
#include "expertile/targets.h"
#include "program/manifest.h"

namespace expertile {
namespace {

// A value that the row allows and that is not the default.
std::string AnotherValue(const OptionRow& row) {
  if (row.choices != nullptr) return row.choices().back();
  const std::string_view type = TypeOf(row);
  if (type == "yes or no") return "true";
  return type == "integer" ? "2" : "a";
}

CompileOptions DefaultsFor(const std::string& target) {
  CompileOptions options;
  options.target = target;
  return options;
}

CompileOptions With(const OptionRow& row, const std::string& text, const std::string& target) {
  CompileOptions options = DefaultsFor(target);
  EXPECT_TRUE(SetOption(row, text, row.name, options)) << row.name;
  return options;
}

Status Set(std::string_view name, std::string_view text) {
  CompileOptions options;
  const Status set = SetOption(*FindOption(name), text, "--flag", options);
  return set ? CheckOptions(options) : set;
}

std::string Refusal(std::string_view name, std::string_view text) {
  const Status status = Set(name, text);
  return status ? "" : status.error().message;
}

TEST(OptionTable, NamesAreUniqueAndFlagsHaveDashes) {
  std::set<std::string> names;
  std::set<std::string> flags;
  for (const OptionRow& row : OptionTable()) {
    EXPECT_TRUE(names.emplace(row.name).second) << row.name;
    EXPECT_TRUE(flags.insert(FlagOf(row)).second) << row.name;
    EXPECT_EQ(FlagOf(row).find('_'), std::string::npos);
    EXPECT_FALSE(row.help.empty()) << row.name;
    EXPECT_EQ(FindOption(row.name), &row);
  }
  EXPECT_EQ(FindOption("no_such_option"), nullptr);
}

TEST(OptionTable, DefaultsPassForEveryTarget) {
  for (const TargetDescription& target : Targets()) {
    EXPECT_TRUE(CheckOptions(DefaultsFor(target.name))) << target.name;
  }
}

TEST(OptionTable, AValueComesBackAsItsText) {
  for (const OptionRow& row : OptionTable()) {
    const std::string text = AnotherValue(row);
    CompileOptions options = With(row, text, CompileOptions().target);
    EXPECT_EQ(OptionText(row, options), text) << row.name;
    EXPECT_FALSE(IsDefault(row, options)) << row.name;
    SetDefault(row, options);
    EXPECT_TRUE(IsDefault(row, options)) << row.name;
  }
}

TEST(OptionTable, WhoHonoursAnOptionTakesItAndNobodyElse) {
  for (const OptionRow& row : OptionTable()) {
    if (row.name == "target" || row.name == "dtype") continue;
    const std::vector<std::string> honoured_by = HonouredBy(row);
    EXPECT_FALSE(honoured_by.empty()) << row.name;
    for (const std::string& target : TargetNames()) {
      CompileOptions options = With(row, AnotherValue(row), target);
      if (row.name == "mdp_num_partitions" && std::ranges::count(honoured_by, target) > 0) {
        options.num_devices = 2;
      }
      const Status status = CheckOptions(options);
      EXPECT_EQ(bool(status), std::ranges::count(honoured_by, target) > 0)
          << row.name << " on " << target << (status ? "" : ": " + status.error().message);
      if (!status) {
        EXPECT_EQ(status.error().message,
                  std::string(row.name) + ": the target " + target + " does not have this option");
      }
    }
  }
}

TEST(OptionTable, RefusalsNameTheOptionTheValueAndTheBounds) {
  EXPECT_EQ(Refusal("batch_size", "two"), "--flag: two, expected 1 to 1048576");
  EXPECT_EQ(Refusal("batch_size", ""), "--flag: (empty), expected 1 to 1048576");
  EXPECT_EQ(Refusal("batch_size", "1.5"), "--flag: 1.5, expected 1 to 1048576");
  EXPECT_EQ(Refusal("batch_size", "0"), "batch_size: 0, expected 1 to 1048576");
  EXPECT_EQ(Refusal("batch_size", "99999999999999999999"),
            "batch_size: 99999999999999999999, expected 1 to 1048576");
  EXPECT_EQ(Refusal("num_cores", "-1"), "num_cores: -1, expected 0 to 1024");
  EXPECT_EQ(Refusal("num_cores", "4294967297"), "num_cores: 4294967297, expected 0 to 1024");
  EXPECT_EQ(Refusal("enable_chunking", "maybe"), "--flag: maybe, expected true or false");
  const std::string num_nsp = "expected none, auto, or 1 to the number of experts";
  EXPECT_EQ(Refusal("moe_prefill_num_nsp", "-1"), "moe_prefill_num_nsp: -1, " + num_nsp);
  EXPECT_EQ(Refusal("moe_prefill_num_nsp", "0"), "moe_prefill_num_nsp: 0, " + num_nsp);
  EXPECT_EQ(Refusal("moe_prefill_num_nsp", "some"), "--flag: some, " + num_nsp);
  EXPECT_EQ(Refusal("target", "abacus"),
            "target: abacus, expected " + ListWords(TargetNames(), "or"));
}

TEST(OptionTable, WordsForValues) {
  for (const char* text : {"none", "auto", "1", "32"}) {
    EXPECT_EQ(Refusal("moe_prefill_num_nsp", text), "");
  }
  for (const char* text : {"true", "True", "yes", "on", "1", "false", "no", "off", "0", "none"}) {
    EXPECT_EQ(Refusal("prefill_only", text), "");
  }
}

TEST(Options, TheDefaultArithmeticIsTheTargetsFirst) {
  const std::string said = DefaultOf(*FindOption("dtype"));
  for (const std::string& target : TargetNames()) {
    CompileOptions options = DefaultsFor(target);
    const std::string dtype(NameOf(ArithmeticOf(options)));
    EXPECT_EQ(OptionsToJson(options)["dtype"], dtype) << target;
    const bool is_exception = said.find(target + ": " + dtype) != std::string::npos;
    EXPECT_TRUE(is_exception || said.starts_with(dtype)) << target << ": " << said;
    options.dtype = dtype;
    EXPECT_TRUE(CheckOptions(options)) << target;
  }
  CompileOptions options = DefaultsFor("cuda");
  options.dtype = "float32";
  const Status refused = CheckOptions(options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "dtype: float32, the target cuda has bfloat16 only");
}

TEST(Options, AMatrixHasOneFormat) {
  CompileOptions options;
  options.dtype = "mxint8";
  EXPECT_TRUE(CheckOptions(options));
  options.mxfp6_matmul = true;
  EXPECT_FALSE(CheckOptions(options));
  options.dtype = "bfloat16";
  EXPECT_TRUE(CheckOptions(options));
  options = {};
  options.target = "reference";
  options.dtype = "mxint8";
  EXPECT_FALSE(CheckOptions(options));
}

TEST(OptionJson, ComesBack) {
  for (const OptionRow& row : OptionTable()) {
    const CompileOptions options = With(row, AnotherValue(row), CompileOptions().target);
    const nlohmann::json json = OptionsToJson(options);
    const auto read = OptionsFromJson(JsonObject::Parse(json.dump(), "options").value());
    ASSERT_TRUE(read) << row.name << ": " << read.error().message;
    const bool is_kept = row.fingerprinted == Fingerprinted::kAlways ||
                         row.fingerprinted == Fingerprinted::kUnlessDefault;
    EXPECT_EQ(OptionText(row, *read), OptionText(row, is_kept ? options : CompileOptions()));
  }
}

TEST(OptionJson, IsWhatOldManifestsHave) {
  EXPECT_EQ(OptionsToJson(CompileOptions()).dump(),
            R"({"batch_size":1,"ctx_len":null,"dtype":"float32","enable_chunking":false,)"
            R"("height":null,"moe_prefill_num_nsp":null,"moe_prefill_packed_chunk_size":256,)"
            R"("mxfp6_matmul":false,"mxint8_kv_cache":false,"num_cores":0,"num_devices":1,)"
            R"("prefill_only":null,"prefill_seq_len":512,"retain_full_kv":false,)"
            R"("skip_lang":false,"skip_vision":false,"target":"cpu",)"
            R"("use_onnx_subfunctions":false,"width":null})");
}

TEST(OptionJson, RefusesWhatItDoesNotKnowAndWhatIsMissing) {
  nlohmann::json json = OptionsToJson(CompileOptions());
  json["colour"] = "red";
  auto read = OptionsFromJson(JsonObject::Parse(json.dump(), "options").value());
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(read.error().message.find("colour"), std::string::npos);
  json.erase("colour");
  json.erase("dtype");
  EXPECT_FALSE(OptionsFromJson(JsonObject::Parse(json.dump(), "options").value()));
}

// By construction: nobody lists what is in a fingerprint, rows list what is not.
TEST(Fingerprint, HasEveryOptionWhoseRowDoesNotSayOtherwise) {
  const std::string of_defaults = FingerprintOf(OptionsToJson(CompileOptions()));
  for (const OptionRow& row : OptionTable()) {
    const CompileOptions options = With(row, AnotherValue(row), CompileOptions().target);
    const bool differs = FingerprintOf(OptionsToJson(options)) != of_defaults;
    const bool is_in = row.fingerprinted == Fingerprinted::kAlways ||
                       row.fingerprinted == Fingerprinted::kUnlessDefault;
    EXPECT_EQ(differs, is_in) << row.name;
  }
}

// What decides a program but not its graphs is in the card's record: by name, or by contents.
TEST(Fingerprint, OfACardHasWhatGraphsDoNot) {
  const TargetRow& graphs = *FindTarget("onnx");
  for (const OptionRow& row : OptionTable()) {
    const CompileOptions options = With(row, AnotherValue(row), "qaic");
    const bool by_name = row.fingerprinted == Fingerprinted::kUnlessDefault;
    EXPECT_EQ(OptionsBeyond(graphs, options).contains(std::string(row.name)),
              by_name && !Honours(graphs, row.group))
        << row.name;
    const CompileOptions of_graphs = OptionsHonouredBy(graphs, options);
    EXPECT_EQ(IsDefault(row, of_graphs), !Honours(graphs, row.group)) << row.name;
  }
}

TEST(TargetTable, EveryRowCompilesToMemoryOrToFiles) {
  for (const std::string& name : TargetNames()) {
    const TargetRow& row = *FindTarget(name);
    const bool computes = row.in_process.pack != nullptr && row.in_process.open != nullptr &&
                          row.in_process.choose_isa != nullptr &&
                          row.in_process.new_store != nullptr;
    EXPECT_EQ(computes, row.runs_here()) << name;
    EXPECT_FALSE(row.arithmetics.empty()) << name;
  }
  EXPECT_EQ(FindTarget("abacus"), nullptr);
}

}  // namespace
}  // namespace expertile
