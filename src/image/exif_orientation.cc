#include "image/exif_orientation.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>

namespace expertile {
namespace {

constexpr uint32_t kOrientationTag = 0x0112;
constexpr uint32_t kTypeShort = 3;
constexpr size_t kEntrySize = 12;

// Reads unsigned integers of either byte order, with bounds.
class TiffReader {
 public:
  TiffReader(std::span<const std::byte> bytes, bool little_endian)
      : bytes_(bytes), little_endian_(little_endian) {}

  std::optional<uint32_t> Read(size_t offset, size_t size) const {
    if (offset > bytes_.size() || bytes_.size() - offset < size) return std::nullopt;
    uint32_t value = 0;
    for (size_t i = 0; i < size; ++i) {
      const size_t significance = little_endian_ ? i : size - 1 - i;
      value |= std::to_integer<uint32_t>(bytes_[offset + i]) << (8 * significance);
    }
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  bool little_endian_;
};

std::optional<uint32_t> FindOrientation(const TiffReader& reader) {
  const auto directory = reader.Read(4, 4);
  if (!directory) return std::nullopt;
  const auto num_entries = reader.Read(*directory, 2);
  if (!num_entries) return std::nullopt;
  for (size_t i = 0; i < *num_entries; ++i) {
    const size_t entry = size_t{*directory} + 2 + i * kEntrySize;
    const auto tag = reader.Read(entry, 2);
    if (!tag) return std::nullopt;
    if (*tag != kOrientationTag) continue;
    if (reader.Read(entry + 2, 2) != kTypeShort || reader.Read(entry + 4, 4) != 1u) {
      return std::nullopt;
    }
    return reader.Read(entry + 8, 2);
  }
  return std::nullopt;
}

}  // namespace

ExifOrientation ReadExifOrientation(std::span<const std::byte> tiff) {
  if (tiff.size() < 8) return ExifOrientation::kTopLeft;
  const bool little_endian = std::memcmp(tiff.data(), "II\x2a\0", 4) == 0;
  if (!little_endian && std::memcmp(tiff.data(), "MM\0\x2a", 4) != 0) {
    return ExifOrientation::kTopLeft;
  }
  const auto value = FindOrientation(TiffReader(tiff, little_endian));
  if (!value || *value < 1 || *value > 8) return ExifOrientation::kTopLeft;
  return static_cast<ExifOrientation>(*value);
}

RgbImage TurnUpright(RgbImage stored, ExifOrientation orientation) {
  if (orientation == ExifOrientation::kTopLeft) return stored;
  const int code = static_cast<int>(orientation);
  const bool transposed = code >= 5;
  // Whether the stored column (row) index runs against the upright axis that it lies along.
  const bool column_reversed = code == 2 || code == 3 || code == 7 || code == 8;
  const bool row_reversed = code == 3 || code == 4 || code == 6 || code == 7;
  RgbImage upright{transposed ? stored.width : stored.height,
                   transposed ? stored.height : stored.width,
                   std::vector<uint8_t>(stored.samples.size())};
  const uint8_t* source = stored.samples.data();
  for (int64_t row = 0; row < stored.height; ++row) {
    const int64_t turned_row = row_reversed ? stored.height - 1 - row : row;
    for (int64_t column = 0; column < stored.width; ++column, source += kRgbChannels) {
      const int64_t turned_column = column_reversed ? stored.width - 1 - column : column;
      const int64_t y = transposed ? turned_column : turned_row;
      const int64_t x = transposed ? turned_row : turned_column;
      std::copy_n(source, kRgbChannels, &upright.samples[(y * upright.width + x) * kRgbChannels]);
    }
  }
  return upright;
}

}  // namespace expertile
