// jpeglib.h needs FILE and size_t declared before it.
// clang-format off
#include <cstddef>
#include <cstdio>
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"
#include "image/c_library_guard.h"
#include "image/file_decoders.h"

namespace expertile {
namespace {

constexpr int kExifMarker = JPEG_APP0 + 1;
constexpr unsigned kMaxMarkerSize = 0xffff;
constexpr std::string_view kExifPrefix{"Exif\0\0", 6};

// Each scan costs a pass over the whole image, however few bytes it has. Encoders write a dozen.
constexpr int kMaxScans = 256;

// Warnings of libjpeg after which the samples are not what was encoded.
bool MeansDamage(int message_code) {
  switch (message_code) {
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_BOGUS_PROGRESSION:
    case JWRN_JPEG_EOF:
    case JWRN_MUST_RESYNC:
      return true;
    default:
      return false;
  }
}

// An open libjpeg decoder over bytes in memory.
class JpegReader {
 public:
  explicit JpegReader(std::span<const std::byte> bytes) {
    jpeg_.err = jpeg_std_error(&errors_);
    jpeg_.client_data = this;
    errors_.error_exit = OnError;
    errors_.emit_message = OnMessage;
    progress_.progress_monitor = OnProgress;
    guard_.Run([this, bytes] {
      jpeg_create_decompress(&jpeg_);
      jpeg_.progress = &progress_;
      jpeg_mem_src(&jpeg_, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
      jpeg_save_markers(&jpeg_, kExifMarker, kMaxMarkerSize);
    });
  }
  ~JpegReader() { jpeg_destroy_decompress(&jpeg_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  // Runs step(jpeg); false when libjpeg refused something, as message() says. See CLibraryGuard.
  template <typename Step>
  bool Run(const Step& step) {
    if (jpeg_.src == nullptr) return false;
    return guard_.Run([this, &step] { step(jpeg_); });
  }
  std::string_view message() const { return guard_.message(); }
  const jpeg_decompress_struct& state() const { return jpeg_; }

 private:
  static void OnError(j_common_ptr jpeg) {
    auto& guard = static_cast<JpegReader*>(jpeg->client_data)->guard_;
    (*jpeg->err->format_message)(jpeg, guard.message_buffer());
    guard.Leave();
  }
  static void OnMessage(j_common_ptr jpeg, int level) {
    if (level < 0 && MeansDamage(jpeg->err->msg_code)) OnError(jpeg);
  }
  static void OnProgress(j_common_ptr jpeg) {
    const auto* decompress = reinterpret_cast<j_decompress_ptr>(jpeg);
    if (decompress->input_scan_number > kMaxScans) {
      static_cast<JpegReader*>(jpeg->client_data)->guard_.Leave("too many scans");
    }
  }

  CLibraryGuard guard_;
  jpeg_error_mgr errors_ = {};
  jpeg_progress_mgr progress_ = {};
  jpeg_decompress_struct jpeg_ = {};
};
static_assert(CLibraryGuard::kMessageSize >= JMSG_LENGTH_MAX);

// The layout that rows are asked in: libjpeg makes grey and YCbCr into RGB, and YCCK into CMYK.
Result<J_COLOR_SPACE> RowColorSpace(const jpeg_decompress_struct& jpeg,
                                    std::string_view source_name) {
  switch (jpeg.num_components) {
    case 1:
    case 3:
      return JCS_RGB;
    case 4:
      return JCS_CMYK;
    default:
      return Unsupported("{}: JPEG of {} components, only 1, 3 and 4 are read", source_name,
                         jpeg.num_components);
  }
}

// Pillow's cmyk2rgb on inverted samples, which is how Adobe writes them.
std::vector<uint8_t> InvertedCmykToRgb(std::span<const uint8_t> cmyk) {
  std::vector<uint8_t> samples(cmyk.size() / 4 * kRgbChannels);
  for (size_t i = 0; i < cmyk.size() / 4; ++i) {
    const int light = cmyk[4 * i + 3];  // 255 - black
    for (size_t c = 0; c < kRgbChannels; ++c) {
      const int product = (255 - cmyk[4 * i + c]) * light + 128;
      const int ink = ((product >> 8) + product) >> 8;  // product / 255, rounded
      samples[i * kRgbChannels + c] = static_cast<uint8_t>(std::max(0, light - ink));
    }
  }
  return samples;
}

ExifOrientation Orientation(const jpeg_decompress_struct& jpeg) {
  for (auto* marker = jpeg.marker_list; marker != nullptr; marker = marker->next) {
    const auto bytes = std::as_bytes(std::span(marker->data, marker->data_length));
    if (marker->marker != kExifMarker || bytes.size() < kExifPrefix.size()) continue;
    if (std::memcmp(bytes.data(), kExifPrefix.data(), kExifPrefix.size()) != 0) continue;
    return ReadExifOrientation(bytes.subspan(kExifPrefix.size()));
  }
  return ExifOrientation::kTopLeft;
}

}  // namespace

Result<StoredImage> DecodeJpeg(std::span<const std::byte> bytes, std::string_view source_name,
                               const ImageLimits& limits) {
  JpegReader reader(bytes);
  const bool has_header =
      reader.Run([](jpeg_decompress_struct& jpeg) { jpeg_read_header(&jpeg, TRUE); });
  if (!has_header) return InvalidData("{}: JPEG header: {}", source_name, reader.message());
  const size_t height = reader.state().image_height;
  const size_t width = reader.state().image_width;
  EXPERTILE_RETURN_IF_ERROR(CheckImageSize(static_cast<int64_t>(height),
                                           static_cast<int64_t>(width), source_name, limits));
  EXPERTILE_ASSIGN(const auto color_space, RowColorSpace(reader.state(), source_name));
  const ExifOrientation orientation = Orientation(reader.state());  // markers go with the rows

  const size_t row_size = width * (color_space == JCS_CMYK ? 4 : kRgbChannels);
  std::vector<uint8_t> rows(row_size * height);
  const bool has_rows = reader.Run([&](jpeg_decompress_struct& jpeg) {
    jpeg.out_color_space = color_space;
    jpeg_start_decompress(&jpeg);
    while (jpeg.output_scanline < height) {
      JSAMPROW row = &rows[jpeg.output_scanline * row_size];
      jpeg_read_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_decompress(&jpeg);
  });
  if (!has_rows) return InvalidData("{}: JPEG data: {}", source_name, reader.message());
  if (color_space == JCS_CMYK) rows = InvertedCmykToRgb(rows);
  return StoredImage{{static_cast<int64_t>(height), static_cast<int64_t>(width), std::move(rows)},
                     orientation};
}

}  // namespace expertile
