// What the runtime sees of a target: a program (prepared weights) that opens sessions (KV cache,
// activations). Not the computation: that is the target's Ops under model/forward.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/watch.h"
#include "expertile/dispatch.h"
#include "expertile/result.h"
#include "formats/kv_codec.h"
#include "image/image_grid.h"
#include "model/decoder_spec.h"
#include "model/step.h"
#include "model/vision_spec.h"
#include "model/weight.h"
#include "targets/stage_clock.h"

namespace expertile {

// What a program computes.
struct TargetModel {
  DecoderSpec decoder;
  std::optional<VisionSpec> vision;
};

struct MoeBlocking {
  int num_nsp = 0;                  // N; 0 = blocking off: one expert after another
  int64_t packed_chunk_size = 256;  // P >= 1
};

// The arithmetic of matrix products.
enum class MatmulArithmetic {
  kFloat32,
  kBFloat16,  // operands rounded to bfloat16
  kMxint8,    // the matrices that MXFP6 has, and what they multiply, in MXINT8; others as kBFloat16
};

// As the option `dtype` spells it.
constexpr std::string_view NameOf(MatmulArithmetic arithmetic) {
  switch (arithmetic) {
    case MatmulArithmetic::kFloat32:
      return "float32";
    case MatmulArithmetic::kBFloat16:
      return "bfloat16";
    case MatmulArithmetic::kMxint8:
      return "mxint8";
  }
  return "";
}

struct TargetOptions {
  MatmulArithmetic arithmetic = MatmulArithmetic::kFloat32;
  MoeBlocking blocking;
  int num_workers = 1;
  int64_t batch_size = 1;       // sequences of a session
  int64_t ctx_len = 0;          // positions of a sequence
  int64_t max_step_tokens = 1;  // rows of a step
  bool skip_vision = false;     // leave a model's vision tower out
  bool mxfp6_matmul = false;    // attention and expert matrices in MXFP6, unless they are in MXFP4
  KvFormat kv_format = KvFormat::kFloat32;
  std::string isa = {};  // instruction set of kernels and panels, from ChooseIsa(target)
  Watch on_layer = {};   // told how many layers are prepared; may be empty

  // What is not in float32 is rounded to bfloat16 where it has no other format.
  bool is_rounded() const { return arithmetic != MatmulArithmetic::kFloat32; }
  // Blocks of a session's pool: enough for batch_size sequences of ctx_len positions.
  int64_t num_kv_blocks() const {
    return batch_size * ((ctx_len + kKvBlockSize - 1) / kKvBlockSize);
  }
};

// What the NSPs did in the prefill steps of a session, summed over its MoE layers; empty when
// blocking is off.
struct NspStatistics {
  std::vector<int64_t> rows;                             // [N], token rows handled
  std::vector<double> busy_seconds;                      // [N]
  std::vector<std::vector<double>> expert_seconds = {};  // [layers][E]; empty: it is not told
  // Summed over layers, of whoever runs the NSPs: the busiest worker's time, and the mean. 0 where
  // a target does not tell.
  double busiest_worker_seconds = 0.0;
  double mean_worker_seconds = 0.0;
  WorkCut cut = {};  // of the last step, where a target tells
};

class TargetSession {
 public:
  virtual ~TargetSession() = default;
  // Runs one step; `logits` [R,V] receives the rows that step.logit_rows names.
  virtual Status Run(const Step& step, std::span<float> logits) = 0;
  // Runs layer `layer`'s MoE block, or dense MLP, alone: y [T,H] of x [T,H]. For tests against
  // goldens.
  virtual Status RunMlp(int layer, std::span<const float> x, std::span<float> y) = 0;
  virtual const NspStatistics& nsp_statistics() const = 0;
  // Of all steps so far, or of those since TimeStages(true); null where a target does not tell.
  virtual const StageClock* stage_clock() const { return nullptr; }
  // For targets that are slower while they tell: from now on they do, or no longer.
  virtual void TimeStages(bool) {}
  // All that block `from` holds, in every layer, goes to block `to`.
  virtual Status CopyBlock(int32_t from, int32_t to) = 0;
  // Positions 0 to n - 1 of the sequence with these blocks, as layer `layer`'s attention holds
  // them: keys and values [kv_heads, n, D]. Written to another cache of the same number format they
  // are the same bits.
  virtual Status ReadKv(int layer, BlockTable blocks, int64_t n, std::span<float> keys,
                        std::span<float> values) = 0;
  virtual Status WriteKv(int layer, BlockTable blocks, int64_t n, std::span<const float> keys,
                         std::span<const float> values) = 0;
};

// An image as rows of the decoder.
struct ImageFeatures {
  std::vector<float> embeddings;              // [M,H], M = merged patches
  std::vector<std::vector<float>> deepstack;  // [features] of [M,H]
};

class TargetProgram {
 public:
  virtual ~TargetProgram() = default;
  virtual Result<std::unique_ptr<TargetSession>> NewSession() const = 0;
  // Runs the vision tower on one image: patches [grid.num_patches(), patch_values]. `cancellation`
  // is asked before every block. Errors: kUnsupported for a program without one; kCancelled.
  virtual Result<ImageFeatures> EncodeImage(const ImageGrid& grid, std::span<const float> patches,
                                            StepCancellation& cancellation) const = 0;
  virtual std::string_view isa() const = 0;  // the instruction set that its kernels use
  // The number format that a weight is stored in; empty for one that is stored in parts, whose
  // format is float32.
  virtual std::string FormatOf(const Weight& weight) const = 0;
  // What its kernels do in one.
  virtual StageFusion stage_fusion() const { return {}; }
};

}  // namespace expertile
