// A model's reply, read as its tokens come: reasoning, answer and tool calls kept apart.
// Not the loop that makes the tokens (generation.h, chat.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "expertile/chat_template.h"
#include "expertile/messages.h"
#include "expertile/result.h"
#include "expertile/tokenizer.h"

namespace expertile {

// How a model marks the parts of a reply. Without any mark, all of it is the answer.
struct ReplyFormat {
  bool harmony = false;        // GPT-OSS: channels and recipients between special tokens
  bool thoughts = false;       // <think>…</think>
  bool tagged_calls = false;   // <tool_call>…</tool_call>: JSON, or <function=…> as Qwen3-Coder
  bool listed_calls = false;   // <|tool_call|>[…]: Granite 3; the list ends the reply
  bool shows_special = false;  // special tokens are text: nothing is taken apart
};

// By the tokens of the tokenizer, then by what the template names, then by config.json's
// model_type.
ReplyFormat FindReplyFormat(const TextTokenizer& tokenizer, const ChatTemplate& chat_template);

// Tokens that end a reply of this format, beside the model's own: harmony's <|return|> and
// <|call|>.
std::vector<int32_t> EndTokensOf(const ReplyFormat& format, const TextTokenizer& tokenizer);

// What one token added; most often a few letters of one of them.
struct ReplyDelta {
  std::string reasoning;
  std::string content;
  std::vector<ToolCall> tool_calls;  // whole ones; `id` is empty
};

// Text is valid UTF-8.
struct Reply {
  std::string reasoning;
  std::string content;
  std::vector<ToolCall> tool_calls;

  Message ToMessage() const;
};

// Where a reply begins, and what it may call.
struct ReplyStart {
  bool in_reasoning = false;            // the prompt ends with <think>
  std::vector<std::string> tools = {};  // JSON objects, as in Conversation: types of XML arguments
};

// Whether a prompt leaves the model inside <think>.
bool EndsInReasoning(std::string_view prompt);

// Marks that are one token of the vocabulary count only as that token; a mark without a token of
// its own is found in the text. No part of a mark is ever given out before it is known to be none.
// A tool call that cannot be read is given out as text, as the model wrote it.
class ReplyParser {
 public:
  ReplyParser(const TextTokenizer& tokenizer, const ReplyFormat& format, ReplyStart start = {});
  ReplyParser(ReplyParser&&) noexcept;
  ~ReplyParser();

  // What is certain after one more token. Error: an id outside the vocabulary.
  Result<ReplyDelta> Push(int32_t id);
  // What is left when no more tokens come; call once.
  ReplyDelta Finish();
  // All deltas so far, put together.
  const Reply& reply() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace expertile
