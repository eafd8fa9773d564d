#include "image/exif_orientation.h"

#include <cstddef>
#include <cstdint>
#include <optional>

namespace expertile {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kExifPrefix = "Exif\0\0"sv;
constexpr std::string_view kXmpTag = "tiff:Orientation";
constexpr uint32_t kOrientationTag = 0x0112;
constexpr size_t kEntrySize = 12;

// Reads unsigned integers of either byte order, with bounds.
class TiffReader {
 public:
  TiffReader(std::string_view bytes, bool little_endian)
      : bytes_(bytes), little_endian_(little_endian) {}

  std::optional<uint32_t> Read(size_t offset, size_t size) const {
    if (offset > bytes_.size() || bytes_.size() - offset < size) return std::nullopt;
    uint32_t value = 0;
    for (size_t i = 0; i < size; ++i) {
      const size_t significance = little_endian_ ? i : size - 1 - i;
      value |= uint32_t{static_cast<uint8_t>(bytes_[offset + i])} << (8 * significance);
    }
    return value;
  }

 private:
  std::string_view bytes_;
  bool little_endian_;
};

// The bytes of one value of a TIFF field type of whole numbers; 0 for other types.
size_t NumberSize(uint32_t field_type) {
  switch (field_type) {
    case 3:  // SHORT
    case 8:  // SSHORT
      return 2;
    case 4:  // LONG
    case 9:  // SLONG
      return 4;
    default:
      return 0;
  }
}

// The first value of an entry: values that do not fit its last 4 bytes stand elsewhere.
std::optional<uint32_t> FirstValue(const TiffReader& reader, size_t entry) {
  const size_t size = NumberSize(reader.Read(entry + 2, 2).value_or(0));
  const uint64_t count = reader.Read(entry + 4, 4).value_or(0);
  if (size == 0 || count == 0) return std::nullopt;
  if (size * count <= 4) return reader.Read(entry + 8, size);
  const auto elsewhere = reader.Read(entry + 8, 4);
  if (!elsewhere || !reader.Read(*elsewhere + size * (count - 1), size)) return std::nullopt;
  return reader.Read(*elsewhere, size);
}

std::optional<uint32_t> FindInDirectory(const TiffReader& reader) {
  const auto directory = reader.Read(4, 4);
  if (!directory) return std::nullopt;
  const auto num_entries = reader.Read(*directory, 2);
  if (!num_entries) return std::nullopt;
  for (size_t i = 0; i < *num_entries; ++i) {
    const size_t entry = size_t{*directory} + 2 + i * kEntrySize;
    const auto tag = reader.Read(entry, 2);
    if (!tag) return std::nullopt;
    if (*tag != kOrientationTag) continue;
    return FirstValue(reader, entry);
  }
  return std::nullopt;
}

std::optional<uint32_t> FindInExif(std::string_view exif) {
  for (int i = 0; i < 2 && exif.starts_with(kExifPrefix); ++i) exif.remove_prefix(6);
  const bool little_endian = exif.starts_with("II\x2a\0"sv) || exif.starts_with("II\0\x2a"sv);
  const bool big_endian = exif.starts_with("MM\0\x2a"sv) || exif.starts_with("MM\x2a\0"sv);
  if (!little_endian && !big_endian) return std::nullopt;
  return FindInDirectory(TiffReader(exif, little_endian));
}

// As an attribute, tiff:Orientation="6", or an element, <tiff:Orientation>6.
std::optional<uint32_t> FindInXmp(std::string_view xmp) {
  for (size_t at = xmp.find(kXmpTag); at != xmp.npos; at = xmp.find(kXmpTag, at + 1)) {
    std::string_view rest = xmp.substr(at + kXmpTag.size());
    const size_t opening = rest.starts_with("=\"") ? 2 : rest.starts_with('>') ? 1 : 0;
    if (opening == 0 || rest.size() <= opening) continue;
    const char digit = rest[opening];
    if (digit >= '0' && digit <= '9') return static_cast<uint32_t>(digit - '0');
  }
  return std::nullopt;
}

}  // namespace

ExifOrientation ReadOrientation(const OrientationSources& sources) {
  auto value = FindInExif(sources.exif);
  if (!value) value = FindInXmp(sources.xmp);
  if (!value || *value < 1 || *value > 8) return ExifOrientation::kTopLeft;
  return static_cast<ExifOrientation>(*value);
}

}  // namespace expertile
