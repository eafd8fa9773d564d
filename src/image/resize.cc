#include "image/resize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>

#include "base/check.h"

namespace expertile {
namespace {

constexpr double kCubicA = -0.5;          // Keys's kernel; torch's choice where antialias is on
constexpr double kKernelHalfWidth = 2.0;  // input samples, before any widening

double CubicKernel(double x) {
  x = std::abs(x);
  if (x < 1.0) return ((kCubicA + 2.0) * x - (kCubicA + 3.0)) * x * x + 1.0;
  if (x < 2.0) return ((kCubicA * x - 5.0 * kCubicA) * x + 8.0 * kCubicA) * x - 4.0 * kCubicA;
  return 0.0;
}

// The input samples that one output sample is a weighted sum of.
struct Window {
  int64_t first_input = 0;
  int64_t num_inputs = 0;
};

// The windows of one axis and their weights as integers over 2^precision.
struct AxisWeights {
  std::vector<Window> windows;   // [output_size]
  std::vector<int16_t> weights;  // [output_size, max_inputs]
  int64_t max_inputs = 0;
  int precision = 0;
};

// Fills `weights` with the kernel of output sample `output`, normalised to sum 1.
Window ComputeWindow(int64_t output, double scale, int64_t input_size, std::span<double> weights) {
  const double widening = std::max(scale, 1.0);
  const double support = kKernelHalfWidth * widening;
  const double center = scale * (static_cast<double>(output) + 0.5);
  const auto max_inputs = static_cast<int64_t>(weights.size());
  const int64_t first = std::max<int64_t>(static_cast<int64_t>(center - support + 0.5), 0);
  const int64_t end = std::min(static_cast<int64_t>(center + support + 0.5), input_size);
  const Window window{first, std::clamp<int64_t>(end - first, 0, max_inputs)};
  double total = 0.0;
  for (int64_t j = 0; j < window.num_inputs; ++j) {
    const double weight =
        CubicKernel((static_cast<double>(j + first) - center + 0.5) * (1.0 / widening));
    weights[j] = weight;
    total += weight;
  }
  if (total != 0.0) {
    for (double& weight : weights.first(window.num_inputs)) weight /= total;
  }
  return window;
}

// The most fractional bits with which the greatest weight still fits 16 bits.
int FixedPointPrecision(double max_weight) {
  int precision = 0;
  while (precision < 22 && 0.5 + max_weight * (1 << (precision + 1)) < (1 << 15)) ++precision;
  return precision;
}

AxisWeights ComputeAxisWeights(int64_t input_size, int64_t output_size) {
  const double scale = static_cast<double>(input_size) / static_cast<double>(output_size);
  AxisWeights axis;
  axis.max_inputs =
      static_cast<int64_t>(std::ceil(kKernelHalfWidth * std::max(scale, 1.0))) * 2 + 1;
  std::vector<double> exact(output_size * axis.max_inputs);
  for (int64_t i = 0; i < output_size; ++i) {
    const std::span row(&exact[i * axis.max_inputs], axis.max_inputs);
    axis.windows.push_back(ComputeWindow(i, scale, input_size, row));
  }
  axis.precision = FixedPointPrecision(*std::max_element(exact.begin(), exact.end()));
  axis.weights.reserve(exact.size());
  for (const double weight : exact) {
    axis.weights.push_back(static_cast<int16_t>(
        std::trunc(weight * (1 << axis.precision) + std::copysign(0.5, weight))));
  }
  return axis;
}

uint8_t RoundToSample(int32_t sum, int precision) {
  return static_cast<uint8_t>(std::clamp(sum >> precision, 0, 255));
}

// Sum over the window of weight * sample, where consecutive inputs lie `stride` samples apart.
uint8_t WeightedSample(const AxisWeights& axis, int64_t output, const uint8_t* first_input,
                       int64_t stride) {
  const int16_t* weights = &axis.weights[output * axis.max_inputs];
  int32_t sum = 1 << (axis.precision - 1);
  for (int64_t j = 0; j < axis.windows[output].num_inputs; ++j) {
    sum += weights[j] * first_input[j * stride];
  }
  return RoundToSample(sum, axis.precision);
}

// Rows of the source that are turned upright at a time.
constexpr int64_t kBandRows = 32;

// One row of input pixels to one row of output pixels.
void ResizeRow(const AxisWeights& axis, const uint8_t* input, uint8_t* output) {
  const int32_t half = 1 << (axis.precision - 1);
  for (size_t x = 0; x < axis.windows.size(); ++x, output += kRgbChannels) {
    const int16_t* weights = &axis.weights[x * axis.max_inputs];
    const uint8_t* sample = input + axis.windows[x].first_input * kRgbChannels;
    std::array<int32_t, kRgbChannels> sums = {half, half, half};
    for (int64_t j = 0; j < axis.windows[x].num_inputs; ++j, sample += kRgbChannels) {
      for (int64_t c = 0; c < kRgbChannels; ++c) sums[c] += weights[j] * sample[c];
    }
    for (int64_t c = 0; c < kRgbChannels; ++c) output[c] = RoundToSample(sums[c], axis.precision);
  }
}

RgbImage ResizeColumns(const StoredImage& source, int64_t width) {
  const AxisWeights axis = ComputeAxisWeights(source.upright_width(), width);
  RgbImage resized = BlackImage(source.upright_height(), width);
  RgbImage band = BlackImage(kBandRows, source.upright_width());
  for (int64_t y = 0; y < resized.height; y += kBandRows) {
    const int64_t num_rows = std::min(kBandRows, resized.height - y);
    CopyUprightRows(source, y, num_rows, band.samples.data());
    for (int64_t i = 0; i < num_rows; ++i) ResizeRow(axis, band.row(i), resized.row(y + i));
  }
  return resized;
}

RgbImage ResizeRows(const RgbImage& image, int64_t height) {
  const AxisWeights axis = ComputeAxisWeights(image.height, height);
  const int64_t row_size = image.width * kRgbChannels;
  RgbImage resized = BlackImage(height, image.width);
  for (int64_t y = 0; y < height; ++y) {
    const uint8_t* first_row = image.row(axis.windows[y].first_input);
    uint8_t* output = resized.row(y);
    for (int64_t i = 0; i < row_size; ++i) {
      output[i] = WeightedSample(axis, y, first_row + i, row_size);
    }
  }
  return resized;
}

}  // namespace

RgbImage ResizeBicubic(const StoredImage& source, int64_t height, int64_t width) {
  EXPERTILE_DCHECK(source.image.height > 0 && source.image.width > 0 && height > 0 && width > 0);
  RgbImage image =
      width == source.upright_width() ? TurnUpright(source) : ResizeColumns(source, width);
  return height == image.height ? image : ResizeRows(image, height);
}

}  // namespace expertile
