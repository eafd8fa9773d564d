#include <png.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"
#include "image/c_library_guard.h"
#include "image/file_decoders.h"

namespace expertile {
namespace {

// Deflate codes at most 258 bytes in 2 bits, so no honest file claims more than this many sample
// bytes per byte of its own.
constexpr uint64_t kMaxDeflateRatio = 1032;

// An open libpng decoder over bytes in memory.
class PngReader {
 public:
  explicit PngReader(std::span<const std::byte> bytes) : unread_(bytes) {
    guard_.Run([this] {
      png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, OnError, OnWarning);
      if (png_ == nullptr) guard_.Leave("libpng cannot be set up");
      info_ = png_create_info_struct(png_);
      if (info_ == nullptr) guard_.Leave("libpng cannot be set up");
      png_set_read_fn(png_, this, OnRead);
      png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // CheckImageSize limits them
    });
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  // Runs step(png, info); false when libpng refused something, as message() says. See
  // CLibraryGuard.
  template <typename Step>
  bool Run(const Step& step) {
    if (info_ == nullptr) return false;
    return guard_.Run([this, &step] { step(png_, info_); });
  }
  std::string_view message() const { return guard_.message(); }

 private:
  static void OnError(png_structp png, png_const_charp message) {
    static_cast<PngReader*>(png_get_error_ptr(png))->guard_.Leave(message);
  }
  static void OnWarning(png_structp, png_const_charp) {}  // Pillow goes on as well
  static void OnRead(png_structp png, png_bytep destination, size_t size) {
    auto& reader = *static_cast<PngReader*>(png_get_io_ptr(png));
    if (size > reader.unread_.size()) reader.guard_.Leave("the file ends too early");
    std::memcpy(destination, reader.unread_.data(), size);
    reader.unread_ = reader.unread_.subspan(size);
  }

  std::span<const std::byte> unread_;
  CLibraryGuard guard_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

struct PngHeader {
  png_uint_32 width = 0;
  png_uint_32 height = 0;
  int bit_depth = 0;
  int color_type = 0;

  bool is_grey16() const { return bit_depth == 16 && color_type == PNG_COLOR_TYPE_GRAY; }
};

Status CheckHeader(const PngHeader& header, size_t file_size, std::string_view source_name,
                   const ImageLimits& limits) {
  EXPERTILE_RETURN_IF_ERROR(CheckImageSize(header.height, header.width, source_name, limits));
  const uint64_t num_bits =
      uint64_t{header.width} * header.height * static_cast<uint64_t>(header.bit_depth);
  if (num_bits / 8 > file_size * kMaxDeflateRatio) {
    return InvalidData("{}: {}x{} pixels of {} bits cannot come from {} bytes", source_name,
                       header.width, header.height, header.bit_depth, file_size);
  }
  return {};
}

// Asks for 8-bit RGB rows; grey of 16 bits stays as it is (see SaturateGrey16). Returns the number
// of interlace passes.
int RequestRgbRows(png_structp png, png_infop info, const PngHeader& header) {
  if (header.color_type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
  if (!header.is_grey16()) {
    png_set_strip_16(png);
    if (header.color_type == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(png);
    png_set_gray_to_rgb(png);
  }
  png_set_strip_alpha(png);
  const int num_passes = png_set_interlace_handling(png);
  png_read_update_info(png, info);
  return num_passes;
}

// Pillow holds 16-bit grey as it is and clips it when it converts to 8 bits.
std::vector<uint8_t> SaturateGrey16(std::span<const uint8_t> big_endian) {
  std::vector<uint8_t> samples(big_endian.size() / 2 * kRgbChannels);
  for (size_t i = 0; i < big_endian.size() / 2; ++i) {
    const uint8_t value = big_endian[2 * i] != 0 ? 255 : big_endian[2 * i + 1];
    std::fill_n(&samples[i * kRgbChannels], kRgbChannels, value);
  }
  return samples;
}

ExifOrientation Orientation(png_structp png, png_infop info) {
  png_bytep exif = nullptr;
  png_uint_32 exif_size = 0;
  if (png_get_eXIf_1(png, info, &exif_size, &exif) == 0) return ExifOrientation::kTopLeft;
  return ReadExifOrientation(std::as_bytes(std::span(exif, exif_size)));
}

}  // namespace

Result<StoredImage> DecodePng(std::span<const std::byte> bytes, std::string_view source_name,
                              const ImageLimits& limits) {
  PngReader reader(bytes);
  PngHeader header;
  const bool has_header = reader.Run([&header](png_structp png, png_infop info) {
    png_read_info(png, info);
    png_get_IHDR(png, info, &header.width, &header.height, &header.bit_depth, &header.color_type,
                 nullptr, nullptr, nullptr);
  });
  if (!has_header) return InvalidData("{}: PNG header: {}", source_name, reader.message());
  EXPERTILE_RETURN_IF_ERROR(CheckHeader(header, bytes.size(), source_name, limits));

  const size_t row_size = size_t{header.width} * (header.is_grey16() ? 2 : kRgbChannels);
  std::vector<uint8_t> rows(row_size * header.height);
  ExifOrientation orientation = ExifOrientation::kTopLeft;
  const bool has_rows = reader.Run([&](png_structp png, png_infop info) {
    const int num_passes = RequestRgbRows(png, info, header);
    if (png_get_rowbytes(png, info) != row_size) png_error(png, "unexpected row size");
    for (int pass = 0; pass < num_passes; ++pass) {
      for (size_t row = 0; row < header.height; ++row) {
        png_read_row(png, &rows[row * row_size], nullptr);
      }
    }
    png_read_end(png, info);
    orientation = Orientation(png, info);
  });
  if (!has_rows) return InvalidData("{}: PNG data: {}", source_name, reader.message());
  if (header.is_grey16()) rows = SaturateGrey16(rows);
  return StoredImage{{header.height, header.width, std::move(rows)}, orientation};
}

}  // namespace expertile
