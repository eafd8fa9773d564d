#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "expertile/evaluation.h"

namespace expertile {
namespace {

// -log softmax(logits)[target].
double NegativeLogLikelihood(std::span<const float> logits, int32_t target) {
  const double largest = *std::ranges::max_element(logits);
  double sum = 0.0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum) - logits[target];
}

// Sum over the window of every token's NLL but the first's.
Result<double> ScoreWindow(Session& session, std::span<const int32_t> window,
                           const std::function<void(int64_t done)>& on_step) {
  const auto step_size = static_cast<size_t>(session.prefill_seq_len());
  double total = 0.0;
  EXPERTILE_RETURN_IF_ERROR(session.Clear(0));
  for (size_t done = 0; done < window.size(); done += step_size) {
    const auto piece = window.subspan(done, std::min(step_size, window.size() - done));
    const Extension extension{0, piece};
    EXPERTILE_ASSIGN(const auto logits, session.Prefill({&extension, 1}, LogitsWanted::kAll));
    const size_t V = logits.size() / piece.size();
    for (size_t j = 0; j < piece.size() && done + j + 1 < window.size(); ++j) {
      total += NegativeLogLikelihood(std::span(logits).subspan(j * V, V), window[done + j + 1]);
    }
    on_step(static_cast<int64_t>(done + piece.size()));
  }
  EXPERTILE_RETURN_IF_ERROR(session.Clear(0));
  return total;
}

}  // namespace

Result<Evaluation> Evaluate(Session& session, std::span<const int32_t> token_ids,
                            const OnProgress& on_progress) {
  if (token_ids.empty()) return InvalidArgument("text: no tokens");
  const auto start = std::chrono::steady_clock::now();
  const auto total = static_cast<int64_t>(token_ids.size());
  const int64_t window_size = session.ctx_len();
  Evaluation evaluation;
  evaluation.tokens = total;
  double sum = 0.0;
  for (int64_t done = 0; done < total; done += window_size) {
    const auto window = token_ids.subspan(done, std::min(window_size, total - done));
    const auto on_step = [&](int64_t scored) {
      if (on_progress) on_progress(done + scored, total);
    };
    EXPERTILE_ASSIGN(const double nll, ScoreWindow(session, window, on_step));
    sum += nll;
    evaluation.scored_tokens += static_cast<int64_t>(window.size()) - 1;
  }
  evaluation.mean_nll = evaluation.scored_tokens > 0
                            ? sum / static_cast<double>(evaluation.scored_tokens)
                            : std::numeric_limits<double>::quiet_NaN();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  evaluation.tokens_per_second = static_cast<double>(total) / seconds.count();
  return evaluation;
}

}  // namespace expertile
