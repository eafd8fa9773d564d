#include "image/bmp_header.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace expertile {
namespace {

constexpr size_t kFileHeaderSize = 14;
constexpr uint32_t kCoreHeaderSize = 12;  // OS/2 1.x
constexpr uint32_t kMaxPaletteSize = 256;
constexpr uint32_t kMaxColors = 65536;  // that a header may state, beyond the end of its file

// Little-endian fields of a header whose size is known to be in the file.
class Fields {
 public:
  explicit Fields(std::span<const std::byte> bytes) : bytes_(bytes) {}

  uint32_t At(size_t offset, size_t size) const {
    uint32_t value = 0;
    for (size_t i = 0; i < size && offset + i < bytes_.size(); ++i) {
      value |= std::to_integer<uint32_t>(bytes_[offset + i]) << (8 * i);
    }
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
};

using Masks = std::array<uint32_t, 4>;  // red, green, blue, alpha

// The channel layouts that Pillow knows, beside a 32-bit one of all zeros.
struct Layout {
  int bits_per_pixel;
  Masks masks;
};
constexpr Layout kLayouts[] = {
    {32, {0xff0000, 0xff00, 0xff, 0}},
    {32, {0xff000000, 0xff0000, 0xff00, 0}},
    {32, {0xff000000, 0xff00, 0xff, 0}},
    {32, {0xff000000, 0xff0000, 0xff00, 0xff}},
    {32, {0xff, 0xff00, 0xff0000, 0xff000000}},
    {32, {0xff0000, 0xff00, 0xff, 0xff000000}},
    {32, {0xff000000, 0xff00, 0xff, 0xff0000}},
    {24, {0xff0000, 0xff00, 0xff, 0}},
    {16, {0xf800, 0x7e0, 0x1f, 0}},
    {16, {0x7c00, 0x3e0, 0x1f, 0}},
};

BmpChannel ChannelOf(uint32_t mask) {
  BmpChannel channel{0, 0};
  while ((mask >> channel.shift & 1) == 0) ++channel.shift;
  while (channel.num_bits < 32 - channel.shift &&
         (mask >> (channel.shift + channel.num_bits) & 1) != 0) {
    ++channel.num_bits;
  }
  return channel;
}

std::array<BmpChannel, 3> ChannelsOf(const Masks& masks) {
  return {ChannelOf(masks[0]), ChannelOf(masks[1]), ChannelOf(masks[2])};
}

// Pixels whose header gives no masks: blue in the lowest bits; five bits each of 16.
std::array<BmpChannel, 3> UsualChannels(int bits_per_pixel) {
  if (bits_per_pixel == 16) return {BmpChannel{10, 5}, BmpChannel{5, 5}, BmpChannel{0, 5}};
  return {BmpChannel{16, 8}, BmpChannel{8, 8}, BmpChannel{0, 8}};
}

// Follows the fields of the information header, which come in a short and in a long form.
class HeaderReader {
 public:
  HeaderReader(std::span<const std::byte> file, std::string_view source_name)
      : file_(file), source_name_(source_name) {}

  Result<BmpHeader> Run() {
    const Fields start(file_);
    info_size_ = start.At(kFileHeaderSize, 4);
    constexpr uint32_t kKnown[] = {kCoreHeaderSize, 40, 52, 56, 64, 108, 124};
    if (file_.size() < kFileHeaderSize + 4) return TooShort();
    if (std::ranges::find(kKnown, info_size_) == std::end(kKnown)) {
      return Unsupported(
          "{}: BMP header of {} bytes, only 12, 40, 52, 56, 64, 108 and 124 are read", source_name_,
          info_size_);
    }
    if (file_.size() < kFileHeaderSize + info_size_) return TooShort();
    end_ = kFileHeaderSize + info_size_;
    header_.pixels_offset = start.At(10, 4);
    ReadSize(Fields(file_.subspan(kFileHeaderSize, info_size_)));
    EXPERTILE_RETURN_IF_ERROR(CheckCompression());
    if (header_.bits_per_pixel <= 8) EXPERTILE_RETURN_IF_ERROR(ReadPalette());
    if (header_.pixels_offset == 0) header_.pixels_offset = end_;
    return std::move(header_);
  }

 private:
  bool is_core() const { return info_size_ == kCoreHeaderSize; }

  tl::unexpected<Error> TooShort() const {
    return InvalidData("{}: BMP header: the file ends too early", source_name_);
  }

