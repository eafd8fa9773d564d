#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cli/chat.h"
#include "cli/command.h"
#include "cli/input.h"
#include "cli/numbers.h"
#include "cli/output.h"
#include "cli/program_source.h"
#include "cli/sampling_flags.h"
#include "expertile/generation.h"
#include "expertile/moe_trace.h"
#include "expertile/tensors.h"
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
  std::string routing_file;
  ChatFlags chat;
  SamplingChoices sampling;
  ProgramSource source;
};

// Collects which experts every MoE layer's tokens chose, step after step.
class RoutingRecorder : public MoeTrace {
 public:
  void Record(int layer, std::span<const float>, std::span<const int32_t> topk_ids,
              std::span<const float>, std::span<const float>) override {
    std::vector<int32_t>& ids = layers_[layer];
    ids.insert(ids.end(), topk_ids.begin(), topk_ids.end());
  }

  // As layer.<i>.topk_ids [T,K], which `bench moe --routing` reads.
  Status WriteTo(const std::string& path, int64_t T) const {
    std::vector<OutputTensor> tensors;
    for (const auto& [layer, ids] : layers_) {
      tensors.push_back({"layer." + std::to_string(layer) + ".topk_ids",
                         "I32",
                         {T, static_cast<int64_t>(ids.size()) / T},
                         std::as_bytes(std::span(ids))});
    }
    return WriteTensors(path, tensors);
  }

 private:
  std::map<int, std::vector<int32_t>> layers_;  // [T,K] of each
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
  RoutingRecorder routing;
  if (!flags.routing_file.empty()) generation.trace = &routing;
  const Prompt placed{ids, images};
  EXPERTILE_ASSIGN(const Generated generated,
                   Generate(session, std::span(&placed, 1), generation, on_token));
  EXPERTILE_RETURN_IF_ERROR(failure);
  if (is_read) PrintNow(stream.Flush() + "\n");
  if (!flags.no_statistics) PrintStatistics(generated.statistics, generation.sampling);
  if (flags.routing_file.empty()) return {};
  return routing.WriteTo(flags.routing_file, static_cast<int64_t>(ids.size()));
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
  if (flags.chat.wanted() && !flags.routing_file.empty()) {
    return tl::unexpected(Error{ErrorCode::kInvalidArgument,
                                "save-routing: expected --prompt or --prompt-file, and no chat"});
  }
  EXPERTILE_RETURN_IF_ERROR(CheckOutput(flags.routing_file));
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
  AddInteger(app, "--max-new-tokens,-n", flags->max_new_tokens, "Tokens to make at most [128]", 0);
  app.add_flag("--ignore-eos", flags->ignore_eos,
               "Go on after end tokens, and show them; a chat's replies are not taken apart");
  app.add_flag("--no-statistics", flags->no_statistics, "No statistics on standard error");
  app.add_option("--save-routing", flags->routing_file,
                 "Writes which experts the prompt's tokens chose, for bench moe --routing "
                 "(safetensors)");
  AddSamplingFlags(app, flags->sampling);
  return [flags, prompt, file] { return Run(*flags, prompt->count() > 0, file->count() > 0); };
}

}  // namespace expertile::cli
