#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "image/file_decoders.h"

namespace expertile {
namespace {

struct DeleteDemuxer {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
};
using Demuxer = std::unique_ptr<WebPDemuxer, DeleteDemuxer>;

// The data of the first chunk of this kind, in the file's bytes; empty if there is none.
std::string_view ChunkText(const WebPDemuxer* demuxer, const char* kind) {
  WebPChunkIterator chunk = {};
  std::string_view text;
  if (WebPDemuxGetChunk(demuxer, kind, 1, &chunk) != 0) {
    text = {reinterpret_cast<const char*>(chunk.chunk.bytes), chunk.chunk.size};
  }
  WebPDemuxReleaseChunkIterator(&chunk);
  return text;
}

std::string_view StatusText(VP8StatusCode code) {
  switch (code) {
    case VP8_STATUS_OUT_OF_MEMORY:
      return "no memory";
    case VP8_STATUS_BITSTREAM_ERROR:
      return "the bit stream is damaged";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return "a feature that libwebp does not know";
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA:
      return "the data end too early";
    default:
      return "libwebp refuses it";
  }
}

// Decodes a frame into its place on the canvas.
Status DecodeFrame(const WebPIterator& frame, RgbImage& canvas, std::string_view source_name) {
  if (frame.x_offset < 0 || frame.y_offset < 0 || frame.width < 1 || frame.height < 1 ||
      int64_t{frame.x_offset} + frame.width > canvas.width ||
      int64_t{frame.y_offset} + frame.height > canvas.height) {
    return InvalidData("{}: WebP frame of {}x{} pixels at ({}, {}) of a canvas of {}x{}",
                       source_name, frame.width, frame.height, frame.x_offset, frame.y_offset,
                       canvas.width, canvas.height);
  }
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) {
    return Unsupported("{}: this libwebp has another version than its headers", source_name);
  }
  const int64_t first = (frame.y_offset * canvas.width + frame.x_offset) * kRgbChannels;
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = canvas.samples.data() + first;
  config.output.u.RGBA.stride = static_cast<int>(canvas.width * kRgbChannels);
  config.output.u.RGBA.size = canvas.samples.size() - first;
  const auto status = WebPDecode(frame.fragment.bytes, frame.fragment.size, &config);
  if (status == VP8_STATUS_OK) return {};
  return InvalidData("{}: WebP data: {}", source_name, StatusText(status));
}

}  // namespace

// The first frame stands on a black canvas, its alpha dropped: what Pillow's animation decoder
// shows of it.
Result<StoredImage> DecodeWebp(std::span<const std::byte> bytes, std::string_view source_name,
                               const ImageLimits& limits) {
  const WebPData data{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  const Demuxer demuxer(WebPDemux(&data));
  if (demuxer == nullptr) {
    return InvalidData("{}: WebP: damaged, or the file ends too early", source_name);
  }
  const int64_t height = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT);
  const int64_t width = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH);
  EXPERTILE_RETURN_IF_ERROR(CheckImageSize(height, width, source_name, limits));
  EXPERTILE_ASSIGN(RgbImage canvas, NewImage(height, width, source_name));
  WebPIterator frame = {};
  if (WebPDemuxGetFrame(demuxer.get(), 1, &frame) == 0) {
    return InvalidData("{}: WebP without a frame", source_name);
  }
  const Status decoded = DecodeFrame(frame, canvas, source_name);
  WebPDemuxReleaseIterator(&frame);
  EXPERTILE_RETURN_IF_ERROR(decoded);
  return StoredImage{std::move(canvas), ReadOrientation({ChunkText(demuxer.get(), "EXIF"),
                                                         ChunkText(demuxer.get(), "XMP ")})};
}

}  // namespace expertile
