// ImageGrid: how many patches an image was cut into. What the preprocessor hands the vision tower
// and the position computations beside the patches themselves.
// Not a size in pixels.
#pragma once

#include <cstdint>

namespace expertile {

struct ImageGrid {
  int64_t t = 1;  // groups of temporal_patch_size frames; 1 for an image
  int64_t h = 0;  // patches from top to bottom, a multiple of the merge size
  int64_t w = 0;  // patches from left to right, a multiple of the merge size

  int64_t num_patches() const { return t * h * w; }
  // Image tokens in the prompt: each stands for merge_size x merge_size patches.
  int64_t num_tokens(int64_t merge_size) const { return num_patches() / (merge_size * merge_size); }

  // Of a still image that is made of blocks of merge_size x merge_size patches, at most 2^20 to a
  // side.
  bool IsStill(int64_t merge_size) const {
    constexpr int64_t kMaxSide = int64_t{1} << 20;
    return t == 1 && h > 0 && w > 0 && h <= kMaxSide && w <= kMaxSide && h % merge_size == 0 &&
           w % merge_size == 0;
  }

  friend bool operator==(const ImageGrid&, const ImageGrid&) = default;
};

}  // namespace expertile
