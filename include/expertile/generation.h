// Generating text: sampling, stopping, statistics.
// Not the forward pass (model.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "expertile/model.h"
#include "expertile/result.h"

namespace expertile {

// Penalties come first, then temperature, top_k, top_p and min_p, as in transformers.
struct SamplingOptions {
  float temperature = 0.0f;  // 0 = greedy: the most probable token, ties to the lower id
  int top_k = 0;             // keep the k most probable, and what ties with the last; 0 = all
  float top_p = 1.0f;        // keep the most probable that together reach p, in (0,1]
  float min_p = 0.0f;        // keep those at least min_p times as probable as the best, in [0,1]
  // Divides the positive and multiplies the negative logits of all tokens that the prompt holds or
  // that were made; above 0, 1 = none.
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;   // taken from the logit of every token that was made, in [-2,2]
  float frequency_penalty = 0.0f;  // the same, as often as it was made, in [-2,2]
  uint64_t seed = 0;
};

// Values that somebody chose, one by one: flags, a request. What is none is left as it is.
struct SamplingChoices {
  std::optional<float> temperature;
  std::optional<int> top_k;
  std::optional<float> top_p;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::optional<float> presence_penalty;
  std::optional<float> frequency_penalty;
  std::optional<uint64_t> seed;

  void ApplyTo(SamplingOptions& options) const;
};

// Refuses values out of range, each by its name.
Status CheckSampling(const SamplingOptions& options);

// How a checkpoint wants to be sampled: generation_config.json of its folder. A field that is left
// out or null has transformers' default; without do_sample, as without the file, sampling is
// greedy: `sampled` then holds what a temperature above 0 goes with. Errors name file and field.
struct GenerationDefaults {
  bool do_sample = false;
  SamplingOptions sampled;  // as if do_sample were true

  // What is in force with `choices`: greedy unless do_sample or a chosen temperature says else.
  SamplingOptions With(const SamplingChoices& choices) const;
};
Result<GenerationDefaults> LoadGenerationDefaults(const std::filesystem::path& model_folder);

struct GenerationOptions {
  int64_t max_new_tokens = 128;  // also ends where the context is full
  SamplingOptions sampling;
  std::vector<int32_t> end_token_ids;  // ends a sequence; the token itself is not reported
  MoeTrace* trace = nullptr;           // of the prompts' prefill; may be null
};

struct GenerationStatistics {
  int64_t held_tokens = 0;    // over all sequences: in the cache before, not computed again
  int64_t prompt_tokens = 0;  // over all sequences: prefilled
  int64_t new_tokens = 0;
  double prefill_seconds = 0.0;
  double decode_seconds = 0.0;  // of all tokens after the first
};

enum class FinishReason {
  kEndToken,     // the model ended it
  kMaxTokens,    // max_new_tokens
  kContextFull,  // ctx_len
  kStopped,      // OnToken returned false
};

struct Generated {
  std::vector<std::vector<int32_t>> token_ids;  // [num_prompts][new tokens]
  std::vector<FinishReason> finish_reasons;     // [num_prompts]
  GenerationStatistics statistics;
};

// Receives each new token as it is made; false ends that sequence.
using OnToken = std::function<bool(size_t prompt, int32_t token_id)>;

// What to continue: a prompt, and the images of its image tokens.
struct Prompt {
  std::span<const int32_t> token_ids;
  std::span<const EncodedImage> images = {};
  // What the sequence holds already, in front of token_ids; repetition_penalty counts it.
  std::span<const int32_t> held_token_ids = {};
};

// A token that was made for prompt `prompt`.
struct NewToken {
  size_t prompt = 0;
  int32_t token_id = 0;
};

// Generate(), step by step.
class Generation {
 public:
  // Prefills the prompts, as Generate() says; `session` must outlive this. Errors: Generate()'s.
  static Result<Generation> Start(Session& session, std::span<const Prompt> prompts,
                                  const GenerationOptions& options);
  Generation(Generation&&) noexcept;
  Generation& operator=(Generation&&) noexcept;
  ~Generation();

  // The next token of every prompt that goes on, by prompt; none: all have ended. After an error,
  // which leaves the session as it was, it may be called again.
  Result<std::vector<NewToken>> Next();
  // The token that Next() gave for it was a prompt's last.
  void Stop(size_t prompt);
  // What was made so far; finish reasons are of those that have ended.
  Generated Finish();

 private:
  struct State;
  explicit Generation(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Continues each prompt (at most batch_size of them, none empty) on sequences 0, 1, … of `session`,
// each of which must hold the prompt's held_token_ids: none, unless said otherwise. Afterwards the
// cache holds the sequence without the last token that was made, or with it where the model ended
// the sequence behind it: Session::length() tells.
Result<Generated> Generate(Session& session, std::span<const Prompt> prompts,
                           const GenerationOptions& options, const OnToken& on_token = nullptr);

}  // namespace expertile
