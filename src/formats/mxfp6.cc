#include "formats/mxfp6.h"

#include <algorithm>
#include <cmath>

namespace expertile {

// Codes of one sign ascend with their values, in steps of 1/8 below 2, 1/4 below 4 and 1/2 above,
// so the nearest even multiple of the step is the nearest even code.
uint8_t Mxfp6Code(double value) {
  const double magnitude = std::fabs(value);
  const int sign = std::signbit(value) ? 32 : 0;
  int code = 0;
  if (magnitude < 2.0) {
    code = static_cast<int>(std::nearbyint(magnitude * 8.0));
  } else if (magnitude < 4.0) {
    code = 8 + static_cast<int>(std::nearbyint(magnitude * 4.0));
  } else {
    code = 16 + static_cast<int>(std::nearbyint(std::min(magnitude, 8.0) * 2.0));
  }
  return static_cast<uint8_t>(sign | std::min(code, 31));
}

Mxfp6Block EncodeMxfp6(std::span<const float> values) {
  Mxfp6Block block;
  block.scale = SharedScale(values, kMxfp6LargestExponent);
  if (block.scale == kE8M0NaN) return block;
  for (size_t i = 0; i < values.size(); ++i) {
    block.codes[i] = Mxfp6Code(Unscaled(values[i], block.scale));
  }
  return block;
}

void DecodeMxfp6(const Mxfp6Block& block, std::span<float> values) {
  const float scale = E8M0ToFloat(block.scale);
  for (size_t i = 0; i < values.size(); ++i) values[i] = Mxfp6Value(block.codes[i]) * scale;
}

void RoundToMxfp6(std::span<float> row) {
  for (size_t first = 0; first < row.size(); first += kMxBlockSize) {
    const auto block = row.subspan(first, std::min<size_t>(kMxBlockSize, row.size() - first));
    DecodeMxfp6(EncodeMxfp6(block), block);
  }
}

}  // namespace expertile
