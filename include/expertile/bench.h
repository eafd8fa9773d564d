// Measuring: this machine's roof, one MoE layer, a whole model. Every figure comes with the roof
// that bounds it. Not for verdicts: machines are noisy, compare medians of one run.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/model.h"
#include "expertile/result.h"

namespace expertile {

// What this machine can do at most, measured with all workers at once.
struct Roof {
  std::string isa;
  int workers = 0;
  double float32_tflops = 0.0;      // 1e12 FLOP/s with operands in registers
  double bfloat16_tflops = 0.0;     // of the format's fastest products on this ISA, float32 sums
  std::optional<double> int8_tops;  // 1e12 op/s; none where the ISA has no int8 products
  double read_gbs = 0.0;            // 1e9 bytes/s read from memory
};

// num_workers 0 = all processors. Takes a few seconds.
Result<Roof> MeasureRoof(int num_workers);
// Of the machine that a target computes on: a device's name in `isa`, its multiprocessors in
// `workers`, and 0 for what is not measured; otherwise the processor's. Errors: no such target, or
// none that runs here.
Result<Roof> MeasureRoof(const std::string& target, int num_workers);

struct MoeShape {
  std::string name;
  int num_experts = 0;            // E
  int experts_per_token = 0;      // K
  int64_t hidden_size = 0;        // H
  int64_t intermediate_size = 0;  // I
};

// "qwen3-30b-a3b", "gpt-oss-20b", "gpt-oss-120b", "granite-3b-a800m", or "E,K,H,I".
Result<MoeShape> ParseMoeShape(const std::string& text);

struct MoeBenchOptions {
  std::string target = "cpu";  // or a device's: weights bfloat16 or mxfp4, products bfloat16
  MoeShape shape;
  int64_t tokens = 512;             // T
  std::optional<int> num_nsp;       // none = blocking off; or kAutoNumNsp
  int64_t packed_chunk_size = 256;  // P; or kAutoChunkSize
  // Of the weights: float32 | bfloat16 | mxfp4 | mxfp6 | mxint8; empty = float32, or what a device
  // has.
  std::string dtype;
  // Of matrix products: float32 | bfloat16 | mxint8; empty = as the weights, float32 for mxfp4 and
  // mxfp6. bfloat16 does not take float32 weights; mxint8 takes mxint8 alone, which takes no other.
  std::string arithmetic;
  // A recorded routing [T,K], instead of a random one: a JSON list of T lists of K ids, or a
  // safetensors file with `topk_ids` or `layer.<i>.topk_ids` (those of `expertile forward
  // --dump-moe`, of the layer `routing_layer`, or of the first). Its T stands for `tokens`.
  std::string routing_file;
  std::optional<int> routing_layer;
  double skew = 0.0;    // Zipf exponent of expert popularity; 0 = uniform
  int num_workers = 0;  // 0 = all processors
  int num_runs = 7;
};

struct MoeBenchResult {
  std::string isa;
  std::optional<int> num_nsp;     // as run: kAutoNumNsp resolved
  int64_t packed_chunk_size = 0;  // likewise
  int64_t tokens = 0;             // as run: the routing file's
  std::string dtype;              // of the weights, as run
  std::string arithmetic;         // as run
  double seconds_median = 0.0;    // routing given logits to combined output
  double tflops = 0.0;            // useful: 2 T K 3 H I
  double bytes = 0.0;             // of the weights that the routing touches, as they are packed
  double roof_tflops = 0.0;       // roof's, of the arithmetic
  double fraction_of_roof =
      0.0;  // the larger of arithmetic and read time at the roof, over the time taken
  bool is_bandwidth_bound = false;  // which of the two that is
  // Max / mean time that the NSPs' experts took, by whichever workers: how uneven the routing is.
  double nsp_imbalance = 0.0;     // 1 when blocking is off
  double worker_imbalance = 0.0;  // max / mean busy time of the workers, what it costs; likewise
  double padding_waste = 0.0;     // rows computed and thrown away, over rows computed
  Roof roof;
};

Result<MoeBenchResult> BenchMoe(const MoeBenchOptions& options);

// One blocking of a sweep beside the one that auto stands for.
struct MoeSweepRow {
  std::optional<int> num_nsp;  // none = blocking off
  int64_t packed_chunk_size = 0;
  double seconds_median = 0.0;
  double ratio_to_auto = 0.0;  // median over the turns of its time over auto's in the same turn
  double nsp_imbalance = 0.0;
  double worker_imbalance = 0.0;
  bool is_auto = false;
};

struct MoeSweepResult {
  std::string isa;
  std::string dtype;       // of the weights, as run
  std::string arithmetic;  // as run
  int64_t tokens = 0;      // as run
  // Blocking off and every number of NSPs at auto's chunk size, and every chunk size at auto's
  // number of NSPs.
  std::vector<MoeSweepRow> rows;
  size_t best = 0;           // into rows: the smallest ratio_to_auto
  double auto_excess = 0.0;  // auto's time over the best's, less 1
  Roof roof;
};

// Runs all of them in turns, options.num_runs of them; num_nsp and packed_chunk_size of `options`
// are not looked at.
Result<MoeSweepResult> SweepMoe(const MoeBenchOptions& options);

struct ModelBenchOptions {
  int64_t tokens = 512;
  int64_t decode_tokens = 16;
  int num_runs = 5;
  CompileOptions compile;
};

// One stage of the forward pass beside what the roof allows.
struct StageBench {
  std::string_view name;       // "attention", "experts", …
  double seconds = 0.0;        // median
  double flops = 0.0;          // causal attention, and wanted rows of the LM head only
  double bytes = 0.0;          // weights and keys read once; of a stage without, its activations
  double least_seconds = 0.0;  // at the roof: the larger of the two times; 0 if none is counted
  bool is_read_bound = false;  // which of the two that is
  double share = 0.0;          // of the time of all stages

  double fraction_of_roof() const { return seconds > 0.0 ? least_seconds / seconds : 0.0; }
};

struct ModelBenchResult {
  std::string isa;
  std::optional<int> num_nsp;  // as run: kAutoNumNsp resolved
  double prefill_seconds_median = 0.0;
  double prefill_tokens_per_second = 0.0;
  double prefill_tflops =
      0.0;  // 2 FLOP per active matrix parameter and token, the LM head once, attention not counted
  double decode_seconds_per_token_median = 0.0;
  // Of the MoE layers' workers in prefill: sum over layers of the busiest worker's time over the
  // sum of the mean. 1 when blocking is off.
  double worker_imbalance = 1.0;
  // In the order of the forward pass; empty where a target does not tell.
  std::vector<StageBench> prefill_stages;
  std::vector<StageBench> decode_stages;  // of one token, in the middle of those decoded
  // The stages are those of further runs, which tell them and are slower for it: a device's.
  bool are_stages_apart = false;
  // Sum over the stages of their least_seconds, over the time measured; 0 without stages.
  double prefill_fraction_of_roof = 0.0;
  double decode_fraction_of_roof = 0.0;
  double roof_tflops = 0.0;  // roof's, of the arithmetic
  Roof roof;
};

// Compiles with options.compile, into memory.
Result<ModelBenchResult> BenchModel(const Model& model, const ModelBenchOptions& options);
// As it was compiled; options.compile is not looked at. One run of a device is preceded by two that
// are not counted, since it records steps that it has seen.
Result<ModelBenchResult> BenchModel(const Program& program, const ModelBenchOptions& options);

}  // namespace expertile
