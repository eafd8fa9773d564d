#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "image/bmp_header.h"
#include "image/file_decoders.h"

namespace expertile {
namespace {

// The value of a channel of n bits as one of 8, as Pillow computes it.
uint8_t ChannelSample(uint32_t pixel, const BmpChannel& channel) {
  const uint32_t most = (uint32_t{1} << channel.num_bits) - 1;
  return static_cast<uint8_t>((pixel >> channel.shift & most) * 255 / most);
}

void PaintDirect(const BmpHeader& header, std::span<const std::byte> row, uint8_t* to) {
  const size_t pixel_size = header.bits_per_pixel / 8;
  for (int64_t x = 0; x < header.width; ++x) {
    uint32_t pixel = 0;
    for (size_t i = 0; i < pixel_size; ++i) {
      pixel |= std::to_integer<uint32_t>(row[x * pixel_size + i]) << (8 * i);
    }
    for (const BmpChannel& channel : header.channels) *to++ = ChannelSample(pixel, channel);
  }
}

void PaintIndexed(const BmpHeader& header, std::span<const std::byte> row, uint8_t* to) {
  const int bits = header.bits_per_pixel;
  for (int64_t x = 0; x < header.width; ++x, to += kRgbChannels) {
    const auto byte = std::to_integer<unsigned>(row[x * bits / 8]);
    const unsigned index = byte >> (8 - bits - x * bits % 8) & ((1u << bits) - 1);
    std::copy_n(header.palette[index].begin(), kRgbChannels, to);
  }
}

// The image row of the i-th row of the file.
int64_t ImageRow(const BmpHeader& header, int64_t i) {
  return header.top_down ? i : header.height - 1 - i;
}

Status PaintRows(const BmpHeader& header, std::span<const std::byte> pixels, RgbImage& image,
                 std::string_view source_name) {
  const size_t row_size = (header.width * header.bits_per_pixel + 7) / 8;
  const size_t stride = (row_size + 3) / 4 * 4;
  if (pixels.size() < stride * (header.height - 1) + row_size) {
    return InvalidData("{}: BMP pixels of {} bytes, {}x{} of {} bits take {}", source_name,
                       pixels.size(), header.width, header.height, header.bits_per_pixel,
                       stride * header.height);
  }
  for (int64_t i = 0; i < header.height; ++i) {
    const auto row = pixels.subspan(i * stride, row_size);
    uint8_t* to = image.row(ImageRow(header, i));
    header.palette.empty() ? PaintDirect(header, row, to) : PaintIndexed(header, row, to);
  }
  return {};
}

// Expands run lengths pixel by pixel, in the order of the file's rows.
class RunLengthReader {
 public:
  RunLengthReader(const BmpHeader& header, std::span<const std::byte> pixels, size_t offset,
                  RgbImage& image)
      : header_(header),
        is_rle4_(header.compression == BmpCompression::kRle4),
        unread_(pixels),
        at_odd_offset_(offset % 2 != 0),
        image_(image),
        num_pixels_(header.width * header.height) {}

  // The number of pixels that the file had.
  int64_t Run() {
    while (position_ < num_pixels_ && unread_.size() >= 2) {
      const unsigned count = Next();
      const unsigned byte = Next();
      if (count > 0) {
        // Too long a run ends with its row; rows are counted from the last end of line.
        const int64_t room = std::max<int64_t>(0, header_.width - column_);
        const int64_t num_put = std::min<int64_t>(count, room);
        PutRun(num_put, byte);
        column_ += num_put;
      } else if (!Escape(byte)) {
        break;
      }
    }
    return position_;
  }

 private:
  unsigned Next() {
    const auto byte = std::to_integer<unsigned>(unread_.front());
    unread_ = unread_.subspan(1);
    at_odd_offset_ = !at_odd_offset_;
    return byte;
  }

  void Put(unsigned index) {
    if (position_ >= num_pixels_) return;
    uint8_t* to = image_.row(ImageRow(header_, position_ / header_.width)) +
                  position_ % header_.width * kRgbChannels;
    std::copy_n(header_.palette[index].begin(), kRgbChannels, to);
    ++position_;
  }
  void PutRun(int64_t count, unsigned byte) {
    for (int64_t i = 0; i < count; ++i) {
      Put(!is_rle4_ ? byte : i % 2 == 0 ? byte >> 4 : byte & 15);
    }
  }
  void Skip(int64_t count) {
    for (; count > 0 && position_ < num_pixels_; --count) Put(0);
  }

  // What two bytes (0, `code`) mean. Returns whether more follows.
  bool Escape(unsigned code) {
    if (code == 1) return false;  // the end of the image
    if (code == 0) {              // the end of a row
      while (position_ % header_.width != 0) Put(0);
      column_ = 0;
      return true;
    }
    if (code > 2) return Literal(code);
    if (unread_.size() < 2) return false;
    const int64_t right = Next();
    Skip(right + Next() * header_.width);
    column_ = position_ % header_.width;
    return true;
  }

  // `count` pixels as they are, over the ends of rows, up to an even offset in the file.
  bool Literal(unsigned count) {
    const int64_t num_put = std::min<int64_t>(num_pixels_ - position_, count);
    for (int64_t i = 0; i < num_put; i += is_rle4_ ? 2 : 1) {
      if (unread_.empty()) return false;
      PutRun(is_rle4_ ? std::min<int64_t>(num_put - i, 2) : 1, Next());
    }
    column_ += count;
    if (at_odd_offset_ && !unread_.empty()) Next();
    return true;
  }

  const BmpHeader& header_;
  bool is_rle4_;
  std::span<const std::byte> unread_;
  bool at_odd_offset_;  // of the next byte, in the file
  RgbImage& image_;
  int64_t num_pixels_;
  int64_t position_ = 0;  // the next pixel, in the order of the file's rows
  int64_t column_ = 0;    // of the next pixel, as far as runs count it
};

}  // namespace

Result<StoredImage> DecodeBmp(std::span<const std::byte> bytes, std::string_view source_name,
                              const ImageLimits& limits) {
  EXPERTILE_ASSIGN(const BmpHeader header, ReadBmpHeader(bytes, source_name));
  EXPERTILE_RETURN_IF_ERROR(CheckImageSize(header.height, header.width, source_name, limits));
  const size_t offset = std::min(header.pixels_offset, bytes.size());
  const auto pixels = bytes.subspan(offset);
  EXPERTILE_ASSIGN(RgbImage image, NewImage(header.height, header.width, source_name));
  if (header.is_run_length()) {
    const int64_t num_pixels = RunLengthReader(header, pixels, offset, image).Run();
    if (num_pixels < header.height * header.width) {
      return InvalidData("{}: BMP run lengths of {} pixels, {}x{} expected", source_name,
                         num_pixels, header.width, header.height);
    }
  } else {
    EXPERTILE_RETURN_IF_ERROR(PaintRows(header, pixels, image, source_name));
  }
  return StoredImage{std::move(image)};
}

}  // namespace expertile
