// VisionSpec: a vision tower (Qwen3-VL's) as plain data. docs/vision.md describes the computation
// it stands for. Not weights and not a computation, and nothing of pixels: those are
// image/vision_preprocessor.h.
#pragma once

#include <cstdint>
#include <vector>

namespace expertile {

struct VisionSpec {
  int64_t patch_values = 0;       // 3 * temporal_patch_size * patch_size^2: a row of pixel_values
  int64_t hidden_size = 0;        // V
  int64_t intermediate_size = 0;  // of a block's MLP
  int64_t output_size = 0;        // H of the decoder
  int num_blocks = 0;
  int num_heads = 0;           // divides V; V / num_heads is a multiple of 4
  int64_t merge_size = 0;      // M: M x M patches become one token
  int64_t grid_side = 0;       // the learned position table is [grid_side^2, V]
  float norm_epsilon = 1e-6f;  // of every layer norm
  // [V / num_heads / 4]; the angles of a patch are its row times these, then its column times
  // these.
  std::vector<float> inv_freq;
  // Blocks whose outputs become deepstack features, ascending; feature i is added after decoder
  // layer i.
  std::vector<int> deepstack_blocks;

  int64_t head_dim() const { return hidden_size / num_heads; }
  int64_t merged_size() const { return hidden_size * merge_size * merge_size; }
};

// How images stand in a prompt.
struct ImagePromptSpec {
  int32_t image_token_id = 0;  // the placeholder of one merged token
  int64_t merge_size = 0;      // M, as in VisionSpec
};

}  // namespace expertile
