// expertile run --chat and --messages: turns from standard input, or one reply.
// Not the conversation's work: that is expertile/chat.h.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "expertile/generation.h"
#include "expertile/messages.h"
#include "expertile/model.h"
#include "expertile/result.h"

namespace expertile::cli {

struct ChatFlags {
  bool chat = false;
  std::string system;
  std::string messages_file;
  std::vector<std::string> template_options;
  bool show_reasoning = false;
  bool json = false;

  // Whether run is to chat at all.
  bool wanted() const { return chat || !messages_file.empty(); }
};

// What run's other flags say about a chat.
struct ChatInput {
  std::optional<std::string> prompt;  // the only turn; none: a turn per line of standard input
  std::vector<std::string> images;    // files, in front of the first turn
  SamplingChoices sampling;
  std::optional<int64_t> max_new_tokens;
  bool ignore_eos = false;
  bool no_statistics = false;
};

// Declares them; they exclude what `prompt` and `prompt_file` mean for other runs.
void AddChatFlags(CLI::App& app, ChatFlags& flags, CLI::Option* prompt, CLI::Option* prompt_file,
                  CLI::Option* image);

// What the flags ask for, before a model is opened: the file's request (empty without one), with
// the template options. Refuses flags that need a chat, where there is none.
Result<ChatRequest> ReadChatRequest(const ChatFlags& flags);

Status RunChat(const Program& program, ChatRequest request, const ChatFlags& flags,
               const ChatInput& input);

}  // namespace expertile::cli
