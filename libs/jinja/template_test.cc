// Every case of goldens/: what Python's jinja2 made of cases.json (goldens/make_goldens.py), and
// the error messages and the hostile templates of errors.json; then what files cannot show.
#include "jinja/template.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iomanip>
#include <iterator>
#include <sstream>

#include "jinja/value.h"

namespace jinja {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxRefused = 96;

std::string ReadGolden(const std::string& name) {
  std::ifstream file(std::string(JINJA_GOLDENS) + "/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::tm GoldenNow() {
  std::tm now = {};
  std::istringstream("2025-03-09 14:05:06") >> std::get_time(&now, "%Y-%m-%d %H:%M:%S");
  now.tm_yday = 67;
  return now;
}

Result<std::string> Render(std::string_view source, const Json& variables = Json::object(),
                           const RenderLimits& limits = {}) {
  const auto parsed = Template::Parse(source);
  if (!parsed) return tl::unexpected<Error>(parsed.error());
  return parsed->Render(variables, {limits, GoldenNow});
}

// The error's message, or what it rendered instead.
std::string ErrorOf(std::string_view source, const Json& variables = Json::object(),
                    const RenderLimits& limits = {}) {
  const auto output = Render(source, variables, limits);
  return output ? "rendered: " + output->substr(0, 100) : output.error().message;
}

TEST(JinjaGolden, AllCases) {
  const Json cases = Json::parse(ReadGolden("cases.json"), nullptr, false);
  ASSERT_GT(cases.size(), 500u);
  size_t num_refused = 0;
  for (const Json& golden : cases) {
    SCOPED_TRACE(golden.value("template", golden.value("file", "")));
    const bool is_file = golden.contains("file");
    const Result<std::string> output =
        Render(is_file ? ReadGolden(golden["file"]) : golden["template"].get<std::string>(),
               golden["variables"]);
    if (golden.contains("fails")) {
      EXPECT_FALSE(output) << "rendered " << *output;
      if (!output && golden.contains("message")) {
        EXPECT_EQ(output.error().message, golden["message"].get<std::string>());
      }
    } else if (output) {
      EXPECT_EQ(*output, golden["output"].get<std::string>());
    } else {
      const auto& [kind, message] = output.error();  // what README.md says is lacking
      EXPECT_TRUE(kind == ErrorKind::kUnsupported || message.ends_with("not fit 64 bits"))
          << message;
      ++num_refused;
    }
  }
  EXPECT_LE(num_refused, kMaxRefused);
}

TEST(JinjaGolden, ErrorsNameTheConstructAndTheLine) {
  const Json errors = Json::parse(ReadGolden("errors.json"), nullptr, false)["errors"];
  ASSERT_GT(errors.size(), 30u);
  for (const Json& golden : errors) {
    EXPECT_EQ(ErrorOf(golden[0].get<std::string>(), golden.size() > 2 ? golden[2] : Json::object()),
              golden[1].get<std::string>());
  }
}

// Each of these would run without end, exhaust memory or overflow the stack: a string, or a list of
// strings and of [string, times to repeat it].
TEST(JinjaGolden, HostileTemplatesAreErrors) {
  const Json hostile = Json::parse(ReadGolden("errors.json"), nullptr, false)["hostile"];
  ASSERT_GT(hostile.size(), 20u);
  for (const Json& golden : hostile) {
    std::string source;
    for (const Json& part : golden.is_string() ? Json::array({golden}) : golden) {
      const Json repeated = part.is_string() ? Json::array({part, 1}) : part;
      for (int i = 0; i < repeated[1]; ++i) source += repeated[0].get_ref<const std::string&>();
    }
    const std::string error = ErrorOf(source);
    EXPECT_TRUE(error.starts_with("template line ")) << source.substr(0, 100) << " " << error;
  }
}

TEST(TemplateErrors, WhatIsNoTemplateOrDoesNotFit) {
  EXPECT_EQ(Render("{{ raise_exception('a') }}").error().kind, ErrorKind::kRaised);
  EXPECT_EQ(ErrorOf("a\xff"), "template: not valid UTF-8");
  EXPECT_EQ(ErrorOf(std::string(kMaxTemplateSize + 1, ' ')),
            "template: 1048577 bytes, limit 1048576");
  EXPECT_NE(ErrorOf("", Json::array()).find("expected an object"), std::string::npos);
  Json deep = 1;
  for (int i = 0; i < kMaxValueDepth; ++i) deep = Json::array({std::move(deep)});
  EXPECT_NE(ErrorOf("", {{"deep", deep}}).find("nested deeper"), std::string::npos);
}

TEST(TemplateLimits, OptionsSetThem) {
  const RenderLimits small_output = {.max_output_size = 10};
  EXPECT_EQ(ErrorOf("12345{{ '67890' }}", Json::object(), small_output), "rendered: 1234567890");
  EXPECT_EQ(ErrorOf("12345{{ '678901' }}", Json::object(), small_output),
            "template line 1: a value of 11 bytes, limit 10");
  EXPECT_EQ(ErrorOf("{% for i in range(9) %}{% endfor %}", Json::object(), {.max_steps = 5}),
            "template line 1: more than 5 steps");
}

TEST(TemplateLimits, RingsOfValuesAreFreed) {
  EXPECT_EQ(ErrorOf("{% set n = namespace() %}{% set n.n = n %}"
                    "{% macro m() %}{% macro k() %}{% endmacro %}{% set n.k = k %}{% endmacro %}"
                    "{{ m() }}{% for i in [1] %}{% set n.l = loop %}{% endfor %}!"),
            "rendered: !");
}

TEST(TemplateRender, IsRepeatableAndSeesLocalTimeUnlessGiven) {
  const auto parsed = Template::Parse(
      "{% set n = namespace(a=0) %}{% for m in x|select %}{% set n.a = n.a + m %}{% endfor %}"
      "{{ n.a }}{{ strftime_now('%Y')|int > 2024 }}");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->Render({{"x", {1, 2}}}).value(), "3True");
  EXPECT_EQ(parsed->Render({{"x", {4, 0, 5}}}).value(), "9True");
}

}  // namespace
}  // namespace jinja
