#include "expertile/chat_template.h"

#include <gtest/gtest.h>

#include <string>

#include "text/test_folder.h"

namespace expertile {
namespace {

constexpr const char* kTextConfig = R"({"model_type": "qwen3_moe"})";
constexpr const char* kVisionConfig = R"({"model_type": "qwen3_vl_moe", "vision_config": {}})";
const std::string kTool = R"({"type":"function","function":{"name":"f"}})";

std::string Render(const TestFolder& folder, Conversation conversation = {}) {
  if (conversation.messages.empty()) conversation.messages = {Message::Text("user", "hi")};
  const auto chat_template = ChatTemplate::Load(folder.path());
  if (!chat_template) return "error: " + chat_template.error().message;
  const auto prompt = chat_template->Render(conversation);
  return prompt ? *prompt : "error: " + prompt.error().message;
}

std::string RenderWithTools(const TestFolder& folder) {
  Conversation conversation;
  conversation.tools = {kTool};
  return Render(folder, conversation);
}

TEST(ChatTemplate, TokenizersPlaces) {
  TestFolder folder;
  folder.Add("config.json", kTextConfig);
  EXPECT_NE(Render(folder).find("no chat template"), std::string::npos);
  folder.Add("chat_template.json", R"({"chat_template": "legacy"})");
  EXPECT_EQ(Render(folder), "legacy");
  folder.Add("tokenizer_config.json", R"({"chat_template": "config"})");
  EXPECT_EQ(Render(folder), "config");
  folder.Add("tokenizer_config.json", R"({"chat_template": [
      {"name": "tool_use", "template": "list tools"}, {"name": "default", "template": "list"}]})");
  EXPECT_EQ(Render(folder), "list");
  EXPECT_EQ(RenderWithTools(folder), "list tools");
  folder.Add("chat_template.jinja", "file");  // replaces the whole list
  EXPECT_EQ(Render(folder), "file");
  EXPECT_EQ(RenderWithTools(folder), "file");
  folder.Add("additional_chat_templates/tool_use.jinja", "file tools");
  folder.Add("additional_chat_templates/rag.jinja", "{{ broken");
  EXPECT_EQ(Render(folder), "file");
  EXPECT_EQ(RenderWithTools(folder), "file tools");
}

TEST(ChatTemplate, ProcessorsPlaces) {
  TestFolder folder;
  folder.Add("config.json", kVisionConfig)
      .Add("tokenizer_config.json", R"({"chat_template": "config"})");
  EXPECT_EQ(Render(folder), "config");
  folder.Add("chat_template.jinja", "file");
  EXPECT_EQ(Render(folder), "file");
  folder.Add("chat_template.json", R"({"chat_template": "legacy"})");
  EXPECT_EQ(Render(folder), "legacy");
  folder.Add("processor_config.json", R"({"chat_template": null})");
  EXPECT_EQ(Render(folder), "legacy");
  folder.Add("processor_config.json", R"({"chat_template": "processor"})");
  EXPECT_EQ(Render(folder), "processor");
}

TEST(ChatTemplate, WhatCannotBeRead) {
  TestFolder folder;
  folder.Add("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "x"}]})");
  EXPECT_NE(Render(folder).find("rag: none is named default"), std::string::npos);
  folder.Add("tokenizer_config.json", R"({"chat_template": 5})");
  EXPECT_NE(Render(folder).find("chat_template: expected a string"), std::string::npos);
  folder.Add("tokenizer_config.json", R"({"chat_template": [{"name": "default"}]})");
  EXPECT_NE(Render(folder).find("template: missing"), std::string::npos);
  folder.Add("chat_template.json", "{}");
  folder.Add("tokenizer_config.json", "{}");
  EXPECT_NE(Render(folder).find("no chat template"), std::string::npos);
}

TEST(ChatTemplate, SpecialTokensAndOptions) {
  TestFolder folder;
  folder.Add("chat_template.jinja", "{{ bos_token }}|{{ eos_token }}|{{ cls_token }}|{{ effort }}")
      .Add(
          "tokenizer_config.json",
          R"({"tokenizer_class": "Qwen2Tokenizer", "bos_token": {"content": "<s>"}, "cls_token": "C"})");
  Conversation conversation;
  conversation.template_options = {{"effort", "\"low\""}, {"effort", "\"high\""}};
  EXPECT_EQ(Render(folder, conversation), "<s>|<|endoftext|>|C|high");
}

