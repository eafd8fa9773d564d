#include <fmt/format.h>
#include <unistd.h>

#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/input.h"
#include "cli/program_source.h"
#include "expertile/generation.h"
#include "expertile/tokenizer.h"

namespace expertile::cli {
namespace {

struct Flags {
  std::string prompt;
  std::string prompt_file;
  std::string system;
  std::vector<std::string> images;
  bool chat = false;
  bool ignore_eos = false;
  bool no_statistics = false;
  GenerationOptions generation;
  ProgramSource source;
};

// An opened model with all that a conversation needs.
struct Runner {
  const Flags& flags;
  Program program;
  TextTokenizer tokenizer;
  Session session;
  std::vector<EncodedImage> images;
};

void PrintStatistics(const GenerationStatistics& s) {
  const int64_t decoded = s.new_tokens > 0 ? s.new_tokens - 1 : 0;
  fmt::print(stderr, "prefill: {} tokens in {:.3f} s, {:.1f} tokens/s", s.prompt_tokens,
             s.prefill_seconds, static_cast<double>(s.prompt_tokens) / s.prefill_seconds);
  if (decoded > 0) {
    fmt::print(stderr, "; decode: {} tokens in {:.3f} s, {:.1f} tokens/s", decoded,
               s.decode_seconds, static_cast<double>(decoded) / s.decode_seconds);
  }
  fmt::print(stderr, "\n");
}

// Continues `prompt`, printing text as it comes; returns the whole of it.
Result<std::string> Continue(Runner& runner, const std::string& prompt, bool add_special_tokens) {
  EXPERTILE_ASSIGN(std::vector<int32_t> ids, runner.tokenizer.Encode(prompt, add_special_tokens));
  EXPERTILE_ASSIGN(ids, runner.program.PlaceImages(ids, runner.images));
  if (ids.empty()) {
    return tl::unexpected(Error{ErrorCode::kInvalidArgument, "prompt: no tokens"});
  }
  TextStream stream(runner.tokenizer, /*skip_special_tokens=*/!runner.flags.ignore_eos);
  std::string text;
  Status failure;
  bool is_read = true;
  const auto emit = [&](const std::string& piece) {
    text += piece;
    is_read = PrintNow(piece);
    return is_read;
  };
  const auto on_token = [&](size_t, int32_t id) {
    const auto piece = stream.Push(id);
    if (!piece) failure = tl::unexpected(piece.error());
    return piece && emit(*piece);
  };
  EXPERTILE_RETURN_IF_ERROR(runner.session.Clear(0));
  GenerationOptions generation = runner.flags.generation;
  if (!runner.flags.ignore_eos) generation.end_token_ids = runner.program.end_token_ids();
  const Prompt placed{ids, runner.images};
  EXPERTILE_ASSIGN(const Generated generated,
                   Generate(runner.session, std::span(&placed, 1), generation, on_token));
  if (!failure) return tl::unexpected(failure.error());
  if (is_read) emit(stream.Flush());
  if (is_read) PrintNow("\n");
  if (!runner.flags.no_statistics) PrintStatistics(generated.statistics);
  return text;
}

// Reads a line per turn from standard input until its end.
Status Chat(Runner& runner, const ChatTemplate& chat_template, std::vector<ChatMessage> messages) {
  const bool is_terminal = isatty(0) == 1;
  std::string line;
  bool is_first = true;  // the turn that shows the images
  while (true) {
    if (is_terminal) PrintNow("> ");
    if (!std::getline(std::cin, line)) break;
    if (line.empty()) continue;
    messages.push_back({"user", line, is_first ? static_cast<int>(runner.images.size()) : 0});
    is_first = false;
    EXPERTILE_ASSIGN(const std::string prompt, chat_template.Render(messages));
    EXPERTILE_ASSIGN(std::string answer, Continue(runner, prompt, false));
    messages.push_back({"assistant", std::move(answer), 0});
  }
  if (is_terminal) PrintNow("\n");
  return {};
}

Result<std::string> PromptOf(const Flags& flags, bool has_prompt) {
  if (has_prompt) return flags.prompt;
  if (flags.prompt_file != "-") return ReadFile(flags.prompt_file);
  return std::string{std::istreambuf_iterator<char>(std::cin), {}};
}

Status Run(const Flags& flags, bool has_prompt, bool has_file) {
  if (!has_prompt && !has_file && !flags.chat) {
    return tl::unexpected(
        Error{ErrorCode::kInvalidArgument, "run: expected --prompt, --prompt-file or --chat"});
  }
  EXPERTILE_RETURN_IF_ERROR(CheckSampling(flags.generation.sampling));
  EXPERTILE_ASSIGN(Program program, OpenProgram(flags.source));
  EXPERTILE_ASSIGN(TextTokenizer tokenizer, TextTokenizer::Load(program.model_folder()));
  EXPERTILE_ASSIGN(std::vector<EncodedImage> images, EncodeImages(program, flags.images));
  EXPERTILE_ASSIGN(Session session, program.NewSession());
  Runner runner{flags, std::move(program), std::move(tokenizer), std::move(session),
                std::move(images)};
  std::string prompt;
  if (has_prompt || has_file) {
    EXPERTILE_ASSIGN(prompt, PromptOf(flags, has_prompt));
  }
  if (!flags.chat) {
    EXPERTILE_ASSIGN(prompt, Continue(runner, prompt, true));
    return {};
  }
  EXPERTILE_ASSIGN(const ChatTemplate chat_template,
                   ChatTemplate::Load(runner.program.model_folder()));
  std::vector<ChatMessage> messages;
  if (!flags.system.empty()) messages.push_back({"system", flags.system, 0});
  if (!has_prompt && !has_file) return Chat(runner, chat_template, std::move(messages));
  messages.push_back({"user", prompt, static_cast<int>(runner.images.size())});
  EXPERTILE_ASSIGN(prompt, chat_template.Render(messages));
  EXPERTILE_ASSIGN(prompt, Continue(runner, prompt, false));
  return {};
}

}  // namespace

CommandBody AddRunCommand(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  AddProgramSource(app, flags->source);
  CLI::Option* prompt = app.add_option("--prompt,-p", flags->prompt, "Text to continue");
  CLI::Option* file = app.add_option("--prompt-file", flags->prompt_file,
                                     "File with the text to continue; - for standard input");
  prompt->excludes(file);
  app.add_flag("--chat", flags->chat,
               "Apply the chat template; without a prompt, a turn per line of standard input");
  app.add_option("--system", flags->system, "System message of a chat");
  AddImageOption(app, flags->images);
  app.add_option("--max-new-tokens,-n", flags->generation.max_new_tokens, "Tokens to make at most")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--ignore-eos", flags->ignore_eos, "Go on after end tokens, and show them");
  app.add_flag("--no-statistics", flags->no_statistics, "No statistics on standard error");
  SamplingOptions& sampling = flags->generation.sampling;
  const char* group = "Sampling";
  app.add_option("--temperature", sampling.temperature, "0 = greedy")
      ->capture_default_str()
      ->group(group);
  app.add_option("--top-k", sampling.top_k, "Keep the k most probable; 0 = all")
      ->capture_default_str()
      ->group(group);
  app.add_option("--top-p", sampling.top_p, "Keep the most probable that reach p")
      ->capture_default_str()
      ->group(group);
  app.add_option("--min-p", sampling.min_p, "Keep those at least min_p times the best")
      ->capture_default_str()
      ->group(group);
  app.add_option("--seed", sampling.seed, "Of the random draws")
      ->capture_default_str()
      ->group(group);
  return [flags, prompt, file] { return Run(*flags, prompt->count() > 0, file->count() > 0); };
}

}  // namespace expertile::cli
