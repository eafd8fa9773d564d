#include <png.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "image/c_library_guard.h"
#include "image/file_decoders.h"
#include "image/png_chunks.h"

namespace expertile {
namespace {

// Deflate codes at most 258 bytes in 2 bits, so no honest file claims more than this many sample
// bytes per byte of its own.
constexpr uint64_t kMaxDeflateRatio = 1032;

// A PNG stream of some chunks, each as long as its data; the check sums are zeros.
class ChunkStream {
 public:
  explicit ChunkStream(std::vector<PngChunk> chunks) : chunks_(std::move(chunks)) {
    const std::string_view signature = "\x89PNG\r\n\x1a\n";
    std::memcpy(framing_.data(), signature.data(), signature.size());
    part_ = std::as_bytes(std::span(framing_)).first(signature.size());
  }

  bool Read(png_bytep destination, size_t size) {
    while (size > 0) {
      if (part_.empty() && !NextPart()) return false;
      const auto piece = part_.first(std::min(size, part_.size()));
      if (!piece.empty()) std::memcpy(destination, piece.data(), piece.size());
      part_ = part_.subspan(piece.size());
      destination += piece.size();
      size -= piece.size();
    }
    return true;
  }

 private:
  // A chunk's header, its data, and the check sum in one with the next header.
  bool NextPart() {
    if (in_header_) {
      part_ = chunks_[next_chunk_++].data;
      in_header_ = false;
      return true;
    }
    if (next_chunk_ == chunks_.size()) return false;
    const PngChunk& chunk = chunks_[next_chunk_];
    const size_t check_sum_size = next_chunk_ == 0 ? 0 : 4;
    framing_ = {};
    for (size_t i = 0; i < 4; ++i) {
      framing_[check_sum_size + i] = static_cast<uint8_t>(chunk.data.size() >> (24 - 8 * i));
      framing_[check_sum_size + 4 + i] = static_cast<uint8_t>(chunk.type[i]);
    }
    part_ = std::as_bytes(std::span(framing_)).first(check_sum_size + 8);
    in_header_ = true;
    return true;
  }

