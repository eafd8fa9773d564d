// BenchModel: prefill and decode of a whole model, and where the time goes.
#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/stopwatch.h"
#include "base/worker_pool.h"
#include "benchmarks/numbers.h"
#include "expertile/bench.h"
#include "expertile/moe_trace.h"
#include "formats/kv_codec.h"
#include "model/decoder_weights.h"
#include "model/stage_work.h"
#include "running/session_state.h"

namespace expertile {
namespace {

// FLOP of a prefill of `tokens` tokens: two for each active matrix element and token; the LM head
// for one token.
double PrefillFlops(const ModelDescription& m, int64_t tokens) {
  const double head = static_cast<double>(m.vocab_size) * static_cast<double>(m.hidden_size);
  const double per_token = static_cast<double>(m.num_active_parameters) - head;
  return 2.0 * (per_token * static_cast<double>(tokens) + head);
}

// How long one prefill, or one decoded token, took, and its stages; none where a target does not
// tell.
struct Timed {
  double seconds = 0.0;
  std::vector<double> stages;
};

struct ModelTimes {
  std::vector<Timed> prefill;
  std::vector<Timed> decode;
};

template <typename Function>
Status Time(Session& session, std::vector<Timed>& times, Function function) {
  const std::vector<StageTime> before = session.stage_times();
  const Stopwatch watch;
  EXPERTILE_RETURN_IF_ERROR(function());
  Timed timed{watch.seconds(), {}};
  const std::vector<StageTime> after = session.stage_times();
  for (size_t i = 0; i < after.size(); ++i) {
    timed.stages.push_back(after[i].seconds - before[i].seconds);
  }
  times.push_back(std::move(timed));
  return {};
}

// One prefill and the decode steps after it, on an emptied session.
Status RunOnce(Session& session, const std::vector<int32_t>& ids, int64_t decode_tokens,
               ModelTimes& times) {
  EXPERTILE_RETURN_IF_ERROR(session.Clear(0));
  const Extension prompt{0, ids};
  EXPERTILE_RETURN_IF_ERROR(Time(session, times.prefill, [&] {
    return session.Prefill({&prompt, 1});
  }));
  for (int64_t i = 0; i < decode_tokens; ++i) {
    const Extension next{0, std::span(ids).first(1)};
    EXPERTILE_RETURN_IF_ERROR(Time(session, times.decode, [&] {
      return session.Decode({&next, 1});
    }));
  }
  return {};
}

// Counts the different experts that each step reads.
class ExpertCounter : public MoeTrace {
 public:
  void Record(int layer, std::span<const float>, std::span<const int32_t> topk_ids,
              std::span<const float>, std::span<const float>) override {
    if (layer <= last_layer_ || per_step_.empty()) per_step_.push_back(0.0);
    last_layer_ = layer;
    const std::set<int32_t> chosen(topk_ids.begin(), topk_ids.end());
    per_step_.back() += static_cast<double>(chosen.size());
  }
  // 0 for a step without MoE layers.
  double OfStep(size_t step) const { return step < per_step_.size() ? per_step_[step] : 0.0; }

 private:
  int last_layer_ = -1;
  std::vector<double> per_step_;
};

// The formats that a program's weights and cache are stored in; a mean where a role has several.
class FormatReader {
 public:
  FormatReader(const DecoderSpec& spec, const TargetProgram& target) : target_(target) {
    static_cast<void>(VisitWeights(spec, *this));  // looking does not fail
  }

  Status BeginGroup(const std::string&) { return {}; }
  Status operator()(const Weight& weight) {
    Sum& sum = sums_[static_cast<size_t>(weight.role)];
    const auto num_elements = static_cast<double>(weight.NumElements());
    sum.bits += num_elements * BitsOfFormat(target_.FormatOf(weight));
    sum.elements += num_elements;
    return {};
  }

