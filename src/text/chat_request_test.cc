#include <gtest/gtest.h>

#include <string>

#include "expertile/messages.h"

namespace expertile {
namespace {

ChatRequest Parse(std::string_view json) { return ParseChatRequest(json, "in.json").value(); }

std::string ErrorOf(std::string_view json) {
  const auto request = ParseChatRequest(json, "in.json");
  if (request) return "";
  EXPECT_EQ(request.error().message.find('\n'), std::string::npos);
  EXPECT_TRUE(request.error().message.starts_with("in.json")) << request.error().message;
  return request.error().message;
}

TEST(ChatRequest, AListOfMessages) {
  const auto messages = Parse(R"([
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "What is"},
      {"type": "image_url", "image_url": {"url": "data:image/png;base64,YWJj"}},
      {"type": "image_url", "image_url": "file:///tmp/a%20b.png"},
      {"type": "image", "image": "c.png"}, {"image": "d.png"}]},
    {"role": "assistant", "content": null, "reasoning_content": "Hm.", "refusal": null,
     "tool_calls": [{"id": "x", "type": "function",
                     "function": {"name": "f", "arguments": "{\"b\": 1, \"a\": 2}"}}]},
    {"role": "tool", "tool_call_id": "x", "name": "f", "content": "4", "weight": 0.5}
  ])")
                            .conversation.messages;
  ASSERT_EQ(messages.size(), 4u);
  EXPECT_EQ(messages[0].content[0].text, "Be brief.");
  ASSERT_EQ(messages[1].content.size(), 5u);
  EXPECT_EQ(messages[1].content[1].image->bytes, "abc");
  EXPECT_EQ(messages[1].content[2].image->file, "/tmp/a b.png");
  EXPECT_EQ(messages[1].content[3].image->file, "c.png");
  EXPECT_EQ(messages[1].content[4].image->file, "d.png");
  EXPECT_TRUE(messages[2].content.empty());
  EXPECT_EQ(messages[2].reasoning, "Hm.");
  EXPECT_EQ(messages[2].tool_calls[0].arguments, R"({"b":1,"a":2})");
  EXPECT_TRUE(messages[2].other_fields.empty());
  EXPECT_EQ(messages[3].tool_call_id, "x");
  EXPECT_EQ(messages[3].other_fields[0].name, "weight");
  const auto images = ImagesOf(messages);
  ASSERT_EQ(images.size(), 4u);
  EXPECT_EQ(images[1].where, "messages[1].content[2]");
}

TEST(ChatRequest, AWholeRequest) {
  const ChatRequest request =
      Parse(R"({"model": "m", "messages": [{"role": "user", "content": "a"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"z": 1, "a": 2}}}],
    "reasoning_effort": "high", "chat_template_kwargs": {"enable_thinking": false},
    "temperature": 0, "top_k": 5, "seed": 7, "max_completion_tokens": 9, "n": 1, "stop": null})");
  EXPECT_EQ(request.conversation.tools[0],
            R"({"type":"function","function":{"name":"f","parameters":{"z":1,"a":2}}})");
  ASSERT_EQ(request.conversation.template_options.size(), 2u);
  EXPECT_EQ(request.conversation.template_options[0].json, "\"high\"");
  EXPECT_EQ(request.conversation.template_options[1].json, "false");
  EXPECT_EQ(request.sampling.temperature, 0.0f);
  EXPECT_EQ(request.sampling.top_k, 5);
  EXPECT_EQ(request.sampling.top_p, std::nullopt);
  EXPECT_EQ(request.sampling.seed, 7u);
  EXPECT_EQ(request.max_new_tokens, 9);
  EXPECT_TRUE(Parse(R"({"messages": [{"role": "user", "content": ""}], "tool_choice": "none",
                        "tools": [{"name": "f"}]})")
                  .conversation.tools.empty());
}

