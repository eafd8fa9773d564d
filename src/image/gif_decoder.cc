#include <gif_lib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "image/file_decoders.h"

namespace expertile {
namespace {

struct CloseGif {
  void operator()(GifFileType* gif) const { DGifCloseFile(gif, nullptr); }
};
using Gif = std::unique_ptr<GifFileType, CloseGif>;

// The bytes of a file, with a zero after them for who asks for a single byte more: Pillow does not
// miss the empty block that ends the pixels.
struct Source {
  std::span<const std::byte> unread;
  bool has_ended = false;
};

int ReadBytes(GifFileType* gif, GifByteType* destination, int size) {
  auto& source = *static_cast<Source*>(gif->UserData);
  if (size == 1 && source.unread.empty() && !source.has_ended) {
    source.has_ended = true;
    *destination = 0;
    return 1;
  }
  const auto wanted = static_cast<size_t>(std::max(size, 0));
  const auto piece = source.unread.first(std::min(wanted, source.unread.size()));
  if (!piece.empty()) std::memcpy(destination, piece.data(), piece.size());
  source.unread = source.unread.subspan(piece.size());
  return static_cast<int>(piece.size());
}

tl::unexpected<Error> Refusal(const Gif& gif, std::string_view source_name) {
  const char* message = GifErrorString(gif->Error);
  return InvalidData("{}: GIF: {}", source_name,
                     message == nullptr ? "damaged" : std::string_view(message));
}

// Reads the extensions before the first frame and its header. Returns the transparent index, if
// there is one.
Result<std::optional<uint8_t>> ReadToFirstFrame(const Gif& gif, std::string_view source_name) {
  std::optional<uint8_t> transparent;
  for (;;) {
    GifRecordType record = UNDEFINED_RECORD_TYPE;
    if (DGifGetRecordType(gif.get(), &record) != GIF_OK) {
      if (gif->Error == D_GIF_ERR_WRONG_RECORD) continue;  // a stray byte
      return Refusal(gif, source_name);
    }
    if (record == TERMINATE_RECORD_TYPE) return InvalidData("{}: GIF without a frame", source_name);
    if (record == IMAGE_DESC_RECORD_TYPE) {
      if (DGifGetImageDesc(gif.get()) != GIF_OK) return Refusal(gif, source_name);
      return transparent;
    }
    int kind = 0;
    GifByteType* block = nullptr;  // its size, then its bytes
    if (DGifGetExtension(gif.get(), &kind, &block) != GIF_OK) return Refusal(gif, source_name);
    while (block != nullptr) {
      if (kind == GRAPHICS_EXT_FUNC_CODE && block[0] >= 4 && (block[1] & 1) != 0) {
        transparent = block[4];
      }
      if (DGifGetExtensionNext(gif.get(), &block) != GIF_OK) return Refusal(gif, source_name);
    }
  }
}

// The colours of all 256 indices. Those that the frame's palette does not have are black; without
// any palette an index is its own grey.
std::vector<GifColorType> Colors(const GifFileType& gif) {
  const ColorMapObject* map = gif.Image.ColorMap != nullptr ? gif.Image.ColorMap : gif.SColorMap;
  std::vector<GifColorType> colors(256, GifColorType{0, 0, 0});
  if (map != nullptr) {
    std::copy_n(map->Colors, std::clamp(map->ColorCount, 0, 256), colors.begin());
    return colors;
  }
  for (size_t i = 0; i < colors.size(); ++i) {
    const auto grey = static_cast<GifByteType>(i);
    colors[i] = {grey, grey, grey};
  }
  return colors;
}

void Paint(std::span<const uint8_t> indices, const std::vector<GifColorType>& colors, uint8_t* to) {
  for (const uint8_t index : indices) {
    *to++ = colors[index].Red;
    *to++ = colors[index].Green;
    *to++ = colors[index].Blue;
  }
}

// The frame's rows in the order in which the file has them.
std::vector<int64_t> RowOrder(int64_t height, bool interlaced) {
  std::vector<int64_t> order;
  const auto append = [&](int64_t first, int64_t step) {
    for (int64_t y = first; y < height; y += step) order.push_back(y);
  };
  if (!interlaced) {
    append(0, 1);
    return order;
  }
  append(0, 8);
  append(4, 8);
  append(2, 4);
  append(1, 2);
  return order;
}

Status ReadRows(const Gif& gif, const std::vector<GifColorType>& colors, RgbImage& canvas,
                std::string_view source_name) {
  const GifImageDesc& frame = gif->Image;
  std::vector<uint8_t> indices(frame.Width);
  for (const int64_t y : RowOrder(frame.Height, frame.Interlace)) {
    if (DGifGetLine(gif.get(), indices.data(), frame.Width) != GIF_OK) {
      return Refusal(gif, source_name);
    }
    Paint(indices, colors, canvas.row(frame.Top + y) + frame.Left * kRgbChannels);
  }
  return {};
}

}  // namespace

// The canvas grows to hold the first frame. Where that does not cover it, it has the colour of the
// transparent index, or of index 0: as in Pillow, which drops transparency and ignores the
// background.
Result<StoredImage> DecodeGif(std::span<const std::byte> bytes, std::string_view source_name,
                              const ImageLimits& limits) {
  int error = D_GIF_SUCCEEDED;
  Source source{bytes};
  const Gif gif(DGifOpen(&source, ReadBytes, &error));
  if (gif == nullptr) return InvalidData("{}: GIF header: the file ends too early", source_name);
  EXPERTILE_ASSIGN(const auto transparent, ReadToFirstFrame(gif, source_name));
  const GifImageDesc& frame = gif->Image;
  EXPERTILE_RETURN_IF_ERROR(CheckImageSize(frame.Height, frame.Width, source_name, limits));
  const int64_t height = std::max<int64_t>(gif->SHeight, int64_t{frame.Top} + frame.Height);
  const int64_t width = std::max<int64_t>(gif->SWidth, int64_t{frame.Left} + frame.Width);
  EXPERTILE_RETURN_IF_ERROR(CheckImageSize(height, width, source_name, limits));
  EXPERTILE_ASSIGN(RgbImage canvas, NewImage(height, width, source_name));
  const std::vector<GifColorType> colors = Colors(*gif);
  if (frame.Height < height || frame.Width < width) {
    const std::vector<uint8_t> blank(width, transparent.value_or(0));
    for (int64_t y = 0; y < height; ++y) Paint(blank, colors, canvas.row(y));
  }
  EXPERTILE_RETURN_IF_ERROR(ReadRows(gif, colors, canvas, source_name));
  return StoredImage{std::move(canvas)};
}

}  // namespace expertile
