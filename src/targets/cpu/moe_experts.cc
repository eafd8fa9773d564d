// The experts of one layer on this processor, for weights that are no checkpoint's.
#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/processors.h"
#include "base/stopwatch.h"
#include "base/worker_pool.h"
#include "dispatch/auto_blocking.h"
#include "expertile/moe.h"
#include "expertile/options.h"
#include "formats/matrix_view.h"
#include "targets/cpu/isa.h"
#include "targets/cpu/kernel_table.h"
#include "targets/cpu/moe.h"

namespace expertile {
namespace {

constexpr int64_t kMaxSize = int64_t{1} << 30;

// Matrix `expert` of `matrices`, [rows, cols].
MatrixView ViewOf(const ExpertMatrices& matrices, int expert, int64_t rows, int64_t cols) {
  const DType dtype = matrices.format == FloatFormat::kBFloat16 ? DType::kBF16 : DType::kF32;
  const auto* data = static_cast<const std::byte*>(matrices.data);
  return {dtype,
          data + expert * matrices.strides[0] * SizeOf(dtype),
          rows,
          cols,
          matrices.strides[1],
          matrices.strides[2]};
}

auto RowsOf(const MatrixView& view) {
  return [&view](int64_t row, float* values) {
    view.ReadRow(row, {values, static_cast<size_t>(view.cols)});
  };
}

std::vector<float> BiasOf(const ExpertMatrices& matrices, int expert, int64_t size) {
  std::vector<float> bias(size);
  ViewOf(matrices, expert, 1, size).ReadRow(0, bias);
  return bias;
}

Status CheckWeights(const ExpertWeights& weights) {
  if (weights.num_experts < 1 || weights.hidden_size < 1 || weights.hidden_size > kMaxSize ||
      weights.intermediate_size < 1 || weights.intermediate_size > kMaxSize) {
    return InvalidArgument("experts: E={} H={} I={}, expected at least 1 each", weights.num_experts,
                           weights.hidden_size, weights.intermediate_size);
  }
  if (!weights.gate.data || !weights.up.data || !weights.down.data) {
    return InvalidArgument("experts: gate, up and down, expected all three");
  }
  const int num_biases = (weights.gate_bias.data ? 1 : 0) + (weights.up_bias.data ? 1 : 0) +
                         (weights.down_bias.data ? 1 : 0);
  if (num_biases % 3 == 0) return {};
  return InvalidArgument("experts: {} biases, expected gate's, up's and down's, or none",
                         num_biases);
}

cpu::WeightFormat FormatOf(const ExpertWeights& weights, FloatFormat arithmetic) {
  const bool is_bfloat16 = weights.gate.format == FloatFormat::kBFloat16 &&
                           weights.up.format == FloatFormat::kBFloat16 &&
                           weights.down.format == FloatFormat::kBFloat16;
  return is_bfloat16 || arithmetic == FloatFormat::kBFloat16 ? cpu::WeightFormat::kBFloat16
                                                             : cpu::WeightFormat::kFloat32;
}

Result<cpu::PackedExperts> PackAll(const cpu::KernelTable& table, const ExpertWeights& weights,
                                   FloatFormat arithmetic, WorkerPool& pool) {
  const int64_t H = weights.hidden_size;
  const int64_t I = weights.intermediate_size;
  const bool has_bias = weights.gate_bias.data != nullptr;
  EXPERTILE_ASSIGN(cpu::PackedExperts packed,
                   cpu::PackedExperts::Create(table, {weights.num_experts, H, I,
                                                      FormatOf(weights, arithmetic), has_bias}));
  pool.ForEach(weights.num_experts, [&](int64_t expert, int) {
    const int e = static_cast<int>(expert);
    const MatrixView gate = ViewOf(weights.gate, e, I, H);
    const MatrixView up = ViewOf(weights.up, e, I, H);
    const MatrixView down = ViewOf(weights.down, e, H, I);
    const auto gate_rows = RowsOf(gate);
    const auto up_rows = RowsOf(up);
    const auto down_rows = RowsOf(down);
    packed.Pack(e, {gate_rows, up_rows, down_rows});
    if (!has_bias) return;
    const std::vector<float> gate_bias = BiasOf(weights.gate_bias, e, I);
    const std::vector<float> up_bias = BiasOf(weights.up_bias, e, I);
    const std::vector<float> down_bias = BiasOf(weights.down_bias, e, H);
    packed.PackBias(e, {gate_bias, up_bias, down_bias});
  });
  return packed;
}

// With what auto stands for.
MoeExpertsOptions Resolved(MoeExpertsOptions options, int num_experts, int num_workers) {
  const AutoBlocking chosen = ChooseBlocking(num_experts, num_workers);
  if (options.num_nsp == CompileOptions::kAutoNumNsp) options.num_nsp = chosen.num_nsp;
  if (options.packed_chunk_size == CompileOptions::kAutoChunkSize) {
    options.packed_chunk_size = chosen.packed_chunk_size;
  }
  return options;
}

Result<std::optional<Placement>> PlacementFor(std::optional<int> num_nsp, int num_experts) {
  if (!num_nsp) return std::optional<Placement>();
  EXPERTILE_ASSIGN(const Placement placement, Placement::Create(num_experts, *num_nsp));
  return std::optional<Placement>(placement);
}

Status CheckOptions(const MoeExpertsOptions& options) {
  const bool is_auto = options.packed_chunk_size == CompileOptions::kAutoChunkSize;
  if (!is_auto && (options.packed_chunk_size < 1 || options.packed_chunk_size > kMaxSize)) {
    return InvalidArgument("packed_chunk_size: {}, expected 1 to {}", options.packed_chunk_size,
                           kMaxSize);
  }
  if (options.num_cores >= 0 && options.num_cores <= 1024) return {};
  return InvalidArgument("num_cores: {}, expected 0 to 1024", options.num_cores);
}

// What a MoeBlock is made for.
struct ScratchShape {
  cpu::ComputeType compute;
  int num_nsp;  // 0: blocking is off
  cpu::MoeBlock::Limits limits;

