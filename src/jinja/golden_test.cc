// Every case of tests/goldens/jinja against what Python's jinja2 made of it
// (tools/make_jinja_goldens.py).
#include <gtest/gtest.h>

#include <map>

#include "base/file.h"
#include "jinja/template.h"

namespace expertile::jinja {
namespace {

using Json = nlohmann::ordered_json;

const std::string kFolder = std::string(EXPERTILE_SOURCE_DIR) + "/tests/goldens/jinja/";

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
  return ReadTextFile(kFolder + golden["file"].get<std::string>()).value();
}

Result<std::string> RenderCase(const Json& golden) {
  const auto parsed = Template::Parse(SourceOf(golden));
  if (!parsed) return tl::unexpected<Error>(parsed.error());
  RenderOptions options;
  options.clock = GoldenNow;
  return parsed->Render(golden["variables"], options);
}

// What this implementation refuses although Python does not: reasons in the template language's
// documentation (template.h, operators.h, value_text.h).
bool IsKnownRefusal(const Error& error) {
  return error.code == ErrorCode::kUnsupported ||
         error.message.find("does not fit 64 bits") != std::string::npos;
}

TEST(JinjaGolden, AllCases) {
  const auto text = ReadTextFile(kFolder + "cases.json");
  ASSERT_TRUE(text) << text.error().message;
  const Json cases = Json::parse(*text, nullptr, false);
  ASSERT_TRUE(cases.is_array());
  ASSERT_GT(cases.size(), 500u);
  size_t num_refused = 0;
  for (const Json& golden : cases) {
    SCOPED_TRACE(golden.value("template", golden.value("file", "")));
    const Result<std::string> output = RenderCase(golden);
    if (golden.contains("fails")) {
      EXPECT_FALSE(output) << "rendered " << *output;
      if (!output && golden.contains("message")) {
        EXPECT_EQ(output.error().message, golden["message"]);
      }
    } else if (output) {
      EXPECT_EQ(*output, golden["output"]);
    } else {
      EXPECT_TRUE(IsKnownRefusal(output.error())) << output.error().message;
      ++num_refused;
    }
  }
  EXPECT_LT(num_refused, 20u);
}

}  // namespace
}  // namespace expertile::jinja
