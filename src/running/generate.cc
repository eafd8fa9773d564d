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

  // Chooses the next token, or ends.
  std::optional<int32_t> Advance(std::span<const float> logits) {
    if (has_all()) return End(FinishReason::kMaxTokens);
    const int32_t id = sampler_.Choose(logits);
    if (std::ranges::find(options_.end_token_ids, id) != options_.end_token_ids.end()) {
      return End(FinishReason::kEndToken);
    }
    tokens_.push_back(id);
    return id;
  }
  // Whether the last token is to be decoded; if not, it has ended.
  bool GoesOn(bool is_context_full) {
    if (!has_ended_ && has_all()) End(FinishReason::kMaxTokens);
    if (!has_ended_ && is_context_full) End(FinishReason::kContextFull);
    return !has_ended_;
  }
  std::nullopt_t End(FinishReason reason) {
    has_ended_ = true;
    finish_reason_ = reason;
    return std::nullopt;
  }

  const std::vector<int32_t>& tokens() const { return tokens_; }
  FinishReason finish_reason() const { return finish_reason_; }

 private:
  bool has_all() const { return static_cast<int64_t>(tokens_.size()) >= options_.max_new_tokens; }

  const GenerationOptions& options_;
  Sampler sampler_;
  std::vector<int32_t> tokens_;
  bool has_ended_ = false;
  FinishReason finish_reason_ = FinishReason::kMaxTokens;
};

}  // namespace

struct Generation::State {
  Session& session;
  GenerationOptions options;
  std::vector<Continuation> continuations;
  GenerationStatistics statistics;
  std::vector<size_t> alive;  // prompts that have logits, or whose last token is to be decoded
  std::vector<float> logits;  // [alive, V]; empty: the last tokens are to be decoded first

  // Decodes the last token of each prompt that goes on.
  Status Decode();
};

Status Generation::State::Decode() {
  std::vector<size_t> going_on;
  std::vector<Extension> extensions;
  for (const size_t prompt : alive) {
    const auto sequence = static_cast<int64_t>(prompt);
    EXPERTILE_ASSIGN(const int64_t length, session.length(sequence));
    Continuation& continuation = continuations[prompt];
    if (!continuation.GoesOn(length >= session.ctx_len())) continue;
    going_on.push_back(prompt);
    extensions.push_back({sequence, std::span(continuation.tokens()).last(1)});
  }
  if (!extensions.empty()) {
    EXPERTILE_ASSIGN(logits, session.Decode(extensions));
  }
  alive = std::move(going_on);
  return {};
}

Generation::Generation(std::unique_ptr<State> state) : state_(std::move(state)) {}
Generation::Generation(Generation&&) noexcept = default;
Generation& Generation::operator=(Generation&&) noexcept = default;
Generation::~Generation() = default;

Result<Generation> Generation::Start(Session& session, std::span<const Prompt> prompts,
                                     const GenerationOptions& options) {
  EXPERTILE_RETURN_IF_ERROR(CheckSampling(options.sampling));
  EXPERTILE_RETURN_IF_ERROR(CheckPrompts(session, prompts));
  auto state = std::unique_ptr<State>(new State{session, options, {}, {}, {}, {}});
  std::vector<Extension> extensions;
  for (size_t i = 0; i < prompts.size(); ++i) {
    extensions.push_back({static_cast<int64_t>(i), prompts[i].token_ids, prompts[i].images});
    state->continuations.emplace_back(state->options, prompts[i], i);
    state->alive.push_back(i);
    state->statistics.held_tokens += static_cast<int64_t>(prompts[i].held_token_ids.size());
    state->statistics.prompt_tokens += static_cast<int64_t>(prompts[i].token_ids.size());
  }
  const Stopwatch watch;
  EXPERTILE_ASSIGN(state->logits, session.Prefill(extensions, LogitsWanted::kLast, options.trace));
  state->statistics.prefill_seconds = watch.seconds();
  return Generation(std::move(state));
}

Result<std::vector<NewToken>> Generation::Next() {
  State& state = *state_;
  const Stopwatch watch;
  if (state.logits.empty()) EXPERTILE_RETURN_IF_ERROR(state.Decode());
  std::vector<NewToken> made;
  const size_t V = state.alive.empty() ? 0 : state.logits.size() / state.alive.size();
  for (size_t i = 0; i < state.alive.size(); ++i) {
    const size_t prompt = state.alive[i];
    const auto id = state.continuations[prompt].Advance(std::span(state.logits).subspan(i * V, V));
    if (id) made.push_back({prompt, *id});
  }
  state.logits.clear();
  state.alive.clear();
  for (const NewToken& token : made) state.alive.push_back(token.prompt);
  state.statistics.new_tokens += static_cast<int64_t>(made.size());
  state.statistics.decode_seconds += watch.seconds();
  return made;
}

void Generation::Stop(size_t prompt) {
  if (std::erase(state_->alive, prompt) == 0) return;
  state_->continuations[prompt].End(FinishReason::kStopped);
}

Generated Generation::Finish() {
  Generated generated;
  for (const Continuation& continuation : state_->continuations) {
    generated.token_ids.push_back(continuation.tokens());
    generated.finish_reasons.push_back(continuation.finish_reason());
  }
  generated.statistics = state_->statistics;
  return generated;
}

Result<Generated> Generate(Session& session, std::span<const Prompt> prompts,
                           const GenerationOptions& options, const OnToken& on_token) {
  EXPERTILE_ASSIGN(Generation generation, Generation::Start(session, prompts, options));
  while (true) {
    EXPERTILE_ASSIGN(const std::vector<NewToken> tokens, generation.Next());
    if (tokens.empty()) return generation.Finish();
    for (const NewToken& token : tokens) {
      if (on_token && !on_token(token.prompt, token.token_id)) generation.Stop(token.prompt);
    }
  }
}

}  // namespace expertile
