// Fuzzes the image decoders and, on what they accept, the preprocessor. EXPERTILE_FUZZED_DECODER
// names the decoder: DecodeImage, which picks one by the first bytes, or that of one format.
#include <cstdint>
#include <cstdlib>

#include "image/file_decoders.h"
#include "image/vision_preprocessor.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace expertile;
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto image = EXPERTILE_FUZZED_DECODER(bytes, "fuzz", {.max_pixels = 1 << 18});
  if (!image) return 0;
  const RgbImage& stored = image->image;
  const auto num_samples = static_cast<size_t>(stored.height * stored.width * kRgbChannels);
  if (stored.samples.size() != num_samples) std::abort();
  VisionPreprocessorConfig config;
  config.max_pixels = 1 << 16;
  const auto patches = MakePixelPatches(config, *image);
  if (!patches) return 0;
  const auto num_values = static_cast<size_t>(patches->grid.num_patches() * config.patch_values());
  if (patches->values.size() != num_values) std::abort();
  return 0;
}
