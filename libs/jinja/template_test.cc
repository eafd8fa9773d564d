// What the goldens cannot show: error messages with their lines, limits, values.
#include "jinja/template.h"

#include <gtest/gtest.h>

namespace jinja {
namespace {

using Json = nlohmann::ordered_json;

std::string ErrorOf(std::string_view source, const Json& variables = Json::object(),
                    const RenderOptions& options = {}) {
  const auto parsed = Template::Parse(source);
  if (!parsed) return parsed.error().message;
  const auto output = parsed->Render(variables, options);
  return output ? "rendered: " + output->substr(0, 100) : output.error().message;
}

std::string Rendered(std::string_view source, const Json& variables = Json::object()) {
  const auto parsed = Template::Parse(source);
  if (!parsed) return "error: " + parsed.error().message;
  const auto output = parsed->Render(variables);
  return output ? *output : "error: " + output.error().message;
}

std::string Repeated(std::string_view text, int count) {
  std::string result;
  for (int i = 0; i < count; ++i) result += text;
  return result;
}

TEST(TemplateErrors, NameWhatIsUnknownAndItsLine) {
  EXPECT_EQ(ErrorOf("a\n{{ x|shout }}"), "template line 2: no filter named 'shout'");
  EXPECT_EQ(ErrorOf("\n\n{% if x is loud %}{% endif %}"), "template line 3: no test named 'loud'");
  EXPECT_EQ(ErrorOf("a\r\n{% include 'b' %}"),
            "template line 2: the tag 'include' is not supported");
  EXPECT_EQ(ErrorOf("{% frobnicate %}"), "template line 1: unknown tag 'frobnicate'");
  EXPECT_EQ(ErrorOf("\n{{ shout(1) }}"), "template line 2: 'shout' is undefined");
}

// As in jinja2: at parse, but inside of an if (and not in a loop there) when it is reached.
TEST(TemplateErrors, UnknownNamesInABranchWaitUntilItIsTaken) {
  EXPECT_EQ(ErrorOf("{% if x %}{{ 1|shout }}{% elif x is loud %}{% else %}a{% endif %}"),
            "template line 1: no test named 'loud'");
  EXPECT_EQ(Rendered("{% if x %}{{ 1|shout }}{% else %}a{% endif %}"), "a");
  EXPECT_EQ(Rendered("{{ 1 if true else (1|shout) }}{{ (1|shout) if x else 2 }}"), "12");
  EXPECT_EQ(ErrorOf("{% if x %}{% for i in x %}{{ 1|shout }}{% endfor %}{% endif %}"),
            "template line 1: no filter named 'shout'");
  EXPECT_EQ(ErrorOf("{% if true %}\n{{ 1|shout }}{% endif %}"),
            "template line 2: no filter named 'shout'");
}

TEST(TemplateErrors, NameWhatIsNotSupportedWhenItIsReached) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"{{ 'a'|center }}", "the filter 'center' is not supported"},
      {"{{ 1 is odd }}", "the test 'odd' is not supported"},
      {"{{ 'a'.zfill(3) }}", "the method 'zfill' is not supported"},
      {"{{ cycler(1) }}", "the function 'cycler' is not supported"},
      {"{{ 2 ** 3 }}", "the operator ** is not supported"},
      {"{% for a in [1] %}{{ loop.cycle(1) }}{% endfor %}", "loop.cycle is not supported"},
      {"{% for a in [1] recursive %}{% endfor %}", "a recursive loop is not supported"},
      {"{% macro m() %}{{ kwargs }}{% endmacro %}{{ m() }}",
       "the variable 'kwargs' is not supported"},
      {"{% include 'a' %}", "the tag 'include' is not supported"}};
  for (const auto& [source, message] : cases) {
    EXPECT_EQ(ErrorOf("\n" + std::string(source)), "template line 2: " + std::string(message));
    EXPECT_EQ(Rendered("{% if x %}" + std::string(source) + "{% endif %}a"), "a");
  }
}

TEST(TemplateErrors, NameTheLineOfTheFailure) {
  EXPECT_EQ(ErrorOf("{% macro m(a) %}\n{{ a + 1 }}\n{% endmacro %}\n{{ m('x') }}"),
            "template line 2: unsupported operand types for +: 'str' and 'int'");
  EXPECT_EQ(ErrorOf("{% macro m() %}\n\n{% endmacro %}\n{{ m() + 1 }}"),
            "template line 4: unsupported operand types for +: 'str' and 'int'");
  EXPECT_EQ(ErrorOf("\n{% for a in [1]"),
            "template line 2: expected %}, found the end of the template");
  EXPECT_EQ(ErrorOf("\n{{ d.a.b }}", {{"d", Json::object()}}),
            "template line 2: 'dict object' has no attribute 'a'");
}

TEST(TemplateErrors, RaiseExceptionGivesItsMessageAlone) {
  const auto parsed = Template::Parse("\n{{ raise_exception('No ' ~ 'system role') }}");
  ASSERT_TRUE(parsed);
  const auto output = parsed->Render(Json::object());
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().kind, ErrorKind::kRaised);
  EXPECT_EQ(output.error().message, "No system role");
}

TEST(TemplateErrors, InvalidText) {
  EXPECT_EQ(ErrorOf("a\xff"), "template: not valid UTF-8");
  EXPECT_EQ(ErrorOf("{{ '\\ud800' }}"),
            "template line 1: the string escape d800 is not a character");
  EXPECT_EQ(ErrorOf(std::string(kMaxTemplateSize + 1, ' ')),
            "template: 1048577 bytes, limit 1048576");
}

