// What a template sees of a conversation, and what input is refused. Not the template language.
#include "text/render_chat.h"

#include <gtest/gtest.h>

namespace expertile {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kChat =
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% if m.thinking %}({{ m.thinking }}/{{ m.reasoning_content }}){% endif %}{% endfor %}"
    "{% if tools %}{{ tools|tojson }}{% endif %}{{ documents is none }}"
    "{% if add_generation_prompt %}<assistant>{% endif %}";

TEST(RenderChat, GivesTransformersVariables) {
  const auto parsed = jinja::Template::Parse(kChat);
  ASSERT_TRUE(parsed);
  ChatInput input;
  input.messages = Json::parse(R"([{"role":"user","content":"Hi"},
                                   {"role":"assistant","content":"Yo","reasoning":"why"}])");
  input.add_generation_prompt = true;
  input.extra = {{"bos_token", "<s>"}};
  EXPECT_EQ(RenderChat(*parsed, input).value(), "<s><user>Hi<assistant>Yo(why/why)True<assistant>");
  input.tools = Json::array({{{"name", "f"}}});
  input.add_generation_prompt = false;
  EXPECT_EQ(RenderChat(*parsed, input).value(),
            "<s><user>Hi<assistant>Yo(why/why)[{\"name\": \"f\"}]True");
}

TEST(RenderChat, RefusesInputOfOtherShapes) {
  const auto parsed = jinja::Template::Parse(kChat);
  ASSERT_TRUE(parsed);
  ChatInput input;
  EXPECT_EQ(RenderChat(*parsed, input).error().message, "messages: a JSON null, expected an array");
  input.messages = Json::array({"Hi"});
  EXPECT_EQ(RenderChat(*parsed, input).error().message,
            "messages[0]: a JSON string, expected an object");
  input.messages = Json::array();
  input.tools = Json::array({1});
  EXPECT_EQ(RenderChat(*parsed, input).error().message,
            "tools[0]: a JSON number, expected an object");
}

}  // namespace
}  // namespace expertile
