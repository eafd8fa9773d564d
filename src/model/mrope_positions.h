// The positions of text and image tokens in a prompt, for multi-axis RoPE (MRoPE), and the
// placeholders of images. Not the rotation, and not where a key lies in the KV cache or what a
// query may see: those go by a token's index.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "expertile/result.h"
#include "image/image_grid.h"
#include "model/vision_spec.h"

namespace expertile {

inline constexpr int64_t kMropeAxes = 3;  // time, height, width

struct MropePositions {
  std::vector<int32_t> positions;  // [3, T]
  // A token after the prompt, at index i of the sequence, has position i + delta on all three axes.
  // Never positive.
  int32_t delta = 0;
};

// Text advances by 1 on all axes. An image whose first token is at position p has its merged token
// in row r and column c of frame t at (p + t, p + r, p + c), and the token after it is at p +
// max(h, w) / merge_size. Image tokens belong to the grids in order (transformers'
// Qwen3VLMoeModel.get_rope_index). Errors: kInvalidArgument when the runs of image tokens are not
// what the grids ask for.
Result<MropePositions> ComputeMropePositions(std::span<const int32_t> token_ids,
                                             std::span<const ImageGrid> grids,
                                             const ImagePromptSpec& spec);

// The prompt as the decoder gets it: the i-th image token, which a chat template writes once per
// image, becomes as many as the i-th grid has merged tokens. Errors: kInvalidArgument when there
// are more or fewer of them than grids.
Result<std::vector<int32_t>> ExpandImageTokens(std::span<const int32_t> token_ids,
                                               std::span<const ImageGrid> grids,
                                               const ImagePromptSpec& spec);

// Which axis (0 time, 1 height, 2 width) turns each of the num_pairs rotated pairs of a head:
// interleaved, pair j takes axis j mod 3 while j < 3 * sections[axis], and time otherwise
// (transformers' Qwen3VLMoeTextRotaryEmbedding).
std::vector<int32_t> InterleavedMropeAxes(const std::array<int64_t, kMropeAxes>& sections,
                                          int64_t num_pairs);

}  // namespace expertile
