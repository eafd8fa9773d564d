#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "expertile/generation.h"
#include "running/sampler.h"

namespace expertile {
namespace {

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Status CheckPrompts(const Session& session, std::span<const Prompt> prompts) {
  if (prompts.empty()) return InvalidArgument("prompts: none");
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (prompts[i].token_ids.empty()) return InvalidArgument("prompt {}: no tokens", i);
  }
  if (static_cast<int64_t>(prompts.size()) > session.batch_size()) {
    return InvalidArgument("prompts: {}, batch_size is {}", prompts.size(), session.batch_size());
  }
  return {};
}

}  // namespace

Result<Generated> Generate(Session& session, std::span<const Prompt> prompts,
                           const GenerationOptions& options, const OnToken& on_token) {
  EXPERTILE_RETURN_IF_ERROR(CheckSampling(options.sampling));
  EXPERTILE_RETURN_IF_ERROR(CheckPrompts(session, prompts));
  Generated generated;
  generated.token_ids.resize(prompts.size());
  GenerationStatistics& statistics = generated.statistics;
  std::vector<Extension> extensions;
  std::vector<Sampler> samplers;
  for (size_t i = 0; i < prompts.size(); ++i) {
    extensions.push_back({static_cast<int64_t>(i), prompts[i].token_ids, prompts[i].images});
    samplers.emplace_back(options.sampling, i);
    statistics.prompt_tokens += static_cast<int64_t>(prompts[i].token_ids.size());
  }
  auto start = std::chrono::steady_clock::now();
  EXPERTILE_ASSIGN(std::vector<float> logits, session.Prefill(extensions));
  statistics.prefill_seconds = SecondsSince(start);

  start = std::chrono::steady_clock::now();
  const size_t V = logits.size() / extensions.size();
  while (true) {
    std::vector<Extension> alive;
    for (size_t i = 0; i < extensions.size(); ++i) {
      const auto prompt = static_cast<size_t>(extensions[i].sequence);
      std::vector<int32_t>& tokens = generated.token_ids[prompt];
      if (static_cast<int64_t>(tokens.size()) >= options.max_new_tokens) continue;
      const int32_t id = samplers[prompt].Choose(std::span(logits).subspan(i * V, V));
      if (std::ranges::find(options.end_token_ids, id) != options.end_token_ids.end()) continue;
      tokens.push_back(id);
      ++statistics.new_tokens;
      if (on_token && !on_token(prompt, id)) continue;
      const bool wants_more = static_cast<int64_t>(tokens.size()) < options.max_new_tokens;
      EXPERTILE_ASSIGN(const int64_t length, session.length(extensions[i].sequence));
      if (wants_more && length < session.ctx_len()) {
        alive.push_back({extensions[i].sequence, std::span(tokens).last(1), {}});
      }
    }
    if (alive.empty()) break;
    extensions = std::move(alive);
    EXPERTILE_ASSIGN(logits, session.Decode(extensions));
  }
  statistics.decode_seconds = SecondsSince(start);
  return generated;
}

}  // namespace expertile
