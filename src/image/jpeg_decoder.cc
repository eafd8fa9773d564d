// jpeglib.h needs FILE and size_t declared before it.
// clang-format off
#include <cstddef>
#include <cstdio>
#include <jpeglib.h>
// clang-format on

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "image/c_library_guard.h"
#include "image/file_decoders.h"

namespace expertile {
namespace {

constexpr int kApp1 = JPEG_APP0 + 1;  // EXIF and XMP
constexpr unsigned kMaxMarkerSize = 0xffff;

// Each scan costs a pass over the whole image, however few bytes it has. Encoders write a dozen.
constexpr int kMaxScans = 256;

// Bytes in memory as libjpeg reads them. At their end it is told to wait for more, and says so, so
// that a file that ends too early is told from one that is damaged, as Pillow does.
class MemorySource {
 public:
  explicit MemorySource(std::span<const std::byte> bytes) {
    source_.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
    source_.bytes_in_buffer = bytes.size();
    source_.init_source = [](j_decompress_ptr) {};
    source_.fill_input_buffer = [](j_decompress_ptr) -> boolean { return FALSE; };
    source_.skip_input_data = Skip;
    source_.resync_to_restart = jpeg_resync_to_restart;
    source_.term_source = [](j_decompress_ptr) {};
  }
  jpeg_source_mgr* get() { return &source_; }

 private:
  static void Skip(j_decompress_ptr jpeg, long num_bytes) {
    if (num_bytes <= 0) return;
    const size_t skipped = std::min(static_cast<size_t>(num_bytes), jpeg->src->bytes_in_buffer);
    jpeg->src->next_input_byte += skipped;
    jpeg->src->bytes_in_buffer -= skipped;
  }

