// EncodedImage: a picture as a program's vision tower hands it to the decoder.
// Not a decoder of image files for other uses: Program::EncodeImage reads them for itself.
#pragma once

#include <cstdint>
#include <vector>

namespace expertile {

struct EncodedImage {
  int64_t grid_t = 1;                         // groups of frames; 1 for a still image
  int64_t grid_h = 0;                         // patches from top to bottom
  int64_t grid_w = 0;                         // patches from left to right
  int64_t num_tokens = 0;                     // image tokens M that it fills in a prompt
  std::vector<float> pixel_values;            // [patches, values of a patch], the tower's input
  std::vector<float> embeddings;              // [M,H]
  std::vector<std::vector<float>> deepstack;  // [features] of [M,H]: i is added after layer i
};

}  // namespace expertile
