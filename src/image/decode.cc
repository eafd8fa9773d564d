#include "image/decode.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "image/file_decoders.h"

namespace expertile {
namespace {

constexpr std::string_view kPngSignature = "\x89PNG\r\n\x1a\n";
constexpr std::string_view kJpegSignature = "\xff\xd8\xff";

bool StartsWith(std::span<const std::byte> bytes, std::string_view signature) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return text.starts_with(signature);
}

std::string FirstBytes(std::span<const std::byte> bytes) {
  return fmt::format("{:02x}", fmt::join(bytes.first(std::min<size_t>(bytes.size(), 8)), " "));
}

Result<StoredImage> DecodeStored(std::span<const std::byte> bytes, std::string_view source_name,
                                 const ImageLimits& limits) {
  if (StartsWith(bytes, kPngSignature)) return DecodePng(bytes, source_name, limits);
  if (StartsWith(bytes, kJpegSignature)) return DecodeJpeg(bytes, source_name, limits);
  return Unsupported("{}: neither PNG nor JPEG; {} bytes that begin [{}]", source_name,
                     bytes.size(), FirstBytes(bytes));
}

}  // namespace

Status CheckImageSize(int64_t height, int64_t width, std::string_view source_name,
                      const ImageLimits& limits) {
  if (height < 1 || width < 1) {
    return InvalidData("{}: image of {}x{} pixels is empty", source_name, width, height);
  }
  if (std::max(height, width) > limits.max_side) {
    return InvalidArgument("{}: image of {}x{} pixels, at most {} a side are read", source_name,
                           width, height, limits.max_side);
  }
  if (height * width > limits.max_pixels) {
    return InvalidArgument("{}: image of {}x{} = {} pixels, at most {} are read", source_name,
                           width, height, height * width, limits.max_pixels);
  }
  return {};
}

Result<RgbImage> DecodeImage(std::span<const std::byte> bytes, std::string_view source_name,
                             const ImageLimits& limits) {
  EXPERTILE_ASSIGN(auto stored, DecodeStored(bytes, source_name, limits));
  return TurnUpright(std::move(stored.image), stored.orientation);
}

Result<RgbImage> LoadImage(const std::filesystem::path& path, const ImageLimits& limits) {
  EXPERTILE_ASSIGN(const auto file, MappedFile::Open(path));
  return DecodeImage(file.bytes(), path.string(), limits);
}

}  // namespace expertile
