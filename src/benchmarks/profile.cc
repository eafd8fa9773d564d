// Where a prompt's tokens go in the MoE layers, and where they would go with another N, P or
// placement: all of it dispatch's own plans.
#include "expertile/profile.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/stopwatch.h"
#include "expertile/dispatch.h"
#include "expertile/moe_trace.h"

namespace expertile {
namespace {

// The routing of every MoE layer, step by step.
class RoutingTrace : public MoeTrace {
 public:
  void Record(int layer, std::span<const float>, std::span<const int32_t> topk_ids,
              std::span<const float>, std::span<const float>) override {
    layers[layer].emplace_back(topk_ids.begin(), topk_ids.end());
  }
  std::map<int, std::vector<std::vector<int32_t>>> layers;  // by layer, of each step [T,K]
};

using Steps = std::vector<std::vector<int32_t>>;

std::vector<int64_t> RowsOf(const Steps& steps, int num_experts) {
  std::vector<int64_t> rows(num_experts);
  for (const auto& ids : steps) {
    for (const int32_t id : ids) rows[id] += id >= 0 ? 1 : 0;
  }
  return rows;
}

// For each expert the number under which dispatch's interleaved placement puts it where `kind`
// does: slot N + nsp.
std::vector<int32_t> NumbersOf(PlacementKind kind, std::span<const int64_t> rows, int num_nsp) {
  const int num_experts = static_cast<int>(rows.size());
  const int local = (num_experts + num_nsp - 1) / num_nsp;
  std::vector<int32_t> numbers(num_experts);
  std::iota(numbers.begin(), numbers.end(), 0);
  if (kind == PlacementKind::kContiguous) {
    for (int e = 0; e < num_experts; ++e) numbers[e] = e % local * num_nsp + e / local;
  }
  if (kind != PlacementKind::kFitted) return numbers;
  std::vector<int32_t> order = numbers;
  std::ranges::stable_sort(order, std::ranges::greater(), [&](int32_t e) { return rows[e]; });
  std::vector<int64_t> load(num_nsp);
  std::vector<int> used(num_nsp);
  for (const int32_t expert : order) {
    int best = -1;
    for (int nsp = 0; nsp < num_nsp; ++nsp) {
      if (used[nsp] < local && (best < 0 || load[nsp] < load[best])) best = nsp;
    }
    numbers[expert] = used[best]++ * num_nsp + best;
    load[best] += rows[expert];
  }
  return numbers;
}

// Sums over layers and steps.
struct Sums {
  double busiest_nsp = 0.0;
  double mean_nsp = 0.0;
  double busiest_worker = 0.0;
  double mean_worker = 0.0;

  void Add(const DispatchBalance& step, int64_t rows) {
    const double nsp_mean = static_cast<double>(rows) / static_cast<double>(step.nsp_rows.size());
    mean_nsp += nsp_mean;
    busiest_nsp += step.nsp_imbalance * nsp_mean;
    mean_worker += static_cast<double>(rows);
    busiest_worker += step.worker_imbalance * static_cast<double>(rows);
  }
  static double Ratio(double busiest, double mean) { return mean > 0.0 ? busiest / mean : 1.0; }
};

struct Plan {
  int num_nsp;
  int64_t packed_chunk_size;
  PlacementKind placement;
};

class Planner {
 public:
  Planner(const RoutingTrace& trace, const MoeProfile& profile, const WorkCut& cut)
      : trace_(trace), profile_(profile), cut_(cut) {}

  Result<MoeProfile::Balance> BalanceOfAll(const Plan& plan) const {
    Sums sums;
    MoeProfile::Balance balance;
    for (const auto& [layer, steps] : trace_.layers) {
      EXPERTILE_RETURN_IF_ERROR(AddLayer(steps, plan, sums, balance));
    }
    Finish(sums, balance);
    return balance;
  }
  Result<MoeProfile::Balance> BalanceOfLayer(const Steps& steps, const Plan& plan) const {
    Sums sums;
    MoeProfile::Balance balance;
    EXPERTILE_RETURN_IF_ERROR(AddLayer(steps, plan, sums, balance));
    Finish(sums, balance);
    return balance;
  }

 private:
  Status AddLayer(const Steps& steps, const Plan& plan, Sums& sums,
                  MoeProfile::Balance& balance) const {
    const int E = profile_.num_experts;
    const auto numbers = NumbersOf(plan.placement, RowsOf(steps, E), plan.num_nsp);
    const int num_numbers = (E + plan.num_nsp - 1) / plan.num_nsp * plan.num_nsp;
    for (std::vector<int32_t> ids : steps) {
      int64_t rows = 0;
      for (int32_t& id : ids) {
        if (id < 0) continue;
        id = numbers[id];
        ++rows;
      }
      EXPERTILE_ASSIGN(const DispatchBalance step,
                       BalanceOf({ids, profile_.experts_per_token, num_numbers}, plan.num_nsp,
                                 plan.packed_chunk_size, profile_.num_cores, cut_));
      sums.Add(step, rows);
      balance.num_chunks += step.num_chunks;
      balance.num_rows += rows;
    }
    return {};
  }
  static void Finish(const Sums& sums, MoeProfile::Balance& balance) {
    balance.nsp_imbalance = Sums::Ratio(sums.busiest_nsp, sums.mean_nsp);
    balance.worker_imbalance = Sums::Ratio(sums.busiest_worker, sums.mean_worker);
  }