  bool Serves(const ScratchShape& run) const {
    const cpu::MoeBlock::Limits& other = run.limits;
    return compute == run.compute && num_nsp == run.num_nsp &&
           limits.num_tokens >= other.num_tokens &&
           limits.experts_per_token >= other.experts_per_token &&
           limits.hidden_size == other.hidden_size &&
           limits.intermediate_size == other.intermediate_size &&
           limits.packed_chunk_size == other.packed_chunk_size;
  }
};

// Workers and scratch that the layers of a process share, as they run one after another.
class SharedWorkers {
 public:
  explicit SharedWorkers(int num_workers) : pool(num_workers) {}

  static std::shared_ptr<SharedWorkers> Of(int num_workers) {
    static std::mutex mutex;
    static std::map<int, std::weak_ptr<SharedWorkers>> all;
    const std::lock_guard lock(mutex);
    std::shared_ptr<SharedWorkers> shared = all[num_workers].lock();
    if (!shared) all[num_workers] = shared = std::make_shared<SharedWorkers>(num_workers);
    return shared;
  }

  // Scratch for `run`; what there was is kept, if it is large enough.
  Result<cpu::MoeBlock*> BlockFor(const cpu::KernelTable& table, const ScratchShape& run,
                                  const std::optional<Placement>& placement) {
    if (!block_ || num_experts_ != NumExperts(placement) || !shape_.Serves(run)) {
      block_.reset();
      EXPERTILE_ASSIGN(
          auto made, cpu::MoeBlock::Create(table, run.compute, run.limits, placement, pool.size()));
      block_ = std::make_unique<cpu::MoeBlock>(std::move(made));
      shape_ = run;
      num_experts_ = NumExperts(placement);
    }
    return block_.get();
  }
  // task(t) for all tokens, on all workers.
  void ForTokens(int64_t num_tokens, FunctionRef<void(int64_t)> task) {
    constexpr int64_t kTokensPerPiece = 16;
    pool.ForEach(cpu::CeilDiv(num_tokens, kTokensPerPiece), [&](int64_t piece, int) {
      const int64_t end = std::min((piece + 1) * kTokensPerPiece, num_tokens);
      for (int64_t t = piece * kTokensPerPiece; t < end; ++t) task(t);
    });
  }

  std::mutex mutex;  // held by who runs
  WorkerPool pool;
  std::vector<float> hidden;  // [T,H] of rows that are not float32
  std::vector<float> out;     // [T,H]

 private:
  static int NumExperts(const std::optional<Placement>& placement) {
    return placement ? placement->num_experts() : 0;
  }

  std::unique_ptr<cpu::MoeBlock> block_;
  ScratchShape shape_ = {};
  int num_experts_ = 0;
};

}  // namespace

struct MoeExperts::State {
  const cpu::KernelTable& table;
  GatedMlpSpec mlp;
  std::optional<Placement> placement;
  std::shared_ptr<SharedWorkers> workers;
  cpu::PackedExperts experts;
  ScratchShape scratch;  // but for tokens, and experts of a token
  double packing_seconds = 0.0;

