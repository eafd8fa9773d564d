#include "expertile/reply.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "text/test_folder.h"

namespace expertile {
namespace {

const std::vector<std::string> kHarmony = {"<|start|>",   "<|channel|>", "<|constrain|>",
                                           "<|message|>", "<|end|>",     "<|call|>",
                                           "<|return|>"};
const std::vector<std::string> kQwen = {"<|im_end|>", "<think>", "</think>", "<tool_call>",
                                        "</tool_call>"};

constexpr ReplyFormat kTagged{.thoughts = true, .tagged_calls = true, .listed_calls = true};

// Reads `text` token by token. Whatever the stream is cut after, what was shown is a beginning of
// what is shown in the end, and the deltas together are the reply.
Reply ReadReply(const TextTokenizer& tokenizer, const ReplyFormat& format, std::string_view text,
                const ReplyStart& start = {}) {
  const std::vector<int32_t> ids = tokenizer.Encode(text, false).value();
  ReplyParser whole(tokenizer, format, start);
  std::vector<std::string> shown;  // after each token
  std::vector<std::string> thought;
  Reply deltas;
  const auto add = [&](const ReplyDelta& delta) {
    deltas.reasoning += delta.reasoning;
    deltas.content += delta.content;
    for (const ToolCall& call : delta.tool_calls) deltas.tool_calls.push_back(call);
    shown.push_back(deltas.content);
    thought.push_back(deltas.reasoning);
  };
  for (const int32_t id : ids) add(whole.Push(id).value());
  add(whole.Finish());
  for (size_t i = 0; i < shown.size(); ++i) {
    EXPECT_TRUE(deltas.content.starts_with(shown[i])) << text << ": " << shown[i];
    EXPECT_TRUE(deltas.reasoning.starts_with(thought[i])) << text << ": " << thought[i];
  }
  for (size_t cut = 0; cut < ids.size(); ++cut) {
    ReplyParser parser(tokenizer, format, start);
    for (size_t i = 0; i < cut; ++i) (void)parser.Push(ids[i]).value();
    const std::string before = parser.reply().content;
    EXPECT_EQ(before, cut == 0 ? "" : shown[cut - 1]) << text << " cut after " << cut;
    (void)parser.Finish();
    EXPECT_TRUE(parser.reply().content.starts_with(before)) << text << " cut after " << cut;
  }
  EXPECT_EQ(deltas.content, whole.reply().content);
  EXPECT_EQ(deltas.reasoning, whole.reply().reasoning);
  EXPECT_TRUE(deltas.tool_calls == whole.reply().tool_calls);
  return deltas;
}

struct Expected {
  std::string_view text;
  std::string_view reasoning;
  std::string_view content;
  std::vector<ToolCall> calls = {};
  ReplyStart start = {};
};

void ExpectReply(const TextTokenizer& tokenizer, const ReplyFormat& format,
                 const Expected& expected) {
  const Reply reply = ReadReply(tokenizer, format, expected.text, expected.start);
  EXPECT_EQ(reply.reasoning, expected.reasoning) << expected.text;
  EXPECT_EQ(reply.content, expected.content) << expected.text;
  ASSERT_EQ(reply.tool_calls.size(), expected.calls.size()) << expected.text;
  for (size_t i = 0; i < expected.calls.size(); ++i) {
    EXPECT_EQ(reply.tool_calls[i].name, expected.calls[i].name);
    EXPECT_EQ(reply.tool_calls[i].arguments, expected.calls[i].arguments);
  }
}

TEST(HarmonyReply, Channels) {
  const TextTokenizer tokenizer = ByteTokenizer(kHarmony);
  const std::vector<Expected> cases = {
      {"<|channel|>final<|message|> Hello<|return|>", "", " Hello"},
      {"<|channel|>analysis<|message|>A é.<|end|><|start|>assistant<|channel|>final<|message|>B",
       "A é.", "B"},
      {"<|message|>no channel<|end|>", "", "no channel"},
      {"<|channel|>analysis<|message|>one<|end|><|start|>assistant<|channel|>analysis<|message|>"
       "two<|end|>",
       "one\ntwo", ""},
      {"<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>final"
       "<|message|>Done.<|return|>",
       "", "I look.\nDone."},
      {"<|channel|>fin", "", ""},
      {"not harmony at all", "", "not harmony at all"},
      {"<|channel|>final<|message|>a <think> b", "", "a <think> b"},
      {"", "", ""},
  };
  for (const Expected& expected : cases) ExpectReply(tokenizer, {.harmony = true}, expected);
}

TEST(HarmonyReply, Calls) {
  const TextTokenizer tokenizer = ByteTokenizer(kHarmony);
  const ToolCall call{{}, "get_time", R"({"zone": "UTC"})"};
  const std::vector<Expected> cases = {
      // The recipient stands in the channel or in the role.
      {"<|channel|>commentary to=functions.get_time <|constrain|>json<|message|>"
       R"({"zone": "UTC"}<|call|>)",
       "",
       "",
       {call}},
      {"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant to=functions.get_time"
       R"(<|channel|>commentary <|constrain|>json<|message|>{"zone": "UTC"}<|call|>)",
       "Hm.",
       "",
       {call}},
      {" to=functions.get_time<|channel|>commentary json<|message|>"
       R"({"zone": "UTC"})",
       "",
       "",
       {call}},
      {"<|channel|>analysis to=python code<|message|>print(1)<|call|>",
       "",
       "",
       {{{}, "python", "print(1)"}}},
      // Cut off: what there is of it.
      {"<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"a",
       "",
       "",
       {{{}, "f", "{\"a"}}},
  };
  for (const Expected& expected : cases) ExpectReply(tokenizer, {.harmony = true}, expected);
}

TEST(HarmonyReply, MarksSpelledInTextAreText) {
  const TextTokenizer tokenizer = ByteTokenizer({"<|message|>", "<|channel|>"});
  ExpectReply(tokenizer, {.harmony = true},
              {"<|channel|>final<|message|>a <|end|> b <|start|>", "", "a <|end|> b <|start|>"});
}

// The same replies, whether the tags are tokens or are spelled letter by letter.
class TaggedReply : public testing::TestWithParam<bool> {
 protected:
  TextTokenizer tokenizer_ = ByteTokenizer(GetParam() ? kQwen : std::vector<std::string>());
};

TEST_P(TaggedReply, Thoughts) {
  const std::vector<Expected> cases = {
      {"Hello\n", "", "Hello\n"},
      {"<think>\nHm, é.\n\nSo.\n</think>\n\nYes.", "Hm, é.\n\nSo.", "Yes."},
      {"<think>\n\n</think>\n\nYes.", "", "Yes."},
      {"<think></think>Yes", "", "Yes"},
      {"<think>never done", "never done", ""},
      {"Hm.\n</think>\n\nYes.", "Hm.", "Yes.", {}, {.in_reasoning = true}},
      {"\n\nHm", "Hm", "", {}, {.in_reasoning = true}},
      {"<think>\nHm</think>Yes", "Hm", "Yes", {}, {.in_reasoning = true}},
      {"a < b, <thin", "", "a < b, <thin"},
      {"Yes</think> no", "", "Yes no"},
  };
  for (const Expected& expected : cases) ExpectReply(tokenizer_, kTagged, expected);
}

TEST_P(TaggedReply, Calls) {
  const ToolCall call{{}, "f", R"({"b":1,"a":"é"})"};
  const std::string body = R"({"name": "f", "arguments": {"b": 1, "a": "é"}})";
  const std::string tagged = "<tool_call>\n" + body + "\n</tool_call>";
  const std::vector<std::string> texts = {
      tagged,
      "I look.\n\n" + tagged + "\n",
      tagged + "\n" + tagged,
      "<think>\nHm.\n</think>\n\n" + tagged,
      "<tool_call>[" + body + "]</tool_call>",
      "<tool_call>" + body,  // cut off, yet whole
      "<|tool_call|>[" + body + ", " + body + "]",
      "<tool_call>{\"name\": \"f\", \"argum",
      "<tool_call>nothing</tool_call> x",
      R"(<tool_call>{"name": "f"}</tool_call>)",
      R"(<tool_call>{"name": "f", "arguments": "{\"b\": 1}"}</tool_call>)",
      R"(<tool_call>{"name": 1}</tool_call>)",
      "<think>maybe <tool_call> here</think>No.",
      R"(<tool_call>{"name": "f", "arguments": {"a": "<think>"}}</tool_call>)",
  };
  const std::vector<Expected> cases = {
      {texts[0], "", "", {call}},
      {texts[1], "", "I look.", {call}},
      {texts[2], "", "", {call, call}},
      {texts[3], "Hm.", "", {call}},
      {texts[4], "", "", {call}},
      {texts[5], "", "", {call}},
      {texts[6], "", "", {call, call}},
      {texts[7], "", texts[7]},
      {texts[8], "", texts[8]},
      {texts[9], "", "", {{{}, "f", "{}"}}},
      {texts[10], "", "", {{{}, "f", R"({"b": 1})"}}},
      {texts[11], "", texts[11]},
      {texts[12], "maybe <tool_call> here", "No."},
      {texts[13], "", "", {{{}, "f", R"({"a":"<think>"})"}}},
  };
  for (const Expected& expected : cases) ExpectReply(tokenizer_, kTagged, expected);
}

TEST_P(TaggedReply, CallsInXml) {
  const std::string tool = R"({"type":"function","function":{"name":"f","parameters":{"properties":
      {"zip":{"type":"string"},"n":{"type":"integer"}}}}})";
  const std::string text =
      "<tool_call>\n<function=f>\n<parameter=zip>\n0123\n</parameter>\n<parameter=n>\n4\n"
      "</parameter>\n<parameter=other>\na\nb\n</parameter>\n</function>\n</tool_call>";
  ExpectReply(
      tokenizer_, kTagged,
      {text, "", "", {{{}, "f", R"({"zip":"0123","n":4,"other":"a\nb"})"}}, {.tools = {tool}}});
  ExpectReply(tokenizer_, kTagged,
              {"<tool_call><function=f></tool_call>", "", "<tool_call><function=f></tool_call>"});
}