TEST(ChatRequest, RefusalsNameTheField) {
  struct Case {
    std::string_view json;
    std::string_view says;
  };
  const std::string deep = "[{\"role\": " + std::string(5000, '[');
  const Case cases[] = {
      {"", "malformed JSON"},
      {"[{]", "malformed JSON"},
      {deep, "deep"},
      {"3", "3, expected a list of messages"},
      {"[]", "messages: none"},
      {"{}", "messages: missing, expected a list"},
      {"[1]", "messages[0]: 1, expected an object"},
      {R"([{"content": "a"}])", "messages[0].role: missing"},
      {R"([{"role": "user", "content": "a"}, {"role": "bot", "content": "a"}])",
       "messages[1].role: \"bot\", expected system"},
      {R"([{"role": "user"}])", "messages[0].content: missing"},
      {R"([{"role": "user", "content": 5}])", "messages[0].content: 5"},
      {R"([{"role": "user", "content": [{"type": "video", "video": "x"}]}])",
       "messages[0].content[0].type: \"video\", expected text"},
      {R"([{"role": "user", "content": [{"type": "text", "text": 1}]}])",
       "messages[0].content[0].text: 1"},
      {R"([{"role": "user", "content": [{"type": "image_url"}]}])",
       "messages[0].content[0].image_url: missing"},
      {R"([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y"}}]}])",
       "messages[0].content[0].image_url.url: http://x/y: nothing is fetched"},
      {R"([{"role": "user", "content": [{"type": "image", "image": "data:image/png;base64,YW"}]}])",
       "messages[0].content[0].image: 2 characters that are no base64"},
      {R"([{"role": "user", "content": [{"type": "image", "image": "data:image/png,YW"}]}])",
       "expected data:TYPE;base64,DATA"},
      {R"([{"role": "user", "content": [{"type": "image", "image": "file:///a%2"}]}])", "%-escape"},
      {R"([{"role": "assistant", "content": "a", "tool_calls": [{"function": {}}]}])",
       "messages[0].tool_calls[0].function.name: missing"},
      {R"([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}])",
       "messages[0].tool_calls[0].function.arguments: line 1"},
      {R"([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[]"}}]}])",
       "messages[0].tool_calls[0].function.arguments: \"[]\", expected a JSON object"},
      {R"({"messages": [{"role": "user", "content": "a"}], "tools": {}})", "tools: an object"},
      {R"({"messages": [{"role": "user", "content": "a"}], "tools": [{"function": {}}]})",
       "tools[0].function.name: missing"},
      {R"({"messages": [{"role": "user", "content": "a"}], "stop": "x"})",
       "stop: a field that is not supported"},
      {R"({"messages": [{"role": "user", "content": "a"}], "top_k": 1e3})", "top_k"},
      {R"({"messages": [{"role": "user", "content": "a"}], "seed": -1})", "seed: -1"},
      {R"({"messages": [{"role": "user", "content": "a"}], "chat_template_kwargs": {"tools": 1}})",
       "chat_template_kwargs.tools: the conversation sets it"},
      {"[{\"role\": \"user\", \"content\": \"\xff\"}]", "malformed JSON"},
  };
  for (const Case& bad : cases) {
    const std::string error = ErrorOf(bad.json);
    EXPECT_NE(error.find(bad.says), std::string::npos) << bad.json << ": " << error;
  }
}

TEST(TemplateOption, JsonPythonOrString) {
  const auto json = [](std::string_view text) { return ParseTemplateOption(text).value().json; };
  EXPECT_EQ(json("enable_thinking=false"), "false");
  EXPECT_EQ(json("enable_thinking=False"), "false");
  EXPECT_EQ(json("reasoning_effort=high"), "\"high\"");
  EXPECT_EQ(json("a=\"1\""), "\"1\"");
  EXPECT_EQ(json("a=1"), "1");
  EXPECT_EQ(json("a="), "\"\"");
  EXPECT_EQ(json("a={\"b\": [1, 2]}"), "{\"b\":[1,2]}");
  EXPECT_EQ(json("a=b=c"), "\"b=c\"");
  EXPECT_FALSE(ParseTemplateOption("a"));
  EXPECT_FALSE(ParseTemplateOption("=a"));
  EXPECT_FALSE(ParseTemplateOption("messages=[]"));
}

}  // namespace
}  // namespace expertile