  const RoutingTrace& trace_;
  const MoeProfile& profile_;
  const WorkCut& cut_;
};

// Powers of two up to E, and the program's own.
std::vector<int> NumbersToTry(const MoeProfile& profile) {
  std::vector<int> numbers = {profile.num_nsp, profile.num_experts};
  for (int n = 2; n < profile.num_experts; n *= 2) numbers.push_back(n);
  std::ranges::sort(numbers);
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  return numbers;
}

std::vector<int64_t> ChunkSizesToTry(const MoeProfile& profile) {
  std::vector<int64_t> sizes = {16, 32, 64, 128, 256, 512, 1024, profile.packed_chunk_size};
  std::ranges::sort(sizes);
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  return sizes;
}

Status AddAlternatives(const RoutingTrace& trace, const WorkCut& cut, MoeProfile& profile) {
  const Planner planner(trace, profile, cut);
  const auto interleaved = PlacementKind::kInterleaved;
  const Plan own{profile.num_nsp, profile.packed_chunk_size, interleaved};
  EXPERTILE_ASSIGN(profile.balance, planner.BalanceOfAll(own));
  for (const auto& [layer, steps] : trace.layers) {
    EXPERTILE_ASSIGN(const auto balance, planner.BalanceOfLayer(steps, own));
    profile.layer_imbalance.push_back(balance.nsp_imbalance);
  }
  for (const int num_nsp : NumbersToTry(profile)) {
    for (const auto kind : {interleaved, PlacementKind::kContiguous, PlacementKind::kFitted}) {
      EXPERTILE_ASSIGN(const auto balance,
                       planner.BalanceOfAll({num_nsp, profile.packed_chunk_size, kind}));
      profile.numbers.push_back({num_nsp, kind, balance});
    }
  }
  for (const int64_t size : ChunkSizesToTry(profile)) {
    EXPERTILE_ASSIGN(const auto balance,
                     planner.BalanceOfAll({profile.num_nsp, size, interleaved}));
    profile.chunk_sizes.push_back({size, balance});
  }
  return {};
}

MoeProfile DescribeProgram(const Program& program) {
  const CompileOptions& options = program.options();
  const ModelDescription& model = program.description();
  MoeProfile profile;
  std::filesystem::path folder = program.model_folder();
  profile.name = (folder.filename().empty() ? folder.parent_path() : folder).filename().string();
  if (profile.name == "assets") profile.name = model.model_type;  // a program's folder
  profile.model_type = model.model_type;
  profile.target = options.target;
  profile.isa = program.isa();
  profile.num_cores = std::max(1, options.num_cores);
  profile.num_experts = model.num_experts;
  profile.experts_per_token = model.experts_per_token;
  profile.num_nsp = *options.moe_prefill_num_nsp;
  profile.packed_chunk_size = options.moe_prefill_packed_chunk_size;
  profile.prefill_seq_len = options.prefill_seq_len;
  return profile;
}

}  // namespace

Result<MoeProfile> ProfilePrefill(const Program& program, std::span<const int32_t> token_ids,
                                  const IsCancelled& is_cancelled) {
  if (!program.options().moe_prefill_num_nsp) {
    return InvalidArgument("profile: the program was compiled without moe_prefill_num_nsp");
  }
  MoeProfile profile = DescribeProgram(program);
  EXPERTILE_ASSIGN(Session session, program.NewSession());
  session.SetIsCancelled(is_cancelled);
  const Extension prompt{0, token_ids};
  // Once to warm up and to see the routing, once for the time.
  RoutingTrace trace;
  EXPERTILE_ASSIGN(const auto logits, session.Prefill({&prompt, 1}, LogitsWanted::kLast, &trace));
  EXPERTILE_RETURN_IF_ERROR(session.Clear(0));
  const std::vector<std::vector<double>> before = session.nsp_load().expert_seconds;
  const Stopwatch watch;
  EXPERTILE_ASSIGN(const auto same, session.Prefill({&prompt, 1}));
  profile.prefill_seconds = watch.seconds();
  const std::vector<std::vector<double>> after = session.nsp_load().expert_seconds;
  for (const auto& [layer, steps] : trace.layers) {
    profile.layers.push_back(layer);
    profile.expert_rows.push_back(RowsOf(steps, profile.num_experts));
    std::vector<double>& seconds = profile.expert_seconds.emplace_back(profile.num_experts);
    if (after.empty() || after[layer].size() != before[layer].size()) continue;
    std::ranges::transform(after[layer], before[layer], seconds.begin(), std::minus());
  }
  profile.num_tokens =
      std::ranges::count_if(token_ids, [](int32_t id) { return id != kPaddingToken; });
  EXPERTILE_RETURN_IF_ERROR(AddAlternatives(trace, session.nsp_load().cut, profile));
  return profile;
}

}  // namespace expertile