TEST_P(TaggedReply, OnlyTheMarksOfTheFormat) {
  const ReplyFormat plain{};
  const Reply reply = ReadReply(tokenizer_, {.listed_calls = true}, "a <thin b");
  EXPECT_EQ(reply.content, "a <thin b");
  EXPECT_EQ(ReadReply(tokenizer_, plain, "Hello\n\n").content, "Hello\n\n");
}

INSTANTIATE_TEST_SUITE_P(TokensOrLetters, TaggedReply, testing::Bool());

TEST(ReplyParser, SpecialTokensAreShownOnRequest) {
  const TextTokenizer tokenizer = ByteTokenizer(kQwen);
  const std::string text = "<think>a</think>b<|im_end|>c";
  EXPECT_EQ(ReadReply(tokenizer, {.thoughts = true, .shows_special = true}, text).content, text);
  EXPECT_EQ(ReadReply(tokenizer, {.thoughts = true}, text).content, "bc");
}

TEST(ReplyParser, HalfACharacterBecomesAReplacement) {
  const TextTokenizer tokenizer = ByteTokenizer(kQwen);
  const int32_t half = tokenizer.Encode("é", false).value()[0];
  const int32_t close = *tokenizer.TokenId("</think>");
  ReplyParser parser(tokenizer, kTagged, {.in_reasoning = true});
  for (const int32_t id : {half, close, half}) (void)parser.Push(id).value();
  (void)parser.Finish();
  EXPECT_EQ(parser.reply().reasoning, "\xEF\xBF\xBD");
  EXPECT_EQ(parser.reply().content, "\xEF\xBF\xBD");
  EXPECT_FALSE(ReplyParser(tokenizer, kTagged).Push(1 << 20));
}

