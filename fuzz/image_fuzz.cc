// Fuzzes the image decoders and, on what they accept, the preprocessor.
#include <cstdint>
#include <cstdlib>

#include "image/decode.h"
#include "image/vision_preprocessor.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace expertile;
  auto image = DecodeImage(std::as_bytes(std::span(data, size)), "fuzz",
                           {.max_side = 2048, .max_pixels = 1 << 18});
  if (!image) return 0;
  const auto num_samples = static_cast<size_t>(image->height * image->width * kRgbChannels);
  if (image->samples.size() != num_samples) std::abort();
  VisionPreprocessorConfig config;
  config.max_pixels = 1 << 16;
  const auto patches = MakePixelPatches(config, *std::move(image));
  if (!patches) return 0;
  const auto num_values = static_cast<size_t>(patches->grid.num_patches() * config.patch_values());
  if (patches->values.size() != num_values) std::abort();
  return 0;
}