  NumberFormats Formats(KvFormat kv_format, int64_t head_dim) const {
    using enum WeightRole;
    const KvCodec codec(kv_format, head_dim);
    const auto row_bytes = static_cast<double>(codec.row_bytes() + codec.row_scales());
    return {.embedding = BitsOf(kEmbedding),
            .projections = BitsOf(kMatrix),
            .router = BitsOf(kRouter),
            .experts = BitsOf(kExperts),
            .mlp = BitsOf(kMlp),
            .head = BitsOf(kHead),
            .kv_cache = 8.0 * row_bytes / static_cast<double>(head_dim)};
  }

 private:
  struct Sum {
    double bits = 0.0;
    double elements = 0.0;
  };
  double BitsOf(WeightRole role) const {
    const Sum& sum = sums_[static_cast<size_t>(role)];
    return sum.elements > 0.0 ? sum.bits / sum.elements : 32.0;
  }

  const TargetProgram& target_;
  std::array<Sum, static_cast<size_t>(WeightRole::kExperts) + 1> sums_;
};

// What says how much work a step of a program is.
struct Counted {
  const DecoderSpec& spec;
  NumberFormats formats;
  StageFusion fusion;
};

// What a prefill of `tokens` tokens has to do, in steps of at most `step_limit`.
PerStage<StageWork> PrefillWork(const Counted& of, int64_t tokens, int64_t step_limit,
                                const ExpertCounter& experts) {
  PerStage<StageWork> sum = {};
  size_t step = 0;
  for (int64_t begin = 0; begin < tokens; begin += step_limit, ++step) {
    const SequenceRows rows{begin, std::min(step_limit, tokens - begin)};
    const bool is_last = begin + rows.count == tokens;
    const auto work =
        WorkOf(of.spec, of.formats, {{&rows, 1}, is_last ? 1 : 0, experts.OfStep(step)}, of.fusion);
    for (size_t i = 0; i < kNumStages; ++i) {
      const auto stage = static_cast<Stage>(i);
      sum[stage].flops += work[stage].flops;
      sum[stage].bytes += work[stage].bytes;
    }
  }
  return sum;
}

// What the token at `position` has to do: it reads K experts a layer.
PerStage<StageWork> DecodeWork(const Counted& of, int64_t position) {
  const SequenceRows row{position, 1};
  const auto num_moe_layers = std::ranges::count_if(of.spec.layers, &LayerSpec::is_moe);
  const int K = of.spec.moe.router.experts_per_token;
  return WorkOf(of.spec, of.formats, {{&row, 1}, 1, static_cast<double>(num_moe_layers * K)},
                of.fusion);
}

// The router decides in float32, whatever the arithmetic, unless a device has none that fast;
// MXINT8 is for the weights that are in it.
double TflopsOf(Stage stage, const Arithmetic& arithmetic, const NumberFormats& formats,
                const Roof& roof) {
  if (stage == Stage::kRouter && roof.float32_tflops > 0.0) return roof.float32_tflops;
  const bool is_matrix =
      stage == Stage::kProjections || stage == Stage::kMlp ||
      (stage == Stage::kExperts && formats.experts == BitsOfFormat(arithmetic.name));
  return is_matrix ? arithmetic.tflops(roof) : BesideMatrices(arithmetic).tflops(roof);
}

std::vector<StageBench> StagesOf(const std::vector<Timed>& times, const PerStage<StageWork>& work,
                                 const NumberFormats& formats, const Arithmetic& arithmetic,
                                 const Roof& roof) {
  std::vector<StageBench> stages;
  if (times.empty() || times[0].stages.empty()) return stages;
  double whole = 0.0;
  for (size_t i = 0; i < kNumStages; ++i) {
    const auto stage = static_cast<Stage>(i);
    std::vector<double> seconds;
    for (const Timed& each : times) seconds.push_back(each.stages[i]);
    const double tflops = TflopsOf(stage, arithmetic, formats, roof);
    const double multiply = work[stage].flops / (tflops * 1e12);
    const double read = work[stage].bytes / (roof.read_gbs * 1e9);
    stages.push_back({.name = NameOf(stage),
                      .seconds = MedianOf(std::move(seconds)),
                      .flops = work[stage].flops,
                      .bytes = work[stage].bytes,
                      .least_seconds = std::max(multiply, read),
                      .is_read_bound = read > multiply});
    whole += stages.back().seconds;
  }
  for (StageBench& stage : stages) stage.share = whole > 0.0 ? stage.seconds / whole : 0.0;
  return stages;
}

double FractionOfRoof(const std::vector<StageBench>& stages, double seconds) {
  double least = 0.0;
  for (const StageBench& stage : stages) least += stage.least_seconds;
  return least / seconds;
}

double MedianSeconds(const std::vector<Timed>& times) {
  std::vector<double> seconds;
  for (const Timed& each : times) seconds.push_back(each.seconds);
  return MedianOf(std::move(seconds));
}

// Ids spread over the vocabulary, so that routing is not one token's.
std::vector<int32_t> SpreadIds(int64_t count, int64_t vocab_size) {
  std::vector<int32_t> ids;
  uint32_t state = 1;
  for (int64_t t = 0; t < count; ++t) {
    state = state * 1664525u + 1013904223u;
    ids.push_back(static_cast<int32_t>((state >> 8) % vocab_size));
  }
  return ids;
}

// Samples of the roof, on workers of its own, between the runs.
class RoofSampler {
 public:
  static Result<std::unique_ptr<RoofSampler>> Create(int num_workers) {
    EXPERTILE_ASSIGN(const cpu::Isa isa, cpu::ChooseIsa());
    auto sampler = std::unique_ptr<RoofSampler>(new RoofSampler(isa, num_workers));
    EXPERTILE_ASSIGN(cpu::RoofProbe probe, cpu::RoofProbe::Create(sampler->table_, sampler->pool_));
    sampler->probe_.emplace(std::move(probe));
    return sampler;
  }
  // Three: a shared machine may be busy during one, which then would stand for a short benchmark.
  void Sample() {
    for (int i = 0; i < 3; ++i) samples_.push_back(probe_->Measure());
  }
  Roof Median() const { return PublicRoof(cpu::MedianRoof(samples_), table_, pool_.size()); }

