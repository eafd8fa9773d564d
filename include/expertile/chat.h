// ChatSession: a conversation's next reply from a program, with the cache kept from turn to turn.
// Not several conversations at once: one session is one conversation.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "expertile/chat_template.h"
#include "expertile/generation.h"
#include "expertile/messages.h"
#include "expertile/model.h"
#include "expertile/reply.h"
#include "expertile/tokenizer.h"

namespace expertile {

struct ChatOptions {
  int64_t max_new_tokens = 128;
  SamplingOptions sampling;  // LoadGenerationDefaults() has the checkpoint's own
  // Goes on after tokens that end a reply; they and all marks are shown as content.
  bool ignore_end_tokens = false;
};

struct ChatReply {
  Reply reply;  // tool calls have ids that the conversation has not used: "call_0", …
  FinishReason finish_reason = FinishReason::kEndToken;
  GenerationStatistics statistics;
};

// Receives what each token added; false ends the reply.
using OnReplyDelta = std::function<bool(const ReplyDelta& delta)>;

class ChatSession {
 public:
  // With the tokenizer and the chat template of the program's model folder. Errors: those of
  // loading them; a program that cannot decode fails at the first Answer().
  static Result<ChatSession> Open(const Program& program);
  ChatSession(ChatSession&&) noexcept;
  ChatSession& operator=(ChatSession&&) noexcept;
  ~ChatSession();

  // The next reply. Only what follows the longest beginning that the cache holds already, of this
  // conversation or another, is prefilled; the reply is the same as from an empty cache, bit for
  // bit. The conversation is not changed: append reply.ToMessage() to go on. Errors, after which a
  // conversation can go on: a prompt longer than ctx_len, a picture that cannot be read (by its
  // place: "messages[2].content[0]: …"), what the template refuses.
  Result<ChatReply> Answer(const Conversation& conversation, const ChatOptions& options,
                           const OnReplyDelta& on_delta = nullptr);

  // Asked before every layer of every step and block of the vision tower; once it says so, Answer()
  // returns kCancelled, and the conversation can go on. Empty = never.
  void SetIsCancelled(IsCancelled is_cancelled);

  const ReplyFormat& reply_format() const;

 private:
  struct State;
  explicit ChatSession(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// A reply as an OpenAI message object on one line, with finish_reason and usage beside its role,
// content, reasoning_content and tool_calls (docs/chat.md).
std::string ReplyToJson(const ChatReply& reply);

}  // namespace expertile
