// The tables of docs/options.md are what the option table and the target table say. With
// EXPERTILE_WRITE_DOCS=1 in the environment this writes them.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "expertile/option_table.h"
#include "expertile/targets.h"

namespace expertile {
namespace {

const std::string kPath = std::string(EXPERTILE_SOURCE_DIR) + "/docs/options.md";

std::string TargetsOf(const OptionRow& row) {
  const std::vector<std::string> names = HonouredBy(row);
  return names.size() == Targets().size() ? "all" : fmt::format("{}", fmt::join(names, ", "));
}

std::string FingerprintOf(const OptionRow& row) {
  switch (row.fingerprinted) {
    case Fingerprinted::kUnlessDefault:
    case Fingerprinted::kAlways:
      return "yes";
    case Fingerprinted::kByContents:
      return "its contents";
    case Fingerprinted::kNever:
      return "no";
  }
  return "";
}

std::string OptionLines() {
  std::string text =
      "| option | flag | type | values | default | targets | in the fingerprint | what it says |\n"
      "|---|---|---|---|---|---|---|---|\n";
  for (const OptionRow& row : OptionTable()) {
    const bool is_switch = TypeOf(row) == "yes or no";
    text += fmt::format("| `{}` | `{}` | {} | {} | {} | {} | {} | {} |\n", row.name, FlagOf(row),
                        TypeOf(row), is_switch ? "" : ValuesOf(row), DefaultOf(row), TargetsOf(row),
                        FingerprintOf(row), row.help);
  }
  return text;
}

std::string TargetLines() {
  std::string text = "| target | what it is | runs here | arithmetic |\n|---|---|---|---|\n";
  for (const TargetDescription& target : Targets()) {
    text += fmt::format("| `{}` | {} | {} | {} |\n", target.name, target.about,
                        target.runs_here ? "yes" : "no: files", fmt::join(target.dtypes, ", "));
  }
  return text;
}

// `page` with what stands after <!-- name --> and before the next empty line replaced.
std::string With(const std::string& page, const std::string& name, const std::string& lines) {
  const std::string mark = fmt::format("<!-- {} -->\n", name);
  const size_t begin = page.find(mark);
  EXPECT_NE(begin, std::string::npos) << mark;
  if (begin == std::string::npos) return page;
  const size_t end = std::min(page.find("\n\n", begin), page.size() - 1) + 1;
  return page.substr(0, begin + mark.size()) + lines + page.substr(end);
}

TEST(OptionDocs, AreTheTables) {
  std::ifstream file(kPath);
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  ASSERT_FALSE(page.empty()) << kPath;
  const std::string expected = With(With(page, "targets", TargetLines()), "options", OptionLines());
  if (std::getenv("EXPERTILE_WRITE_DOCS") != nullptr) std::ofstream(kPath) << expected;
  EXPECT_EQ(page, expected) << "EXPERTILE_WRITE_DOCS=1 build/release/option_docs_test writes it";
}

}  // namespace
}  // namespace expertile