 private:
  RoofSampler(cpu::Isa isa, int num_workers) : table_(cpu::KernelsFor(isa)), pool_(num_workers) {}

  const cpu::KernelTable& table_;
  WorkerPool pool_;
  std::optional<cpu::RoofProbe> probe_;
  std::vector<cpu::Roof> samples_;
};

// The runs, and the counts that they leave.
struct Measured {
  ModelTimes times;
  std::optional<ModelTimes> stage_times;  // of runs of their own; none: `times` has them
  ExpertCounter experts;                  // of one prefill
  double worker_imbalance = 1.0;
  Roof roof;
};

// A device records a step when it comes for the second time.
constexpr int kWarmUpRuns = 2;

// Runs on a device: whole steps as they always are, then steps that tell their stages.
Status MeasureOnDevice(Session& session, const std::vector<int32_t>& ids,
                       const ModelBenchOptions& options, const TargetRow& row, Measured& measured) {
  for (const bool tells_stages : {false, true}) {
    session.TimeStages(tells_stages);
    ModelTimes warm_up;
    ModelTimes times;
    for (int run = 0; run < kWarmUpRuns + options.num_runs; ++run) {
      EXPERTILE_RETURN_IF_ERROR(
          RunOnce(session, ids, options.decode_tokens, run < kWarmUpRuns ? warm_up : times));
    }
    (tells_stages ? measured.stage_times.emplace() : measured.times) = std::move(times);
  }
  EXPERTILE_ASSIGN(measured.roof, row.bench.roof());
  return {};
}

Status MeasureHere(Session& session, const std::vector<int32_t>& ids,
                   const ModelBenchOptions& options, int num_workers, Measured& measured) {
  EXPERTILE_ASSIGN(const auto roof, RoofSampler::Create(num_workers));
  const NspLoad before = session.nsp_load();
  for (int run = 0; run < options.num_runs; ++run) {
    roof->Sample();
    EXPERTILE_RETURN_IF_ERROR(RunOnce(session, ids, options.decode_tokens, measured.times));
  }
  measured.roof = roof->Median();
  const NspLoad after = session.nsp_load();
  const double mean = after.mean_worker_seconds - before.mean_worker_seconds;
  if (mean > 0.0) {
    measured.worker_imbalance =
        (after.busiest_worker_seconds - before.busiest_worker_seconds) / mean;
  }
  return {};
}

Result<Measured> Measure(const Program& program, const ModelBenchOptions& options) {
  EXPERTILE_ASSIGN(Session session, program.NewSession());
  const std::vector<int32_t> ids = SpreadIds(options.tokens, program.vocab_size());
  Measured measured;
  const Extension prompt{0, ids};  // warms up, and shows which experts are read
  EXPERTILE_RETURN_IF_ERROR(session.Prefill({&prompt, 1}, LogitsWanted::kLast, &measured.experts));
  if (options.decode_tokens > 0) {
    const Extension next{0, std::span(ids).first(1)};
    EXPERTILE_RETURN_IF_ERROR(session.Decode({&next, 1}));
  }
  const CompileOptions& compiled = program.options();
  EXPERTILE_ASSIGN(const TargetRow* row, RowOfTarget(compiled.target));
  EXPERTILE_RETURN_IF_ERROR(row->bench.roof != nullptr
                                ? MeasureOnDevice(session, ids, options, *row, measured)
                                : MeasureHere(session, ids, options, compiled.num_cores, measured));
  return measured;
}

}  // namespace

Result<ModelBenchResult> BenchModel(const Model& model, const ModelBenchOptions& options) {
  EXPERTILE_ASSIGN(const Program program, model.Compile(options.compile));
  return BenchModel(program, options);
}

Result<ModelBenchResult> BenchModel(const Program& program, const ModelBenchOptions& options) {
  if (options.tokens < 1 || options.decode_tokens < 0 || options.num_runs < 1) {
    return InvalidArgument("tokens: {}, decode-tokens: {}, runs: {}, expected 1, 0 and 1 or more",
                           options.tokens, options.decode_tokens, options.num_runs);
  }
  const CompileOptions& compiled = program.options();
  EXPERTILE_ASSIGN(const Arithmetic arithmetic, ArithmeticNamed("dtype", compiled.dtype));
  EXPERTILE_ASSIGN(const Measured measured, Measure(program, options));
  const DecoderSpec& spec = program.state_->model.spec;
  const TargetProgram& target = *program.state_->target;
  const Counted counted{
      spec,
      FormatReader(spec, target)
          .Formats(program.state_->kv_format, AttentionOf(spec.layers[0]).head_dim),
      target.stage_fusion()};
  const ModelTimes& times = measured.times;
  const ModelTimes& stage_times = measured.stage_times ? *measured.stage_times : times;
  ModelBenchResult result;
  result.isa = program.isa();
  result.num_nsp = compiled.moe_prefill_num_nsp;
  result.roof = measured.roof;
  result.roof_tflops = arithmetic.tflops(result.roof);
  result.worker_imbalance = measured.worker_imbalance;
  result.prefill_seconds_median = MedianSeconds(times.prefill);
  result.prefill_tokens_per_second =
      static_cast<double>(options.tokens) / result.prefill_seconds_median;
  result.prefill_tflops =
      PrefillFlops(program.description(), options.tokens) / result.prefill_seconds_median * 1e-12;
  result.are_stages_apart = measured.stage_times.has_value();
  result.prefill_stages =
      StagesOf(stage_times.prefill,
               PrefillWork(counted, options.tokens, compiled.prefill_seq_len, measured.experts),
               counted.formats, arithmetic, result.roof);
  result.prefill_fraction_of_roof =
      FractionOfRoof(result.prefill_stages, result.prefill_seconds_median);
  if (times.decode.empty()) return result;
  result.decode_seconds_per_token_median = MedianSeconds(times.decode);
  result.decode_stages =
      StagesOf(stage_times.decode, DecodeWork(counted, options.tokens + options.decode_tokens / 2),
               counted.formats, arithmetic, result.roof);
  result.decode_fraction_of_roof =
      FractionOfRoof(result.decode_stages, result.decode_seconds_per_token_median);
  return result;
}

}  // namespace expertile
