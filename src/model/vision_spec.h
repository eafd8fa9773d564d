// VisionSpec: a vision tower (Qwen3-VL's) as plain data. docs/vision.md describes the computation
// it stands for. Not weights and not a computation, and nothing of pixels: those are
// image/vision_preprocessor.h.
#pragma once

#include <cstdint>
#include <vector>

#include "model/decoder_spec.h"

namespace expertile {

// How images stand in a prompt.
struct ImagePromptSpec {
  int32_t image_token_id = 0;  // the placeholder of one merged token
  int32_t start_token_id = 0;  // before the first of an image
  int32_t end_token_id = 0;    // after the last
  int64_t merge_size = 0;      // M: M x M patches become one token
};

struct VisionSpec {
  int64_t patch_values = 0;       // 3 * temporal_patch_size * patch_size^2: a row of pixel_values
  int64_t hidden_size = 0;        // V
  int64_t intermediate_size = 0;  // of a block's MLP
  int64_t output_size = 0;        // H of the decoder
  int num_blocks = 0;
  int num_heads = 0;           // divides V; V / num_heads is a multiple of 4
  int64_t grid_side = 0;       // the learned position table is [grid_side^2, V]
  float norm_epsilon = 1e-6f;  // of every layer norm
  RopeSpec rope;  // of axes row and column: D/4 pairs turn by the first, D/4 by the other
  // Blocks whose outputs become deepstack features, by the mergers in order. The features come in
  // the order of the blocks; feature i is added after decoder layer i.
  std::vector<int> deepstack_blocks;
  ImagePromptSpec prompt;

  int64_t head_dim() const { return hidden_size / num_heads; }
  int64_t patches_per_token() const { return prompt.merge_size * prompt.merge_size; }
  int64_t merged_size() const { return hidden_size * patches_per_token(); }
};

}  // namespace expertile