  Status Run(const HiddenRows& given, int64_t num_tokens, std::span<const int32_t> ids,
             std::span<const float> weights, void* result);
};

MoeExperts::MoeExperts(std::unique_ptr<State> state) : state_(std::move(state)) {}
MoeExperts::MoeExperts(MoeExperts&&) noexcept = default;
MoeExperts& MoeExperts::operator=(MoeExperts&&) noexcept = default;
MoeExperts::~MoeExperts() = default;

Result<MoeExperts> MoeExperts::Pack(const ExpertWeights& weights, const MoeExpertsOptions& given) {
  EXPERTILE_RETURN_IF_ERROR(CheckWeights(weights));
  EXPERTILE_RETURN_IF_ERROR(CheckOptions(given));
  EXPERTILE_ASSIGN(const cpu::Isa isa, cpu::ChooseIsa());
  const Stopwatch watch;
  const cpu::KernelTable& table = cpu::KernelsFor(isa);
  auto workers = SharedWorkers::Of(given.num_cores == 0 ? NumUsableProcessors() : given.num_cores);
  const MoeExpertsOptions options = Resolved(given, weights.num_experts, workers->pool.size());
  EXPERTILE_ASSIGN(std::optional<Placement> placement,
                   PlacementFor(options.num_nsp, weights.num_experts));
  const std::unique_lock lock(workers->mutex);
  EXPERTILE_ASSIGN(cpu::PackedExperts experts,
                   PackAll(table, weights, options.arithmetic, workers->pool));
  const bool is_silu = weights.activation == ExpertActivation::kSilu;
  const GatedMlpSpec mlp{is_silu ? GatedActivation::kSilu : GatedActivation::kClampedSwiGlu,
                         weights.limit, weights.alpha};
  const ScratchShape scratch{
      options.arithmetic == FloatFormat::kBFloat16 ? cpu::ComputeType::kBFloat16
                                                   : cpu::ComputeType::kFloat32,
      placement ? placement->num_nsp() : 0,
      {0, 0, weights.hidden_size, weights.intermediate_size, options.packed_chunk_size}};
  return MoeExperts(std::unique_ptr<State>(new State{
      table, mlp, std::move(placement), workers, std::move(experts), scratch, watch.seconds()}));
}

Status MoeExperts::Run(const HiddenRows& hidden, int64_t num_tokens, std::span<const int32_t> ids,
                       std::span<const float> weights, void* out) {
  if (num_tokens == 0 && ids.empty()) return {};
  if (num_tokens < 1 || ids.empty() || ids.size() % num_tokens != 0 ||
      ids.size() != weights.size() || ids.size() > static_cast<size_t>(kMaxSize)) {
    return InvalidArgument("experts: {} ids and {} weights for {} tokens", ids.size(),
                           weights.size(), num_tokens);
  }
  return CatchOutOfMemory("the rows of a MoE layer",
                          [&] { return state_->Run(hidden, num_tokens, ids, weights, out); });
}

Status MoeExperts::State::Run(const HiddenRows& given, int64_t num_tokens,
                              std::span<const int32_t> ids, std::span<const float> weights,
                              void* result) {
  const std::unique_lock lock(workers->mutex);
  const int64_t H = experts.shape().hidden_size;
  ScratchShape run = scratch;
  run.limits.num_tokens = num_tokens;
  run.limits.experts_per_token = static_cast<int>(ids.size() / num_tokens);
  EXPERTILE_ASSIGN(cpu::MoeBlock* const block, workers->BlockFor(table, run, placement));
  const auto* rows = static_cast<const float*>(given.data);
  auto* sums = static_cast<float*>(result);
  const bool is_bfloat16 = given.format == FloatFormat::kBFloat16;
  if (is_bfloat16) {
    workers->hidden.resize(num_tokens * H);
    workers->out.resize(num_tokens * H);
    workers->ForTokens(num_tokens, [&](int64_t t) {
      const auto* bits = static_cast<const uint16_t*>(given.data) + t * H;
      std::transform(bits, bits + H, workers->hidden.data() + t * H, BFloat16ToFloat);
    });
    rows = workers->hidden.data();
    sums = workers->out.data();
  }
  EXPERTILE_RETURN_IF_ERROR(
      block->Run({rows, ids, weights, num_tokens, run.limits.experts_per_token}, experts, mlp,
                 workers->pool, sums));
  if (is_bfloat16) {
    workers->ForTokens(num_tokens, [&](int64_t t) {
      std::transform(sums + t * H, sums + (t + 1) * H, static_cast<uint16_t*>(result) + t * H,
                     FloatToBFloat16);
    });
  }
  return {};
}

int MoeExperts::num_experts() const { return state_->experts.shape().num_experts; }
int64_t MoeExperts::hidden_size() const { return state_->experts.shape().hidden_size; }
int64_t MoeExperts::intermediate_size() const { return state_->experts.shape().intermediate_size; }
int64_t MoeExperts::num_bytes() const { return state_->experts.num_bytes(); }
double MoeExperts::packing_seconds() const { return state_->packing_seconds; }
std::string MoeExperts::isa() const { return std::string(state_->table.name); }

}  // namespace expertile
