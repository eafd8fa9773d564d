#include "cli/chat.h"

#include <fmt/format.h>
#include <unistd.h>

#include <iostream>
#include <iterator>
#include <utility>

#include "cli/input.h"
#include "cli/sampling_flags.h"
#include "expertile/chat.h"

namespace expertile::cli {
namespace {

tl::unexpected<Error> Refuse(std::string message) {
  return tl::unexpected(Error{ErrorCode::kInvalidArgument, std::move(message)});
}

// A conversation at a terminal or in a pipe.
struct Talk {
  ChatSession session;
  Conversation conversation;
  ChatOptions options;
  const ChatFlags& flags;
  bool no_statistics;
};

// Shows a reply's parts as they come. False from any call: nobody reads any more.
class ReplyPrinter {
 public:
  explicit ReplyPrinter(bool show_reasoning) : show_reasoning_(show_reasoning) {}

  bool Show(const ReplyDelta& delta) {
    if (show_reasoning_ && !delta.reasoning.empty()) {
      Print(std::exchange(in_reasoning_, true) ? "" : "Reasoning:\n");
      Print(delta.reasoning);
    }
    if (!delta.content.empty()) {
      EndReasoning();
      Print(delta.content);
      has_content_ = true;
    }
    for (const ToolCall& call : delta.tool_calls) {
      EndReasoning();
      if (std::exchange(has_content_, true)) Print("\n");
      Print(fmt::format("Tool call: {} {}", call.name, call.arguments));
    }
    return is_read_;
  }

  bool End() {
    Print("\n");
    return is_read_;
  }

 private:
  void EndReasoning() {
    if (std::exchange(in_reasoning_, false)) Print("\n\nAnswer:\n");
  }
  void Print(const std::string& text) { is_read_ = is_read_ && (text.empty() || PrintNow(text)); }

  bool show_reasoning_;
  bool in_reasoning_ = false;
  bool has_content_ = false;
  bool is_read_ = true;
};

// One reply, shown and added to the conversation.
Status Reply(Talk& talk) {
  ReplyPrinter printer(talk.flags.show_reasoning);
  OnReplyDelta show;
  if (!talk.flags.json) show = [&](const ReplyDelta& delta) { return printer.Show(delta); };
  EXPERTILE_ASSIGN(const ChatReply reply,
                   talk.session.Answer(talk.conversation, talk.options, show));
  if (talk.flags.json) {
    PrintNow(ReplyToJson(reply) + "\n");
  } else {
    printer.End();
  }
  if (!talk.no_statistics) PrintStatistics(reply.statistics, talk.options.sampling);
  talk.conversation.messages.push_back(reply.reply.ToMessage());
  return {};
}

// Reads a line per turn from standard input until its end.
Status ReadTurns(Talk& talk, Message first) {
  const bool is_terminal = isatty(0) == 1;
  std::string line;
  while (true) {
    if (is_terminal) PrintNow("> ");
    if (!std::getline(std::cin, line)) break;
    if (line.empty()) continue;
    Message turn = std::exchange(first, Message{"user", {}, {}, {}, {}, {}, {}});
    turn.content.push_back({line, std::nullopt});
    talk.conversation.messages.push_back(std::move(turn));
    EXPERTILE_RETURN_IF_ERROR(Reply(talk));
  }
  if (is_terminal) PrintNow("\n");
  return {};
}

// Turns with the images in front of the first.
Status Converse(Talk& talk, const ChatInput& input) {
  if (!talk.flags.system.empty()) {
    talk.conversation.messages.push_back(Message::Text("system", talk.flags.system));
  }
  Message first{"user", {}, {}, {}, {}, {}, {}};
  for (const std::string& file : input.images) {
    first.content.push_back({{}, ImageSource{file, {}}});
  }
  if (!input.prompt) return ReadTurns(talk, std::move(first));
  first.content.push_back({*input.prompt, std::nullopt});
  talk.conversation.messages.push_back(std::move(first));
  return Reply(talk);
}

Result<ChatRequest> ReadFileOf(const std::string& file) {
  if (file.empty()) return ChatRequest{};
  if (file == "-") {
    return ParseChatRequest(std::string{std::istreambuf_iterator<char>(std::cin), {}},
                            "standard input");
  }
  EXPERTILE_ASSIGN(const std::string text, ReadFile(file));
  return ParseChatRequest(text, file);
}

// The flags win over the request, and the request over the checkpoint.
Result<ChatOptions> OptionsOf(const Program& program, const ChatRequest& request,
                              const ChatInput& input) {
  EXPERTILE_ASSIGN(const GenerationDefaults defaults,
                   LoadGenerationDefaults(program.model_folder()));
  ChatOptions options;
  options.sampling = defaults.With(request.sampling);
  input.sampling.ApplyTo(options.sampling);
  EXPERTILE_RETURN_IF_ERROR(CheckSampling(options.sampling));
  if (request.max_new_tokens) options.max_new_tokens = *request.max_new_tokens;
  if (input.max_new_tokens) options.max_new_tokens = *input.max_new_tokens;
  options.ignore_end_tokens = input.ignore_eos;
  return options;
}

}  // namespace

void AddChatFlags(CLI::App& app, ChatFlags& flags, CLI::Option* prompt, CLI::Option* prompt_file,
                  CLI::Option* image) {
  app.add_flag("--chat", flags.chat,
               "Apply the chat template; without a prompt, a turn per line of standard input");
  CLI::Option* system = app.add_option("--system", flags.system, "System message of a chat");
  app.add_option("--messages", flags.messages_file,
                 "JSON file with messages (and tools) as the OpenAI API has them, for one reply; - "
                 "for standard input")
      ->excludes(prompt)
      ->excludes(prompt_file)
      ->excludes(image)
      ->excludes(system);
  app.add_option("--template-option", flags.template_options,
                 "NAME=VALUE for the chat template (enable_thinking=false); VALUE is JSON, else a "
                 "string; again for each further one")
      ->allow_extra_args(false);
  app.add_flag("--show-reasoning", flags.show_reasoning, "Show a reply's reasoning, too");
  app.add_flag("--json", flags.json, "Print each reply as an OpenAI message object");
}

Result<ChatRequest> ReadChatRequest(const ChatFlags& flags) {
  if (!flags.wanted()) {
    const char* needs_chat = !flags.system.empty()             ? "--system"
                             : !flags.template_options.empty() ? "--template-option"
                             : flags.show_reasoning            ? "--show-reasoning"
                             : flags.json                      ? "--json"
                                                               : nullptr;
    if (needs_chat == nullptr) return ChatRequest{};
    return Refuse(fmt::format("{}: needs --chat or --messages", needs_chat));
  }
  if (flags.json && flags.show_reasoning) {
    return Refuse("--show-reasoning: --json has reasoning_content already");
  }
  EXPERTILE_ASSIGN(ChatRequest request, ReadFileOf(flags.messages_file));
  for (const std::string& option : flags.template_options) {
    EXPERTILE_ASSIGN(NamedJson parsed, ParseTemplateOption(option));
    request.conversation.template_options.push_back(std::move(parsed));
  }
  return request;
}

Status RunChat(const Program& program, ChatRequest request, const ChatFlags& flags,
               const ChatInput& input) {
  EXPERTILE_ASSIGN(const ChatOptions options, OptionsOf(program, request, input));
  EXPERTILE_ASSIGN(ChatSession session, ChatSession::Open(program));
  Talk talk{std::move(session), std::move(request.conversation), options, flags,
            input.no_statistics};
  return flags.messages_file.empty() ? Converse(talk, input) : Reply(talk);
}

}  // namespace expertile::cli