TEST(ReplyFormat, ByTokensThenTemplateThenFamily) {
  const auto format = [](const std::vector<std::string>& tokens, const char* source,
                         const char* model_type) {
    TestFolder folder;
    folder.Add("chat_template.jinja", source)
        .Add("config.json", std::string(R"({"model_type": ")") + model_type + "\"}");
    return FindReplyFormat(ByteTokenizer(tokens), ChatTemplate::Load(folder.path()).value());
  };
  EXPECT_TRUE(format(kHarmony, "x", "qwen3_moe").harmony);
  EXPECT_TRUE(format(kQwen, "x", "other").thoughts);
  EXPECT_TRUE(format(kQwen, "x", "other").tagged_calls);
  EXPECT_FALSE(format(kQwen, "x", "other").listed_calls);
  EXPECT_TRUE(format({}, "{{ '</think>' }}", "other").thoughts);
  EXPECT_TRUE(format({}, "x", "qwen3_moe").thoughts);
  EXPECT_TRUE(format({}, "x", "granitemoe").listed_calls);
  EXPECT_FALSE(format({}, "x", "gpt_oss").harmony);
  EXPECT_FALSE(format({}, "x", "other").tagged_calls);
  EXPECT_EQ(EndTokensOf({.harmony = true}, ByteTokenizer(kHarmony)).size(), 2u);
  EXPECT_TRUE(EndTokensOf({}, ByteTokenizer(kHarmony)).empty());
}

TEST(EndsInReasoning, OnlyAtTheEnd) {
  EXPECT_TRUE(EndsInReasoning("<|im_start|>assistant\n<think>\n"));
  EXPECT_FALSE(EndsInReasoning("<think>\n\n</think>\n\n"));
  EXPECT_FALSE(EndsInReasoning(""));
}

}  // namespace
}  // namespace expertile
