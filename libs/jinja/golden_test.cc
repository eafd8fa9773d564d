// Every case of goldens/ against what Python's jinja2 made of it (goldens/make_goldens.py).
// Not the error messages (template_test.cc).
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "jinja/template.h"

namespace jinja {
namespace {

using Json = nlohmann::ordered_json;

std::string ReadGolden(const std::string& name) {
  std::ifstream file(std::string(JINJA_GOLDENS) + "/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::tm GoldenNow() {
  std::tm now = {};
  now.tm_year = 2025 - 1900;
  now.tm_mon = 2;
  now.tm_mday = 9;
  now.tm_hour = 14;
  now.tm_min = 5;
  now.tm_sec = 6;
  now.tm_yday = 67;
  return now;
}

std::string SourceOf(const Json& golden) {
  if (golden.contains("template")) return golden["template"].get<std::string>();
  return ReadGolden(golden["file"].get<std::string>());
}

Result<std::string> RenderCase(const Json& golden) {
  const auto parsed = Template::Parse(SourceOf(golden));
  if (!parsed) return tl::unexpected<Error>(parsed.error());
  RenderOptions options;
  options.clock = GoldenNow;
  return parsed->Render(golden["variables"], options);
}

// What this library refuses although Jinja does not: what no public template uses (README.md), and
// numbers beyond 64 bits.
bool IsKnownRefusal(const Error& error) {
  return error.kind == ErrorKind::kUnsupported ||
         error.message.find("does not fit 64 bits") != std::string::npos;
}

TEST(JinjaGolden, AllCases) {
  const Json cases = Json::parse(ReadGolden("cases.json"), nullptr, false);
  ASSERT_TRUE(cases.is_array());
  ASSERT_GT(cases.size(), 500u);
  size_t num_refused = 0;
  for (const Json& golden : cases) {
    SCOPED_TRACE(golden.value("template", golden.value("file", "")));
    const Result<std::string> output = RenderCase(golden);
    if (golden.contains("fails")) {
      EXPECT_FALSE(output) << "rendered " << *output;
      if (!output && golden.contains("message")) {
        EXPECT_EQ(output.error().message, golden["message"].get<std::string>());
      }
    } else if (output) {
      EXPECT_EQ(*output, golden["output"].get<std::string>());
    } else {
      EXPECT_TRUE(IsKnownRefusal(output.error())) << output.error().message;
      ++num_refused;
    }
  }
  EXPECT_LT(num_refused, 20u);
}

}  // namespace
}  // namespace jinja