TEST(TemplateErrors, VariablesThatDoNotFit) {
  EXPECT_NE(ErrorOf("", Json::array()).find("expected an object"), std::string::npos);
  EXPECT_NE(ErrorOf("", {{"n", uint64_t{1} << 63}}).find("does not fit 64 bits"),
            std::string::npos);
  Json deep = 1;
  for (int i = 0; i < kMaxValueDepth; ++i) deep = Json::array({std::move(deep)});
  EXPECT_NE(ErrorOf("", {{"deep", deep}}).find("nested deeper"), std::string::npos);
}

// Each of these would run without end, exhaust memory or overflow the stack.
TEST(TemplateLimits, HostileTemplatesAreErrors) {
  const std::string hostile[] = {
      "{{ " + Repeated("(", 100000) + "1",
      "{{ " + Repeated("[", 100000) + "1",
      "{{ " + Repeated("-", 100000) + "1 }}",
      "{{ 1" + Repeated("+1", 100000) + " }}",
      "{{ a" + Repeated(".a", 100000) + " }}",
      "{{ a" + Repeated("|string", 100000) + " }}",
      "{{ " + Repeated("not ", 100000) + "1 }}",
      "{{ 1" + Repeated(" if 1 else 1", 50000) + " }}",
      Repeated("{% if 1 %}", 100000),
      "{% for " + Repeated("(", 100000) + "a",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% for a in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
      "{% set n = namespace(x=[]) %}{% for i in range(100000) %}{% set n.x = [n.x] %}{% endfor %}",
      "{% set n = namespace(x='a') %}{% for i in range(100) %}{% set n.x = n.x + n.x %}{% endfor "
      "%}",
      "{% set n = namespace(x=[1]) %}{% for i in range(100) %}{% set n.x = [n.x, n.x] %}{% endfor "
      "%}"
      "{{ n.x }}",
      "{% set n = namespace(x=[1]) %}{% for i in range(100) %}{% set n.x = [n.x, n.x] %}{% endfor "
      "%}"
      "{{ n.x|tojson }}",
      "{% set n = namespace(x=[1], y=[1]) %}{% for i in range(100) %}{% set n.x = [n.x, n.x] %}"
      "{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}",
      "{% set n = namespace(x=(1,)) %}{% for i in range(100) %}{% set n.x = (n.x, n.x) %}{% endfor "
      "%}"
      "{{ {n.x: 1} }}",
      "{{ 'a' * 10000000000 }}",
      "{{ [1] * 10000000000 }}",
      "{{ 'a'.center(10000000000) }}",
      "{{ '%1000000000d' % 1 }}",
      "{{ [1]|tojson(indent=1000000000) }}",
      "{{ 'a'|indent(1000000000, true) }}",
      "{{ range(100000000) }}",
      "{{ [1]|batch(100000000000, 'x')|list }}",
      "{% set s = 'a' * 5000000 %}{{ (s + 'b') in (s + s) }}{{ s.count('a' * 2500000 + 'b') }}",
      "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
      "{% set n = namespace() %}{% set n.n = n %}{{ n }}"};
  for (const std::string& source : hostile) {
    const std::string error = ErrorOf(source);
    EXPECT_FALSE(error.starts_with("rendered")) << source.substr(0, 100) << " " << error;
    EXPECT_TRUE(error.starts_with("template line ")) << source.substr(0, 100) << " " << error;
  }
}

TEST(TemplateLimits, OptionsSetThem) {
  RenderOptions options;
  options.limits.max_output_size = 10;
  EXPECT_EQ(ErrorOf("12345{{ '67890' }}", Json::object(), options), "rendered: 1234567890");
  EXPECT_EQ(ErrorOf("12345{{ '678901' }}", Json::object(), options),
            "template line 1: a value of 11 bytes, limit 10");
  options.limits = {};
  options.limits.max_steps = 5;
  EXPECT_EQ(ErrorOf("{% for i in range(9) %}{% endfor %}", Json::object(), options),
            "template line 1: more than 5 steps");
}

TEST(TemplateLimits, RingsOfValuesAreFreed) {
  EXPECT_EQ(Rendered("{% set n = namespace() %}{% set n.n = n %}"
                     "{% macro m() %}{% macro k() %}{% endmacro %}{% set n.k = k %}{% endmacro %}"
                     "{{ m() }}{% for i in [1] %}{% set n.l = loop %}{% endfor %}!"),
            "!");
}

TEST(TemplateRender, IsRepeatable) {
  const auto parsed = Template::Parse(
      "{% set n = namespace(a=0) %}{% for m in x|select %}"
      "{% set n.a = n.a + m %}{% endfor %}{{ n.a }}");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->Render({{"x", {1, 2}}}).value(), "3");
  EXPECT_EQ(parsed->Render({{"x", {4, 0, 5}}}).value(), "9");
}

TEST(TemplateRender, ClockIsLocalTimeUnlessGiven) {
  RenderOptions options;
  options.clock = [] {
    std::tm now = {};
    now.tm_year = 99;
    now.tm_mon = 11;
    now.tm_mday = 31;
    return now;
  };
  EXPECT_EQ(ErrorOf("{{ strftime_now('%d %b %Y') }}", Json::object(), options),
            "rendered: 31 Dec 1999");
  EXPECT_EQ(Rendered("{{ strftime_now('%Y')|int > 2020 }}"), "True");
}

}  // namespace
}  // namespace jinja
