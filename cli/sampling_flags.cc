#include "cli/sampling_flags.h"

#include <fmt/format.h>

namespace expertile::cli {

void AddSamplingFlags(CLI::App& app, SamplingChoices& choices) {
  const auto add = [&](const char* name, auto& value, const char* about) {
    app.add_option(name, value, about)
        ->group("Sampling [greedy; with --chat as generation_config.json says]");
  };
  add("--temperature", choices.temperature, "0 = greedy");
  add("--top-k", choices.top_k, "Keep the k most probable; 0 = all");
  add("--top-p", choices.top_p, "Keep the most probable that reach p");
  add("--min-p", choices.min_p, "Keep those at least min_p times the best");
  add("--repetition-penalty", choices.repetition_penalty,
      "Divides the logits of tokens that are there already; 1 = none");
  add("--presence-penalty", choices.presence_penalty,
      "Taken from the logit of each token that was made, -2 to 2");
  add("--frequency-penalty", choices.frequency_penalty,
      "The same, as often as it was made, -2 to 2");
  add("--seed", choices.seed, "Of the random draws [0]");
}

std::string SamplingText(const SamplingOptions& options) {
  std::string text = "greedy";
  if (options.temperature > 0.0f) {
    text = fmt::format("temperature {:g}, top_k {}, top_p {:g}, min_p {:g}", options.temperature,
                       options.top_k, options.top_p, options.min_p);
  }
  const auto add = [&](const char* name, float value, float neutral) {
    if (value != neutral) text += fmt::format(", {} {:g}", name, value);
  };
  add("repetition_penalty", options.repetition_penalty, 1.0f);
  add("presence_penalty", options.presence_penalty, 0.0f);
  add("frequency_penalty", options.frequency_penalty, 0.0f);
  if (options.temperature > 0.0f) text += fmt::format(", seed {}", options.seed);
  return text;
}

void PrintStatistics(const GenerationStatistics& s, const SamplingOptions& sampling) {
  const int64_t decoded = s.new_tokens > 0 ? s.new_tokens - 1 : 0;
  fmt::print(stderr, "prefill: {} tokens in {:.3f} s, {:.1f} tokens/s", s.prompt_tokens,
             s.prefill_seconds, static_cast<double>(s.prompt_tokens) / s.prefill_seconds);
  if (s.held_tokens > 0) fmt::print(stderr, ", after {} held", s.held_tokens);
  if (decoded > 0) {
    fmt::print(stderr, "; decode: {} tokens in {:.3f} s, {:.1f} tokens/s", decoded,
               s.decode_seconds, static_cast<double>(decoded) / s.decode_seconds);
  }
  fmt::print(stderr, "; sampling: {}\n", SamplingText(sampling));
}

}  // namespace expertile::cli