  std::vector<PngChunk> chunks_;
  size_t next_chunk_ = 0;
  bool in_header_ = false;  // whether part_ is the header of chunk next_chunk_
  std::array<uint8_t, 12> framing_ = {};
  std::span<const std::byte> part_;
};

// An open libpng decoder of some chunks.
class PngReader {
 public:
  explicit PngReader(std::vector<PngChunk> chunks) : stream_(std::move(chunks)) {
    guard_.Run([this] {
      png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, OnError, OnWarning);
      if (png_ == nullptr) guard_.Leave("libpng cannot be set up");
      info_ = png_create_info_struct(png_);
      if (info_ == nullptr) guard_.Leave("libpng cannot be set up");
      png_set_read_fn(png_, this, OnRead);
      png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);     // NewImage limits them
      png_set_crc_action(png_, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);  // FindPngChunks checks them
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

  // The last text of this keyword, inflated; empty if there is none.
  std::string_view Text(std::string_view keyword) const {
    png_textp texts = nullptr;
    const int num_texts = png_get_text(png_, info_, &texts, nullptr);
    std::string_view found;
    for (const png_text& text : std::span(texts, num_texts)) {
      if (text.key != keyword || text.text == nullptr) continue;
      const bool is_international = text.compression >= PNG_ITXT_COMPRESSION_NONE;
      found = {text.text, is_international ? text.itxt_length : text.text_length};
    }
    return found;
  }

 private:
  static void OnError(png_structp png, png_const_charp message) {
    static_cast<PngReader*>(png_get_error_ptr(png))->guard_.Leave(message);
  }
  static void OnWarning(png_structp, png_const_charp) {}  // Pillow goes on as well
  static void OnRead(png_structp png, png_bytep destination, size_t size) {
    auto& reader = *static_cast<PngReader*>(png_get_io_ptr(png));
    if (!reader.stream_.Read(destination, size)) reader.guard_.Leave("the file ends too early");
  }

  ChunkStream stream_;
  CLibraryGuard guard_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

struct PngHeader {
  png_uint_32 width = 0;
  png_uint_32 height = 0;
  int bit_depth = 0;
  int color_type = 0;
  int interlace_type = 0;
};

// The rows that the file's data make, over all passes.
int64_t NumDataRows(const PngHeader& header) {
  if (header.interlace_type == PNG_INTERLACE_NONE) return header.height;
  int64_t num_rows = 0;
  for (int pass = 0; pass < PNG_INTERLACE_ADAM7_PASSES; ++pass) {
    if (PNG_PASS_COLS(header.width, pass) > 0) num_rows += PNG_PASS_ROWS(header.height, pass);
  }
  return num_rows;
}

void CountRow(png_structp png, png_row_infop, png_bytep) {
  ++*static_cast<int64_t*>(png_get_user_transform_ptr(png));
}

// Pillow holds 16-bit grey as it is and clips it when it converts to 8 bits. `row` has 2 bytes a
// pixel and gets 3, from its end on.
void CountAndSaturateRow(png_structp png, png_row_infop info, png_bytep row) {
  for (size_t x = info->width; x-- > 0;) {
    const uint8_t value = row[2 * x] != 0 ? 255 : row[2 * x + 1];
    std::fill_n(row + x * kRgbChannels, kRgbChannels, value);
  }
  CountRow(png, info, row);
}

// Asks for 8-bit RGB rows, counted as they are made. Returns the number of interlace passes.
int RequestRgbRows(png_structp png, png_infop info, const PngHeader& header,
                   int64_t& num_data_rows) {
  if (header.bit_depth == 16 && header.color_type == PNG_COLOR_TYPE_GRAY) {
    png_set_read_user_transform_fn(png, CountAndSaturateRow);
    png_set_user_transform_info(png, &num_data_rows, 8, kRgbChannels);
  } else {
    if (header.color_type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    png_set_strip_16(png);
    if (header.color_type == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(png);
    png_set_gray_to_rgb(png);
    png_set_read_user_transform_fn(png, CountRow);
    png_set_user_transform_info(png, &num_data_rows, 0, 0);
  }
  png_set_strip_alpha(png);
  const int num_passes = png_set_interlace_handling(png);
  png_read_update_info(png, info);
  if (png_get_rowbytes(png, info) != header.width * size_t{kRgbChannels}) {
    png_error(png, "unexpected row size");
  }
  return num_passes;
}

Status CheckDataSize(const PngHeader& header, size_t file_size, std::string_view source_name) {
  const uint64_t num_bits =
      uint64_t{header.width} * header.height * static_cast<uint64_t>(header.bit_depth);
  if (num_bits / 8 <= file_size * kMaxDeflateRatio) return {};
  return InvalidData("{}: {}x{} pixels of {} bits cannot come from {} bytes", source_name,
                     header.width, header.height, header.bit_depth, file_size);
}

std::vector<PngChunk> StreamOrder(const PngChunks& chunks) {
  auto ordered = chunks.pixels;
  ordered.insert(ordered.begin() + 1, chunks.texts.begin(), chunks.texts.end());
  return ordered;
}

// ImageMagick's way to keep EXIF: three lines of names and sizes, then hexadecimal digits.
std::string FromHexProfile(std::string_view text) {
  for (int line = 0; line < 3; ++line) {
    const size_t end = text.find('\n');
    if (end == text.npos) return {};
    text.remove_prefix(end + 1);
  }
  std::string bytes;
  int high = -1;
  for (const char c : text) {
    const std::string_view digits = "0123456789abcdef";
    const size_t digit = digits.find(static_cast<char>(c | 0x20));
    if (digit == digits.npos) continue;
    if (high >= 0) bytes += static_cast<char>(high << 4 | static_cast<int>(digit));
    high = high >= 0 ? -1 : static_cast<int>(digit);
  }
  return bytes;
}

ExifOrientation Orientation(const PngChunks& chunks, const PngReader& reader) {
  const std::string_view xmp = reader.Text(kPngXmpKeyword);
  if (!chunks.exif.empty()) {
    return ReadOrientation(
        {{reinterpret_cast<const char*>(chunks.exif.data()), chunks.exif.size()}, xmp});
  }
  return ReadOrientation({FromHexProfile(reader.Text(kPngExifKeyword)), xmp});
}

}  // namespace

Result<StoredImage> DecodePng(std::span<const std::byte> bytes, std::string_view source_name,
                              const ImageLimits& limits) {
  EXPERTILE_ASSIGN(const PngChunks chunks, FindPngChunks(bytes, source_name));
  PngReader reader(StreamOrder(chunks));
  PngHeader header;
  const bool has_header = reader.Run([&header](png_structp png, png_infop info) {
    png_read_info(png, info);
    png_get_IHDR(png, info, &header.width, &header.height, &header.bit_depth, &header.color_type,
                 &header.interlace_type, nullptr, nullptr);
  });
  if (!has_header) return InvalidData("{}: PNG header: {}", source_name, reader.message());
  EXPERTILE_RETURN_IF_ERROR(CheckImageSize(header.height, header.width, source_name, limits));
  EXPERTILE_RETURN_IF_ERROR(CheckDataSize(header, bytes.size(), source_name));
  EXPERTILE_ASSIGN(RgbImage image, NewImage(header.height, header.width, source_name));
  int64_t num_data_rows = 0;
  const bool has_end = reader.Run([&](png_structp png, png_infop info) {
    const int num_passes = RequestRgbRows(png, info, header, num_data_rows);
    for (int pass = 0; pass < num_passes; ++pass) {
      for (int64_t y = 0; y < image.height; ++y) png_read_row(png, image.row(y), nullptr);
    }
  });
  // With its last row libpng also wants the end of the data, which Pillow does not miss.
  if (!has_end && num_data_rows < NumDataRows(header)) {
    return InvalidData("{}: PNG data: {}", source_name, reader.message());
  }
  return StoredImage{std::move(image), Orientation(chunks, reader)};
}

}  // namespace expertile