TEST(ChatTemplate, PartsForTemplatesThatReadThem) {
  Conversation conversation;
  Message message = Message::Text("user", "a");
  message.content.push_back({{}, ImageSource{"x.png", {}}});
  message.content.push_back({"b", std::nullopt});
  conversation.messages = {message};
  TestFolder lists;
  lists.Add("chat_template.jinja",
            "{%- for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for c "
            "in m.content %}[{{ c.type }}{{ c.text }}]{% endfor %}{% endif %}{% endfor %}");
  EXPECT_EQ(Render(lists, conversation), "[texta][image][textb]");
  TestFolder strings;
  strings.Add("chat_template.jinja", "{% for m in messages %}<{{ m.content }}>{% endfor %}");
  EXPECT_EQ(Render(strings, conversation), "<a\nb>");
  TestFolder silent;  // drops what is no string
  silent.Add("chat_template.jinja",
             "{% for m in messages %}{% if m.content is string %}<{{ m.content }}>{% endif %}{% "
             "endfor %}");
  EXPECT_EQ(Render(silent, conversation), "<a\nb>");
}

Conversation WithCall(std::string reasoning, std::string content) {
  Conversation conversation;
  Message call = Message::Text("assistant", std::move(content));
  call.reasoning = std::move(reasoning);
  call.tool_calls = {{"call_0", "f", R"({"b":1,"a":2})"}};
  conversation.messages = {Message::Text("user", "q"), call};
  return conversation;
}

TEST(ChatTemplate, HistoryAsTheTemplateReadsIt) {
  TestFolder knows;
  knows.Add(
      "chat_template.jinja",
      "{% for m in messages %}{{ m.content }};{{ m.reasoning_content }};{{ m.thinking }};{% for "
      "c in m.tool_calls %}{{ c.function.name }}{% for k, v in c.function.arguments.items() "
      "%}{{ k }}={{ v }},{% endfor %}{% endfor %}{% endfor %}");
  EXPECT_EQ(Render(knows, WithCall("Hm.", "x")), "q;;;x;Hm.;Hm.;fb=1,a=2,");
  TestFolder granite;
  granite.Add("chat_template.jinja",
              "{% for m in messages %}<|start_of_role|>{{ m.content }}{% endfor %}");
  EXPECT_EQ(
      Render(granite, WithCall("", "")),
      R"(<|start_of_role|>q<|start_of_role|><|tool_call|>[{"name":"f","arguments":{"b":1,"a":2}}])");
  TestFolder tags;
  tags.Add("chat_template.jinja", "{% for m in messages %}|{{ m.content }}{% endfor %}");
  EXPECT_EQ(Render(tags, WithCall("", "x")),
            "|q|x\n<tool_call>\n{\"name\":\"f\",\"arguments\":{\"b\":1,\"a\":2}}\n</tool_call>");
}

// GPT-OSS refuses reasoning and content beside a call: both become the one thought.
TEST(ChatTemplate, OneThoughtBesideACall) {
  TestFolder folder;
  folder.Add("chat_template.jinja",
             "{% for m in messages %}{% if m.tool_calls %}{% if m.content and m.thinking %}{{ "
             "raise_exception('both') }}{% endif %}<|channel|>{{ m.thinking }}|{{ m.content }}{% "
             "endif %}{% endfor %}");
  EXPECT_EQ(Render(folder, WithCall("Hm.", "I look.")), "<|channel|>Hm.\nI look.|");
}

// GPT-OSS reads one call a message, and names a result after the call before it.
TEST(ChatTemplate, OneCallAMessage) {
  TestFolder folder;
  folder.Add("chat_template.jinja",
             "{% for m in messages %}{% if m.tool_calls %}{{ m.thinking }}{{ "
             "m.tool_calls[0].function.name }};{% else %}{{ m.content }};{% endif %}{% endfor %}");
  Conversation conversation = WithCall("Hm.", "");
  conversation.messages[1].tool_calls.push_back({"call_1", "g", "{}"});
  for (const char* id : {"call_1", "call_0", "other"}) {
    Message result = Message::Text("tool", id);
    result.tool_call_id = id;
    conversation.messages.push_back(result);
  }
  conversation.messages.push_back(Message::Text("user", "r"));
  EXPECT_EQ(Render(folder, conversation), "q;Hm.f;call_0;g;call_1;other;r;");
}

TEST(ChatTemplate, RolesAndArgumentsThatItDoesNotKnow) {
  TestFolder folder;
  folder.Add("chat_template.jinja",
             "{% for m in messages %}{{ m.role }}{% for c in m.tool_calls or [] %}{{ "
             "c.function.arguments }}{% endfor %};{% endfor %}");
  Conversation conversation = WithCall("", "");
  conversation.messages[0].role = "developer";
  conversation.messages[1].tool_calls[0].arguments = "no json";
  EXPECT_EQ(Render(folder, conversation), "system;assistantno json;");
}

}  // namespace
}  // namespace expertile
