// Prefills one prompt with blocking off and with blocking on, shows what the NSPs did and that the
// logits are the same bits, then streams the continuation. The library's main job in one file:
// prefill_both_ways MODEL PROMPT_FILE [NUM_NSP]
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>
#include <vector>

#include "expertile/generation.h"
#include "expertile/model.h"
#include "expertile/tokenizer.h"

namespace {

using expertile::CompileOptions;
using expertile::Extension;
using expertile::Model;
using expertile::NspLoad;
using expertile::NspPlacement;
using expertile::Program;
using expertile::Result;
using expertile::Session;
using expertile::Status;
using expertile::TextTokenizer;

struct Prefilled {
  Session session;
  std::vector<float> logits;  // [V], of the last token
  NspLoad load;               // of one prefill
  double seconds;             // median of kNumRuns
};

constexpr int kNumRuns = 5;

// Prefills `ids` kNumRuns times, each on an empty sequence.
Result<Prefilled> Prefill(const Model& model, const CompileOptions& options,
                          const std::vector<int32_t>& ids) {
  EXPERTILE_ASSIGN(const Program program, model.Compile(options));
  const Extension prompt{0, ids};
  std::vector<double> seconds;
  std::vector<Prefilled> last;
  for (int run = 0; run <= kNumRuns; ++run) {  // the first warms up
    EXPERTILE_ASSIGN(Session session, program.NewSession());
    const auto start = std::chrono::steady_clock::now();
    EXPERTILE_ASSIGN(std::vector<float> logits, session.Prefill({&prompt, 1}));
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    if (run > 0) seconds.push_back(elapsed.count());
    NspLoad load = session.nsp_load();
    last.clear();
    last.push_back({std::move(session), std::move(logits), std::move(load), 0.0});
  }
  std::ranges::nth_element(seconds, seconds.begin() + kNumRuns / 2);
  last[0].seconds = seconds[kNumRuns / 2];
  return std::move(last[0]);
}

void PrintNsps(const NspPlacement& placement, const NspLoad& load) {
  const double total = std::accumulate(load.busy_seconds.begin(), load.busy_seconds.end(), 0.0);
  fmt::print("  NSP  experts (slot 0, 1, ...)                  token rows   busy\n");
  for (int n = 0; n < placement.num_nsp; ++n) {
    std::string experts;
    for (const int e : placement.experts[n]) experts += fmt::format("{:>3}", e);
    if (experts.size() > 40) experts = experts.substr(0, 36) + " ...";
    const double share = total > 0.0 ? load.busy_seconds[n] / total : 0.0;
    fmt::print("  {:>3}  {:<40}  {:>10}  {:>4.1f} %  {}\n", n, experts, load.rows[n], share * 100.0,
               std::string(static_cast<size_t>(share * 60.0), '#'));
  }
}

void PrintComparison(const Prefilled& off, const Prefilled& on, size_t num_tokens) {
  const bool same =
      std::memcmp(off.logits.data(), on.logits.data(), off.logits.size() * sizeof(float)) == 0;
  const auto row = [&](const char* name, double seconds) {
    fmt::print("  {:<14}{:>9.2f} ms  {:>9.0f} tokens/s\n", name, seconds * 1e3,
               static_cast<double>(num_tokens) / seconds);
  };
  fmt::print("\nPrefill of {} tokens (median of {})\n", num_tokens, kNumRuns);
  row("blocking off", off.seconds);
  row("blocking on", on.seconds);
  fmt::print("  logits        {} ({} values)\n", same ? "bit-identical" : "DIFFERENT",
             off.logits.size());
}

// Continues the prefilled sequence greedily, printing as it goes.
Status Continue(Prefilled& prefilled, const TextTokenizer& tokenizer,
                const std::vector<int32_t>& end_tokens, int num_tokens) {
  expertile::TextStream stream(tokenizer, /*skip_special_tokens=*/true);
  std::vector<float> logits = prefilled.logits;
  for (int i = 0; i < num_tokens; ++i) {
    const auto id = static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
    if (std::ranges::find(end_tokens, id) != end_tokens.end()) break;
    EXPERTILE_ASSIGN(const std::string text, stream.Push(id));
    fmt::print("{}", text);
    std::fflush(stdout);
    const Extension next{0, std::span(&id, 1)};
    EXPERTILE_ASSIGN(logits, prefilled.session.Decode({&next, 1}));
  }
  fmt::print("{}\n", stream.Flush());
  return {};
}

Status Run(const std::string& folder, const std::string& prompt, int num_nsp) {
  EXPERTILE_ASSIGN(const Model model, Model::Load(folder));
  EXPERTILE_ASSIGN(const TextTokenizer tokenizer, TextTokenizer::Load(folder));
  EXPERTILE_ASSIGN(const std::vector<int32_t> ids, tokenizer.Encode(prompt));
  const auto& m = model.description();
  CompileOptions options;
  EXPERTILE_ASSIGN(Prefilled off, Prefill(model, options, ids));
  options.moe_prefill_num_nsp = num_nsp;
  EXPERTILE_ASSIGN(Prefilled on, Prefill(model, options, ids));
  EXPERTILE_ASSIGN(const NspPlacement placement, model.PlacementOn(num_nsp));
  fmt::print("{}: {} layers, E = {} experts of I = {}, K = {} per token, H = {}\n\n", folder,
             m.num_layers, m.num_experts, m.moe_intermediate_size, m.experts_per_token,
             m.hidden_size);
  fmt::print("Experts on {} NSPs (expert e: NSP e mod {}, slot e div {})\n", num_nsp, num_nsp,
             num_nsp);
  PrintNsps(placement, on.load);
  PrintComparison(off, on, ids.size());
  fmt::print("\nPrompt ends     ...{}\nContinuation   ", prompt.substr(prompt.size() - 60));
  return Continue(on, tokenizer, m.end_token_ids, 60);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    fmt::print(stderr, "usage: prefill_both_ways MODEL PROMPT_FILE [NUM_NSP]\n");
    return 2;
  }
  std::ifstream file(argv[2], std::ios::binary);
  const std::string prompt{std::istreambuf_iterator<char>(file), {}};
  if (prompt.size() < 60) {
    fmt::print(stderr, "prefill_both_ways: {}: expected a text of 60 bytes or more\n", argv[2]);
    return 1;
  }
  const Status status = Run(argv[1], prompt, argc == 4 ? std::atoi(argv[3]) : 8);
  if (status) return 0;
  fmt::print(stderr, "prefill_both_ways: {}\n", status.error().message);
  return 1;
}
