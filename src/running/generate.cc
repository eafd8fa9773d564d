#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/stopwatch.h"
#include "expertile/generation.h"
#include "running/sampler.h"

namespace expertile {
namespace {

Status CheckPrompts(const Session& session, std::span<const Prompt> prompts) {
  if (prompts.empty()) return InvalidArgument("prompts: none");
  if (static_cast<int64_t>(prompts.size()) > session.batch_size()) {
    return InvalidArgument("prompts: {}, batch_size is {}", prompts.size(), session.batch_size());
  }
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (prompts[i].token_ids.empty()) return InvalidArgument("prompt {}: no tokens", i);
    EXPERTILE_ASSIGN(const int64_t length, session.length(static_cast<int64_t>(i)));
    if (length != static_cast<int64_t>(prompts[i].held_token_ids.size())) {
      return InvalidArgument("prompt {}: goes on from {} tokens, sequence {} holds {}", i,
                             prompts[i].held_token_ids.size(), i, length);
    }
  }
  return {};
}

// One prompt's tokens as they are made.
class Continuation {
 public:
  Continuation(const GenerationOptions& options, const Prompt& prompt, size_t index)
      : options_(options), sampler_(options.sampling, index) {
    sampler_.See(prompt.held_token_ids);
    sampler_.See(prompt.token_ids);
  }

  // Chooses the next token, or finishes. False: nothing more is to be decoded.
  bool Advance(std::span<const float> logits, const std::function<bool(int32_t)>& on_token,
               bool is_context_full) {
    if (is_done()) return Finish(FinishReason::kMaxTokens);
    const int32_t id = sampler_.Choose(logits);
    if (std::ranges::find(options_.end_token_ids, id) != options_.end_token_ids.end()) {
      return Finish(FinishReason::kEndToken);
    }
    tokens_.push_back(id);
    if (!on_token(id)) return Finish(FinishReason::kStopped);
    if (is_done()) return Finish(FinishReason::kMaxTokens);
    return !is_context_full || Finish(FinishReason::kContextFull);
  }

  std::vector<int32_t>& tokens() { return tokens_; }
  FinishReason finish_reason() const { return finish_reason_; }

 private:
  bool is_done() const { return static_cast<int64_t>(tokens_.size()) >= options_.max_new_tokens; }
  bool Finish(FinishReason reason) {
    finish_reason_ = reason;
    return false;
  }

  const GenerationOptions& options_;
  Sampler sampler_;
  std::vector<int32_t> tokens_;
  FinishReason finish_reason_ = FinishReason::kMaxTokens;
};

}  // namespace

Result<Generated> Generate(Session& session, std::span<const Prompt> prompts,
                           const GenerationOptions& options, const OnToken& on_token) {
  EXPERTILE_RETURN_IF_ERROR(CheckSampling(options.sampling));
  EXPERTILE_RETURN_IF_ERROR(CheckPrompts(session, prompts));
  Generated generated;
  GenerationStatistics& statistics = generated.statistics;
  std::vector<Extension> extensions;
  std::vector<Continuation> continuations;
  for (size_t i = 0; i < prompts.size(); ++i) {
    extensions.push_back({static_cast<int64_t>(i), prompts[i].token_ids, prompts[i].images});
    continuations.emplace_back(options, prompts[i], i);
    statistics.held_tokens += static_cast<int64_t>(prompts[i].held_token_ids.size());
    statistics.prompt_tokens += static_cast<int64_t>(prompts[i].token_ids.size());
  }
  const Stopwatch prefill;
  EXPERTILE_ASSIGN(std::vector<float> logits,
                   session.Prefill(extensions, LogitsWanted::kLast, options.trace));
  statistics.prefill_seconds = prefill.seconds();

  const Stopwatch decode;
  const size_t V = logits.size() / extensions.size();
  while (true) {
    std::vector<Extension> alive;
    for (size_t i = 0; i < extensions.size(); ++i) {
      const int64_t sequence = extensions[i].sequence;
      const auto prompt = static_cast<size_t>(sequence);
      const auto tell = [&](int32_t id) { return !on_token || on_token(prompt, id); };
      Continuation& continuation = continuations[prompt];
      EXPERTILE_ASSIGN(const int64_t length, session.length(sequence));
      const bool is_full = length >= session.ctx_len();
      if (continuation.Advance(std::span(logits).subspan(i * V, V), tell, is_full)) {
        alive.push_back({sequence, std::span(continuation.tokens()).last(1), {}});
      }
    }
    if (alive.empty()) break;
    extensions = std::move(alive);
    EXPERTILE_ASSIGN(logits, session.Decode(extensions));
  }
  statistics.decode_seconds = decode.seconds();
  for (Continuation& continuation : continuations) {
    statistics.new_tokens += static_cast<int64_t>(continuation.tokens().size());
    generated.token_ids.push_back(std::move(continuation.tokens()));
    generated.finish_reasons.push_back(continuation.finish_reason());
  }
  return generated;
}

}  // namespace expertile
