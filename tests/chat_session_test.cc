// A conversation's replies are the same with the cache kept from turn to turn as from an empty one.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "expertile/chat.h"
#include "tests/golden.h"

namespace expertile {
namespace {

Program Compile(const std::string& model, bool mxint8_kv_cache = false, int64_t ctx_len = 512) {
  CompileOptions options;
  options.mxint8_kv_cache = mxint8_kv_cache;
  options.ctx_len = ctx_len;
  options.prefill_seq_len = 32;
  options.num_cores = 1;
  return Model::Load(Golden::ModelPath(model)).value().Compile(options).value();
}

Message Picture(const std::string& text, int i) {
  const std::string folder = Golden::ModelPath("tiny-qwen3_vl_moe");
  Message message = Message::Text("user", text);
  message.content.insert(message.content.begin(),
                         {{}, ImageSource{folder + "/images/" + std::to_string(i) + ".png", {}}});
  return message;
}

// Tells turns one by one, each answered by `session` and by one that begins with it.
void ExpectSameAsFromScratch(const Program& program, ChatSession& session,
                             const std::vector<Message>& turns, const ChatOptions& options) {
  Conversation conversation;
  for (size_t i = 0; i < turns.size(); ++i) {
    conversation.messages.push_back(turns[i]);
    ChatSession scratch = ChatSession::Open(program).value();
    const ChatReply expected = scratch.Answer(conversation, options).value();
    const ChatReply actual = session.Answer(conversation, options).value();
    EXPECT_EQ(actual.reply.content, expected.reply.content) << "turn " << i;
    EXPECT_EQ(actual.reply.reasoning, expected.reply.reasoning) << "turn " << i;
    EXPECT_EQ(actual.statistics.new_tokens, expected.statistics.new_tokens) << "turn " << i;
    EXPECT_EQ(expected.statistics.held_tokens, 0);
    EXPECT_EQ(actual.statistics.held_tokens + actual.statistics.prompt_tokens,
              expected.statistics.prompt_tokens);
    EXPECT_TRUE(i == 0 || actual.statistics.held_tokens > 0) << "turn " << i;
    conversation.messages.push_back(actual.reply.ToMessage());
  }
}

const std::vector<Message> kTurns = {Message::Text("user", "Who art thou?"),
                                     Message::Text("user", "And thy brother?"),
                                     Message::Text("user", "Speak.")};

TEST(ChatSession, EveryFamilyAndFormat) {
  ChatOptions options;
  options.max_new_tokens = 12;
  for (const char* model : {"tiny-qwen3_moe", "tiny-gpt_oss", "tiny-granitemoe"}) {
    for (const bool mxint8 : {false, true}) {
      const Program program = Compile(model, mxint8);
      ChatSession session = ChatSession::Open(program).value();
      ExpectSameAsFromScratch(program, session, kTurns, options);
    }
  }
}

TEST(ChatSession, SampledWithPenalties) {
  const Program program = Compile("tiny-qwen3_moe");
  ChatSession session = ChatSession::Open(program).value();
  ChatOptions options;
  options.max_new_tokens = 12;
  options.sampling = {.temperature = 1.2f,
                      .top_k = 40,
                      .repetition_penalty = 1.2f,
                      .presence_penalty = 0.5f,
                      .seed = 9};
  ExpectSameAsFromScratch(program, session, kTurns, options);
}

TEST(ChatSession, Pictures) {
  const Program program = Compile("tiny-qwen3_vl_moe");
  ChatSession session = ChatSession::Open(program).value();
  ChatOptions options;
  options.max_new_tokens = 12;
  const std::vector<Message> turns = {Picture("Describe the image.", 0),
                                      Message::Text("user", "Describe the image."),
                                      Picture("Describe the image.", 1), Picture("Again.", 0)};
  ExpectSameAsFromScratch(program, session, turns, options);
  // Another picture in the same place is another conversation.
  ExpectSameAsFromScratch(program, session, {Picture("Describe the image.", 2)}, options);
}

TEST(ChatSession, GoesOnAfterAnError) {
  const Program program = Compile("tiny-qwen3_vl_moe", false, 150);
  ChatSession session = ChatSession::Open(program).value();
  ChatOptions options;
  options.max_new_tokens = 4;
  Conversation conversation;
  conversation.messages = {Message::Text("user", "Hi")};
  const ChatReply first = session.Answer(conversation, options).value();
  const auto error_of = [&](const Message& message) {
    Conversation longer = conversation;
    longer.messages.push_back(message);
    return session.Answer(longer, options).error().message;
  };
  EXPECT_EQ(error_of(Message::Text("user", std::string(2000, '!'))).rfind("conversation: ", 0), 0u);
  Message nowhere = Message::Text("user", "a");
  nowhere.content.push_back({{}, ImageSource{"nowhere.png", {}}});
  EXPECT_EQ(error_of(nowhere).rfind("messages[1].content[1]: nowhere.png: ", 0), 0u);
  nowhere.content[1].image = ImageSource{{}, "no picture"};
  EXPECT_EQ(error_of(nowhere).rfind("messages[1].content[1]: data: URL: ", 0), 0u);
  EXPECT_EQ(session.Answer(conversation, options).value().reply.content, first.reply.content);
  EXPECT_FALSE(session.Answer({}, options));
}

TEST(ChatSession, EndsWhereTheContextIsFull) {
  const Program program = Compile("tiny-qwen3_moe", false, 40);
  ChatSession session = ChatSession::Open(program).value();
  ChatOptions options;
  options.max_new_tokens = 100;
  options.ignore_end_tokens = true;
  Conversation conversation;
  conversation.messages = {Message::Text("user", "Hi")};
  const ChatReply reply = session.Answer(conversation, options).value();
  EXPECT_EQ(reply.finish_reason, FinishReason::kContextFull);
  // The last token is made, not kept.
  EXPECT_EQ(reply.statistics.prompt_tokens + reply.statistics.new_tokens, 41);
  EXPECT_NE(ReplyToJson(reply).find("\"finish_reason\":\"length\""), std::string::npos);
}

TEST(ChatSession, TheListenerMayStop) {
  const Program program = Compile("tiny-qwen3_moe");
  ChatSession session = ChatSession::Open(program).value();
  Conversation conversation;
  conversation.messages = {Message::Text("user", "Who art thou?")};
  int num_deltas = 0;
  const auto stop = [&](const ReplyDelta&) { return ++num_deltas < 3; };
  const ChatReply reply = session.Answer(conversation, {}, stop).value();
  EXPECT_EQ(reply.finish_reason, FinishReason::kStopped);
  EXPECT_EQ(num_deltas, 3);
}

TEST(ReplyToJson, AMessageObject) {
  ChatReply reply;
  reply.reply = {"Hm.", "", {{"call_0", "f", "{\"a\":1}"}}};
  reply.statistics = {.held_tokens = 3, .prompt_tokens = 4, .new_tokens = 5};
  EXPECT_EQ(
      ReplyToJson(reply),
      R"({"role":"assistant","content":null,"reasoning_content":"Hm.","tool_calls":[{"id":"call_0",)"
      R"("type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}],"finish_reason":"tool_calls",)"
      R"("usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12,)"
      R"("prompt_tokens_details":{"cached_tokens":3}}})");
  reply.reply = {"", "", {}};
  EXPECT_NE(ReplyToJson(reply).find(R"("content":"","finish_reason":"stop")"), std::string::npos);
  reply.reply.content = "\xff";
  EXPECT_NE(ReplyToJson(reply).find("\"content\":\"\xEF\xBF\xBD\""), std::string::npos);
}

}  // namespace
}  // namespace expertile