  jpeg_source_mgr source_ = {};
};

// An open libjpeg decoder over bytes in memory.
class JpegReader {
 public:
  explicit JpegReader(std::span<const std::byte> bytes) : source_(bytes) {
    jpeg_.err = jpeg_std_error(&errors_);
    jpeg_.client_data = this;
    errors_.error_exit = OnError;
    errors_.emit_message = OnMessage;
    progress_.progress_monitor = OnProgress;
    guard_.Run([this] {
      jpeg_create_decompress(&jpeg_);
      jpeg_.progress = &progress_;
      jpeg_save_markers(&jpeg_, kApp1, kMaxMarkerSize);
      jpeg_.src = source_.get();
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
  // To be called inside a Run where libjpeg waits for more bytes.
  [[noreturn]] void LeaveAtEnd() { guard_.Leave("the file ends too early"); }
  std::string_view message() const { return guard_.message(); }
  const jpeg_decompress_struct& state() const { return jpeg_; }

 private:
  static void OnError(j_common_ptr jpeg) {
    auto& guard = static_cast<JpegReader*>(jpeg->client_data)->guard_;
    (*jpeg->err->format_message)(jpeg, guard.message_buffer());
    guard.Leave();
  }
  static void OnMessage(j_common_ptr, int) {}  // damage that Pillow reads over as well
  static void OnProgress(j_common_ptr jpeg) {
    const auto* decompress = reinterpret_cast<j_decompress_ptr>(jpeg);
    if (decompress->input_scan_number > kMaxScans) {
      static_cast<JpegReader*>(jpeg->client_data)->guard_.Leave("too many scans");
    }
  }

  MemorySource source_;
  CLibraryGuard guard_;
  jpeg_error_mgr errors_ = {};
  jpeg_progress_mgr progress_ = {};
  jpeg_decompress_struct jpeg_ = {};
};
static_assert(CLibraryGuard::kMessageSize >= JMSG_LENGTH_MAX);

// Pillow's cmyk2rgb on inverted samples, which is how Adobe writes them.
void InvertedCmykToRgb(std::span<const uint8_t> cmyk, uint8_t* rgb) {
  for (size_t i = 0; i < cmyk.size(); i += 4, rgb += kRgbChannels) {
    const int light = cmyk[i + 3];  // 255 - black
    for (size_t c = 0; c < kRgbChannels; ++c) {
      const int product = (255 - cmyk[i + c]) * light + 128;
      const int ink = ((product >> 8) + product) >> 8;  // product / 255, rounded
      rgb[c] = static_cast<uint8_t>(std::max(0, light - ink));
    }
  }
}

// EXIF may be cut into several markers; of XMP the last one counts.
ExifOrientation Orientation(const jpeg_decompress_struct& jpeg) {
  constexpr std::string_view kExifPrefix{"Exif\0\0", 6};
  constexpr std::string_view kXmpPrefix{"http://ns.adobe.com/xap/1.0/\0", 29};
  std::string exif;
  std::string_view xmp;
  for (auto* marker = jpeg.marker_list; marker != nullptr; marker = marker->next) {
    const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (marker->marker != kApp1) continue;
    if (data.starts_with(kExifPrefix)) {
      exif += data.substr(exif.empty() ? 0 : kExifPrefix.size());
    } else if (data.starts_with(kXmpPrefix)) {
      xmp = data.substr(kXmpPrefix.size());
    }
  }
  return ReadOrientation({exif, xmp});
}

// Reads every row into `image`, by way of `cmyk_row` if that is not empty.
void ReadRows(jpeg_decompress_struct& jpeg, JpegReader& reader, RgbImage& image,
              std::span<uint8_t> cmyk_row) {
  jpeg.out_color_space = cmyk_row.empty() ? JCS_RGB : JCS_CMYK;
  if (jpeg_start_decompress(&jpeg) == FALSE) reader.LeaveAtEnd();
  for (int64_t y = 0; y < image.height; ++y) {
    JSAMPROW row = cmyk_row.empty() ? image.row(y) : cmyk_row.data();
    if (jpeg_read_scanlines(&jpeg, &row, 1) != 1) reader.LeaveAtEnd();
    if (!cmyk_row.empty()) InvertedCmykToRgb(cmyk_row, image.row(y));
  }
  jpeg_finish_decompress(&jpeg);  // which need not find the end of the file
}

}  // namespace

Result<StoredImage> DecodeJpeg(std::span<const std::byte> bytes, std::string_view source_name,
                               const ImageLimits& limits) {
  JpegReader reader(bytes);
  const bool has_header = reader.Run([&reader](jpeg_decompress_struct& jpeg) {
    int found = JPEG_HEADER_TABLES_ONLY;
    while (found == JPEG_HEADER_TABLES_ONLY) found = jpeg_read_header(&jpeg, FALSE);
    if (found == JPEG_SUSPENDED) reader.LeaveAtEnd();
  });
  if (!has_header) return InvalidData("{}: JPEG header: {}", source_name, reader.message());
  const int64_t height = reader.state().image_height;
  const int64_t width = reader.state().image_width;
  const int num_components = reader.state().num_components;
  EXPERTILE_RETURN_IF_ERROR(CheckImageSize(height, width, source_name, limits));
  if (num_components != 1 && num_components != 3 && num_components != 4) {
    return Unsupported("{}: JPEG of {} components, only 1, 3 and 4 are read", source_name,
                       num_components);
  }
  const ExifOrientation orientation = Orientation(reader.state());  // markers go with the rows
  EXPERTILE_ASSIGN(RgbImage image, NewImage(height, width, source_name));
  std::vector<uint8_t> cmyk_row(num_components == 4 ? width * 4 : 0);
  const bool has_rows =
      reader.Run([&](jpeg_decompress_struct& jpeg) { ReadRows(jpeg, reader, image, cmyk_row); });
  if (!has_rows) return InvalidData("{}: JPEG data: {}", source_name, reader.message());
  return StoredImage{std::move(image), orientation};
}

}  // namespace expertile
