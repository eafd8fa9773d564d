// Antialiased bicubic resizing of 8-bit images, sample for sample what torchvision computes.
// Not a choice of the target size: that is SmartResize in image/vision_preprocessor.h.
#pragma once

#include "image/stored_image.h"

namespace expertile {

// torchvision's resize of a uint8 tensor on a CPU, interpolation bicubic (a = -0.5), antialias on:
// columns first, then rows, each pass rounded to 8 bits and computed with 16-bit fixed-point
// weights (ATen/native/cpu/UpSampleKernel.cpp; the technique is Pillow's Resample.c). A pass whose
// size does not change is left out. The source is turned upright a few rows at a time: beside it
// memory holds [upright_height, width, 3] samples and the result. Preconditions: image not empty,
// height and width positive, and sides so that weights fit memory (SmartResize bounds them).
RgbImage ResizeBicubic(const StoredImage& source, int64_t height, int64_t width);

}  // namespace expertile
