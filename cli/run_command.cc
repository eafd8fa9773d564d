#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cli/chat.h"
#include "cli/command.h"
#include "cli/input.h"
#include "cli/program_source.h"
#include "cli/sampling_flags.h"
#include "expertile/generation.h"
#include "expertile/tokenizer.h"

namespace expertile::cli {
namespace {

struct Flags {
  std::string prompt;
  std::string prompt_file;
  std::vector<std::string> images;
  std::optional<int64_t> max_new_tokens;
  bool ignore_eos = false;
  bool no_statistics = false;
  ChatFlags chat;
  SamplingChoices sampling;
  ProgramSource source;
};

// Continues `prompt`, printing text as it comes.
Status Continue(const Program& program, const Flags& flags, const std::string& prompt) {
  EXPERTILE_ASSIGN(const TextTokenizer tokenizer, TextTokenizer::Load(program.model_folder()));
  EXPERTILE_ASSIGN(const std::vector<EncodedImage> images, EncodeImages(program, flags.images));
  EXPERTILE_ASSIGN(Session session, program.NewSession());
  EXPERTILE_ASSIGN(std::vector<int32_t> ids, tokenizer.Encode(prompt));
  EXPERTILE_ASSIGN(ids, program.PlaceImages(ids, images));
  if (ids.empty()) {
    return tl::unexpected(Error{ErrorCode::kInvalidArgument, "prompt: no tokens"});
  }
  TextStream stream(tokenizer, /*skip_special_tokens=*/!flags.ignore_eos);
  Status failure;
  bool is_read = true;
  const auto on_token = [&](size_t, int32_t id) {
    const auto piece = stream.Push(id);
    if (!piece) failure = tl::unexpected(piece.error());
    is_read = piece && PrintNow(*piece);
    return is_read;
  };
  GenerationOptions generation;
  if (flags.max_new_tokens) generation.max_new_tokens = *flags.max_new_tokens;
  flags.sampling.ApplyTo(generation.sampling);
  if (!flags.ignore_eos) generation.end_token_ids = program.end_token_ids();
  const Prompt placed{ids, images};
  EXPERTILE_ASSIGN(const Generated generated,
                   Generate(session, std::span(&placed, 1), generation, on_token));
  EXPERTILE_RETURN_IF_ERROR(failure);
  if (is_read) PrintNow(stream.Flush() + "\n");
  if (!flags.no_statistics) PrintStatistics(generated.statistics, generation.sampling);
  return {};
}

Result<std::string> PromptOf(const Flags& flags, bool has_prompt) {
  if (has_prompt) return flags.prompt;
  if (flags.prompt_file != "-") return ReadFile(flags.prompt_file);
  return std::string{std::istreambuf_iterator<char>(std::cin), {}};
}

Status Run(const Flags& flags, bool has_prompt, bool has_file) {
  if (!has_prompt && !has_file && !flags.chat.wanted()) {
    return tl::unexpected(Error{ErrorCode::kInvalidArgument,
                                "run: expected --prompt, --prompt-file, --chat or --messages"});
  }
  SamplingOptions chosen;
  flags.sampling.ApplyTo(chosen);
  EXPERTILE_RETURN_IF_ERROR(CheckSampling(chosen));
  EXPERTILE_ASSIGN(ChatRequest request, ReadChatRequest(flags.chat));
  EXPERTILE_ASSIGN(const Program program, OpenProgram(flags.source));
  std::optional<std::string> prompt;
  if (has_prompt || has_file) {
    EXPERTILE_ASSIGN(prompt, PromptOf(flags, has_prompt));
  }
  if (!flags.chat.wanted()) return Continue(program, flags, *prompt);
  return RunChat(program, std::move(request), flags.chat,
                 {prompt, flags.images, flags.sampling, flags.max_new_tokens, flags.ignore_eos,
                  flags.no_statistics});
}

}  // namespace

CommandBody AddRunCommand(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  AddProgramSource(app, flags->source);
  CLI::Option* prompt = app.add_option("--prompt,-p", flags->prompt, "Text to continue");
  CLI::Option* file = app.add_option("--prompt-file", flags->prompt_file,
                                     "File with the text to continue; - for standard input");
  prompt->excludes(file);
  CLI::Option* image = AddImageOption(app, flags->images);
  AddChatFlags(app, flags->chat, prompt, file, image);
  app.add_option("--max-new-tokens,-n", flags->max_new_tokens, "Tokens to make at most [128]")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--ignore-eos", flags->ignore_eos,
               "Go on after end tokens, and show them; a chat's replies are not taken apart");
  app.add_flag("--no-statistics", flags->no_statistics, "No statistics on standard error");
  AddSamplingFlags(app, flags->sampling);
  return [flags, prompt, file] { return Run(*flags, prompt->count() > 0, file->count() > 0); };
}

}  // namespace expertile::cli