  void ReadSize(const Fields& info) {
    if (is_core()) {
      header_.width = info.At(4, 2);
      header_.height = info.At(6, 2);
      header_.bits_per_pixel = static_cast<int>(info.At(10, 2));
      return;
    }
    header_.width = info.At(4, 4);
    header_.top_down = info.At(11, 1) == 0xff;
    header_.height = header_.top_down ? int64_t{0x100000000} - info.At(8, 4) : info.At(8, 4);
    header_.bits_per_pixel = static_cast<int>(info.At(14, 2));
    compression_ = info.At(16, 4);
    num_colors_ = info.At(32, 4);
    for (size_t i = 0; i < masks_.size(); ++i) masks_[i] = info.At(40 + 4 * i, 4);
    if (info_size_ < 56) masks_[3] = 0;
  }

  Status CheckCompression() {
    const int bits = header_.bits_per_pixel;
    if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32) {
      return Unsupported("{}: BMP of {} bits a pixel, only 1, 4, 8, 16, 24 and 32 are read",
                         source_name_, bits);
    }
    if (compression_ > 3) {
      return Unsupported("{}: BMP compression {}, only 0 to 3 are read", source_name_,
                         compression_);
    }
    header_.compression = static_cast<BmpCompression>(compression_);
    if (header_.is_run_length() && bits > 8) {
      return Unsupported("{}: BMP of {} bits a pixel with run lengths", source_name_, bits);
    }
    header_.channels = UsualChannels(bits);
    return header_.compression == BmpCompression::kBitFields ? ReadMasks() : Status{};
  }

  // After the short header of 40 bytes the masks are not part of it.
  Status ReadMasks() {
    if (info_size_ < 52) {
      if (file_.size() < end_ + 12) return TooShort();
      const Fields after(file_.subspan(end_));
      masks_ = {after.At(0, 4), after.At(4, 4), after.At(8, 4), 0};
      end_ += 12;
    }
    const int bits = header_.bits_per_pixel;
    if (bits == 32 && masks_ == Masks{}) return {};
    for (const Layout& layout : kLayouts) {
      const bool alpha_fits = bits != 32 || masks_[3] == layout.masks[3];
      if (layout.bits_per_pixel == bits && alpha_fits &&
          std::equal(masks_.begin(), masks_.begin() + 3, layout.masks.begin())) {
        header_.channels = ChannelsOf(masks_);
        return {};
      }
    }
    return Unsupported("{}: BMP of {} bits a pixel with the channel masks {:x}, {:x}, {:x}, {:x}",
                       source_name_, bits, masks_[0], masks_[1], masks_[2], masks_[3]);
  }

  Status ReadPalette() {
    const size_t entry_size = is_core() ? 3 : 4;
    if (num_colors_ == 0) num_colors_ = uint32_t{1} << header_.bits_per_pixel;
    const size_t size = std::min(entry_size * num_colors_, file_.size() - end_);
    if (num_colors_ > kMaxColors || size > entry_size * kMaxPaletteSize) {
      return Unsupported("{}: BMP palette of {} colours, at most {} are read", source_name_,
                         num_colors_, kMaxPaletteSize);
    }
    // Some writers leave the palette out of the offset.
    if (header_.pixels_offset == kFileHeaderSize + info_size_) {
      header_.pixels_offset += entry_size * num_colors_;
    }
    const auto bytes = file_.subspan(end_, size);
    header_.palette.resize(kMaxPaletteSize);
    for (size_t i = 0; i < size / entry_size; ++i) {
      for (size_t c = 0; c < 3; ++c) {
        header_.palette[i][2 - c] = std::to_integer<uint8_t>(bytes[i * entry_size + c]);
      }
    }
    end_ += size;
    ContinueGreyRamp();
    return {};
  }

  // Entries that a palette does not have are black; but Pillow takes one of greys in order, from
  // black in steps of 1 (or black and white), for no palette at all.
  void ContinueGreyRamp() {
    const auto grey = [this](uint32_t i) {
      const auto level = static_cast<uint8_t>(num_colors_ <= 2 && i > 0 ? 255 : i);
      return std::array<uint8_t, 3>{level, level, level};
    };
    for (uint32_t i = 0; i < std::min(num_colors_, kMaxPaletteSize); ++i) {
      if (header_.palette[i] != grey(i)) return;
    }
    for (uint32_t i = num_colors_; i < kMaxPaletteSize; ++i) header_.palette[i] = grey(i);
  }

  std::span<const std::byte> file_;
  std::string_view source_name_;
  uint32_t info_size_ = 0;
  uint32_t compression_ = 0;
  uint32_t num_colors_ = 0;
  Masks masks_ = {};
  size_t end_ = 0;  // of what was read of the header
  BmpHeader header_;
};

}  // namespace

Result<BmpHeader> ReadBmpHeader(std::span<const std::byte> file, std::string_view source_name) {
  return HeaderReader(file, source_name).Run();
}

}  // namespace expertile
