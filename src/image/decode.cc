#include "image/decode.h"

#include <new>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "image/file_decoders.h"
#include "image/file_kind.h"

namespace expertile {

Status CheckImageSize(int64_t height, int64_t width, std::string_view source_name,
                      const ImageLimits& limits) {
  if (height < 1 || width < 1) {
    return InvalidData("{}: image of {}x{} pixels is empty", source_name, width, height);
  }
  const uint64_t num_pixels = static_cast<uint64_t>(height) * static_cast<uint64_t>(width);
  if (num_pixels > static_cast<uint64_t>(limits.max_pixels)) {
    return InvalidArgument("{}: image of {}x{} = {} pixels, at most {} are read", source_name,
                           width, height, num_pixels, limits.max_pixels);
  }
  return {};
}

Result<RgbImage> NewImage(int64_t height, int64_t width, std::string_view source_name) {
  try {
    return BlackImage(height, width);
  } catch (const std::bad_alloc&) {
    return Fail(ErrorCode::kOutOfMemory, "{}: no memory for an image of {}x{} pixels", source_name,
                width, height);
  }
}

Result<StoredImage> DecodeImage(std::span<const std::byte> bytes, std::string_view source_name,
                                const ImageLimits& limits) {
  switch (ImageFileKindOf(bytes)) {
    case ImageFileKind::kPng:
      return DecodePng(bytes, source_name, limits);
    case ImageFileKind::kJpeg:
      return DecodeJpeg(bytes, source_name, limits);
    case ImageFileKind::kWebp:
      return DecodeWebp(bytes, source_name, limits);
    case ImageFileKind::kGif:
      return DecodeGif(bytes, source_name, limits);
    case ImageFileKind::kBmp:
      return DecodeBmp(bytes, source_name, limits);
    case ImageFileKind::kOther:
      break;
  }
  return Unsupported("{}: {}", source_name, DescribeOtherFile(bytes));
}

Result<StoredImage> LoadImage(const std::filesystem::path& path, const ImageLimits& limits) {
  EXPERTILE_ASSIGN(const auto file, MappedFile::Open(path));
  return DecodeImage(file.bytes(), path.string(), limits);
}

}  // namespace expertile
