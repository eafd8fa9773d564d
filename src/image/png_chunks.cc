#include "image/png_chunks.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/error.h"

namespace expertile {
namespace {

constexpr size_t kSignatureSize = 8;
constexpr size_t kChunkHeaderSize = 8;  // length, type
constexpr size_t kCheckSumSize = 4;

std::string_view TextOf(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

uint32_t BigEndian32(std::span<const std::byte> bytes) {
  uint32_t value = 0;
  for (const std::byte byte : bytes.first(4)) value = value << 8 | std::to_integer<uint32_t>(byte);
  return value;
}

bool IsChunkType(std::string_view type) {
  return std::ranges::all_of(type, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

// The least sizes below which Pillow refuses a file, whatever it needs the chunk for.
constexpr std::pair<std::string_view, size_t> kLeastSizes[] = {
    {"IHDR", 13}, {"gAMA", 4}, {"cHRM", 32}, {"sRGB", 1}, {"pHYs", 9}, {"acTL", 8}, {"fcTL", 26}};

// Whether a colour profile says that it is compressed as all are: 0 after the name and its end.
bool HasKnownCompression(std::string_view profile) {
  const size_t name_end = profile.find('\0');
  const size_t method = name_end == profile.npos ? 0 : name_end + 1;
  return method < profile.size() && profile[method] == '\0';
}

class ChunkWalk {
 public:
  ChunkWalk(std::span<const std::byte> file, std::string_view source_name)
      : unread_(file.subspan(std::min(file.size(), kSignatureSize))), source_name_(source_name) {}

  Result<PngChunks> Run() {
    EXPERTILE_RETURN_IF_ERROR(ReadHead());
    ReadPixels();
    EXPERTILE_RETURN_IF_ERROR(ReadTail());
    return std::move(chunks_);
  }

 private:
  // Whether a chunk starts here; then `type` and `size` are what its header says.
  bool PeekHeader(std::string_view& type, size_t& size) const {
    if (unread_.size() < kChunkHeaderSize) return false;
    size = BigEndian32(unread_);
    type = TextOf(unread_.subspan(4, 4));
    return IsChunkType(type);
  }

  // The data of the chunk that starts here, as much of it as the file has; moves past it and its
  // check sum.
  std::span<const std::byte> Take(size_t size) {
    unread_ = unread_.subspan(kChunkHeaderSize);
    const auto data = unread_.first(std::min(size, unread_.size()));
    unread_ = unread_.subspan(std::min(data.size() + kCheckSumSize, unread_.size()));
    return data;
  }

  Status CheckSum(std::string_view type, std::span<const std::byte> data) const {
    const auto stored = std::span(data.data() + data.size(), kCheckSumSize);
    uLong sum = crc32(0, reinterpret_cast<const Bytef*>(type.data()), 4);
    sum = crc32_z(sum, reinterpret_cast<const Bytef*>(data.data()), data.size());
    if (sum == BigEndian32(stored)) return {};
    return InvalidData("{}: PNG chunk {}: check sum {:08x}, its data has {:08x}", source_name_,
                       type, BigEndian32(stored), sum);
  }

  // Everything before the first IDAT, which is left unread.
  Status ReadHead() {
    std::string_view type;
    size_t size = 0;
    while (PeekHeader(type, size)) {
      if (type == "IDAT") return {};
      if (type == "IEND") break;
      if (unread_.size() < kChunkHeaderSize + kCheckSumSize ||
          size > unread_.size() - kChunkHeaderSize - kCheckSumSize) {
        return InvalidData("{}: PNG chunk {} of {} bytes: the file ends too early", source_name_,
                           type, size);
      }
      const auto data = Take(size);
      EXPERTILE_RETURN_IF_ERROR(CheckSum(type, data));
      EXPERTILE_RETURN_IF_ERROR(Keep({type, data}));
    }
    return InvalidData("{}: PNG without pixels: no IDAT chunk", source_name_);
  }

  void ReadPixels() {
    std::string_view type;
    size_t size = 0;
    while (PeekHeader(type, size) && type == "IDAT") chunks_.pixels.push_back({type, Take(size)});
  }

  Status ReadTail() {
    std::string_view type;
    size_t size = 0;
    while (PeekHeader(type, size) && type != "IEND" && !(is_animated_ && type == "fcTL")) {
      const auto data = Take(size);
      if (data.size() < size) {
        return InvalidData("{}: PNG chunk {} of {} bytes: the file ends too early", source_name_,
                           type, size);
      }
      EXPERTILE_RETURN_IF_ERROR(Keep({type, data}));
    }
    return {};
  }

  Status Keep(const PngChunk& chunk) {
    for (const auto& [type, least_size] : kLeastSizes) {
      if (chunk.type == type && chunk.data.size() < least_size) {
        return InvalidData("{}: PNG chunk {} of {} bytes, at least {} expected", source_name_, type,
                           chunk.data.size(), least_size);
      }
    }
    const std::string_view text = TextOf(chunk.data);
    if (chunk.type == "iCCP" && !HasKnownCompression(text)) {
      return InvalidData("{}: PNG chunk iCCP: unknown compression", source_name_);
    }
    const bool is_text = chunk.type == "tEXt" || chunk.type == "zTXt" || chunk.type == "iTXt";
    const std::string_view keyword = text.substr(0, text.find('\0'));
    if (chunk.type == "IHDR" || chunk.type == "PLTE") chunks_.pixels.push_back(chunk);
    if (chunk.type == "acTL") is_animated_ = BigEndian32(chunk.data) > 1;
    if (chunk.type == "eXIf") chunks_.exif = chunk.data;
    if (is_text && (keyword == kPngXmpKeyword || keyword == kPngExifKeyword)) {
      chunks_.texts.push_back(chunk);
    }
    return {};
  }

  std::span<const std::byte> unread_;
  std::string_view source_name_;
  bool is_animated_ = false;  // then the next frame ends the first
  PngChunks chunks_;
};

}  // namespace

Result<PngChunks> FindPngChunks(std::span<const std::byte> file, std::string_view source_name) {
  return ChunkWalk(file, source_name).Run();
}

}  // namespace expertile
