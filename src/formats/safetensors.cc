#include "formats/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/error.h"
#include "formats/json.h"

namespace expertile {
namespace {

using Bytes = std::span<const std::byte>;

constexpr size_t kHeaderStart = sizeof(uint64_t);
constexpr size_t kMaxRank = 64;  // our own bound, NumPy's too: a shape fits in an error message
constexpr Bounds<int64_t> kNotNegative = {0, std::numeric_limits<int64_t>::max()};

struct FileParts {
  std::string_view header;
  Bytes data;
};

Result<FileParts> SplitFile(Bytes bytes, std::string_view source) {
  if (bytes.size() < kHeaderStart) {
    return InvalidData("{}: {} bytes, too short for a safetensors file (at least {})", source,
                       bytes.size(), kHeaderStart);
  }
  uint64_t header_size = 0;
  for (size_t i = kHeaderStart; i-- > 0;) {
    header_size = header_size << 8 | std::to_integer<uint64_t>(bytes[i]);
  }
  if (header_size > kMaxSafetensorsHeaderSize) {
    return InvalidData("{}: not a safetensors file: header of {} bytes, at most {} allowed", source,
                       header_size, kMaxSafetensorsHeaderSize);
  }
  if (header_size > bytes.size() - kHeaderStart) {
    return InvalidData("{}: truncated: header of {} bytes, but only {} bytes follow its size",
                       source, header_size, bytes.size() - kHeaderStart);
  }
  const auto* header = reinterpret_cast<const char*>(bytes.data()) + kHeaderStart;
  if (header_size == 0 || header[0] != '{') {
    return InvalidData("{}: header of {} bytes does not begin with {{", source, header_size);
  }
  return FileParts{{header, header_size}, bytes.subspan(kHeaderStart + header_size)};
}

// The part of the data that one tensor says is its own.
Result<Bytes> SliceData(Bytes data, const std::vector<int64_t>& offsets, std::string_view name) {
  if (offsets.size() != 2) {
    return InvalidData("{}: data_offsets of {} numbers, expected 2", name, offsets.size());
  }
  const auto begin = static_cast<uint64_t>(offsets[0]);
  const auto end = static_cast<uint64_t>(offsets[1]);
  if (begin > end) {
    return InvalidData("{}: data_offsets [{},{}] end before they begin", name, begin, end);
  }
  if (end > data.size()) {
    return InvalidData(
        "{}: data_offsets [{},{}] reach beyond the {} bytes of data in the file, which was not "
        "written or downloaded whole",
        name, begin, end, data.size());
  }
  return data.subspan(begin, end - begin);
}

// That a tensor's part of the data is as long as its dtype and shape say.
Status CheckByteSize(const TensorView& tensor, const std::vector<int64_t>& offsets,
                     std::string_view name) {
  const std::optional<int64_t> size = CheckedByteSize(tensor.dtype, tensor.shape);
  if (!size) {
    return InvalidData("{}: shape {} of {} overflows 64 bits", name, ShapeText(tensor.shape),
                       NameOf(tensor.dtype));
  }
  if (tensor.bytes.size() != static_cast<uint64_t>(*size)) {
    return InvalidData("{}: data_offsets [{},{}] hold {} bytes, but shape {} of {} has {}", name,
                       offsets[0], offsets[1], tensor.bytes.size(), ShapeText(tensor.shape),
                       NameOf(tensor.dtype), *size);
  }
  return {};
}

// Adds one tensor of the header to `tensors`, or to `unreadable` if its dtype is none of ours.
Status ReadTensor(const JsonObject& header, const std::string& key, Bytes data,
                  std::string_view header_source, TensorMap& tensors, UnreadableMap& unreadable) {
  const std::string name = fmt::format("{}: {}", header_source, OneLine(key));
  EXPERTILE_ASSIGN(const JsonObject info, header.GetObject(key));
  for (const std::string_view field : {"shape", "data_offsets"}) {
    if (!info.Has(field)) return InvalidData("{}.{}: missing", name, field);
  }
  EXPERTILE_ASSIGN(std::string spelling, info.GetString("dtype"));
  TensorView tensor;
  EXPERTILE_ASSIGN(tensor.shape, info.GetIntList("shape", kNotNegative));
  if (tensor.shape.size() > kMaxRank) {
    return InvalidData("{}: shape of {} dimensions, at most {} allowed", name, tensor.shape.size(),
                       kMaxRank);
  }
  EXPERTILE_ASSIGN(const std::vector<int64_t> offsets,
                   info.GetIntList("data_offsets", kNotNegative));
  EXPERTILE_ASSIGN(tensor.bytes, SliceData(data, offsets, name));
  const std::optional<DType> dtype = DTypeFromName(spelling);
  if (!dtype) {
    unreadable.emplace(key, UnreadableTensor{std::move(spelling), tensor.bytes});
    return {};
  }
  tensor.dtype = *dtype;
  EXPERTILE_RETURN_IF_ERROR(CheckByteSize(tensor, offsets, name));
  tensors.emplace(key, std::move(tensor));
  return {};
}

Result<StringMap> ReadMetadata(const JsonObject& header) {
  StringMap metadata;
  if (!header.Has(kSafetensorsMetadataKey)) return metadata;
  EXPERTILE_ASSIGN(const JsonObject fields, header.GetObject(kSafetensorsMetadataKey));
  for (const std::string& key : fields.Keys()) {
    EXPERTILE_ASSIGN(metadata[key], fields.GetString(key));
  }
  return metadata;
}

// In the order of their offsets, each tensor must begin where the one before it ends, and the last
// must end with the data. (Holes could hide anything, and overlaps make a small file look huge.)
Status CheckCover(const TensorMap& tensors, const UnreadableMap& unreadable, Bytes data,
                  std::string_view source) {
  struct Extent {
    size_t begin;
    size_t end;
    const std::string* name;
  };
  std::vector<Extent> extents;
  const auto add = [&](const std::string& name, Bytes bytes) {
    const auto begin = static_cast<size_t>(bytes.data() - data.data());
    extents.push_back({begin, begin + bytes.size(), &name});
  };
  for (const auto& [name, tensor] : tensors) add(name, tensor.bytes);
  for (const auto& [name, tensor] : unreadable) add(name, tensor.bytes);
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  Extent last = {0, 0, nullptr};
  for (const Extent& extent : extents) {
    if (extent.begin < last.end) {
      return InvalidData("{}: {}: data_offsets [{},{}] overlap those of {}: [{},{}]", source,
                         OneLine(*extent.name), extent.begin, extent.end, OneLine(*last.name),
                         last.begin, last.end);
    }
    if (extent.begin > last.end) {
      return InvalidData("{}: {}: data_offsets [{},{}] leave a hole after byte {}", source,
                         OneLine(*extent.name), extent.begin, extent.end, last.end);
    }
    last = extent;
  }
  if (last.end != data.size()) {
    return InvalidData("{}: {} bytes of data, but the tensors end at {}", source, data.size(),
                       last.end);
  }
  return {};
}

}  // namespace

Result<SafetensorsFile> SafetensorsFile::Parse(Bytes bytes, std::string_view source) {
  EXPERTILE_ASSIGN(const FileParts parts, SplitFile(bytes, source));
  const std::string header_source = fmt::format("{}: header", source);
  EXPERTILE_ASSIGN(const JsonObject header, JsonObject::Parse(parts.header, header_source));
  SafetensorsFile file;
  EXPERTILE_ASSIGN(file.metadata_, ReadMetadata(header));
  for (const std::string& name : header.Keys()) {
    if (name == kSafetensorsMetadataKey) continue;
    EXPERTILE_RETURN_IF_ERROR(
        ReadTensor(header, name, parts.data, header_source, file.tensors_, file.unreadable_));
  }
  EXPERTILE_RETURN_IF_ERROR(CheckCover(file.tensors_, file.unreadable_, parts.data, header_source));
  return file;
}

Result<SafetensorsFile> SafetensorsFile::Open(const std::filesystem::path& path) {
  EXPERTILE_ASSIGN(MappedFile mapped, MappedFile::Open(path));
  EXPERTILE_ASSIGN(SafetensorsFile file, Parse(mapped.bytes(), path.string()));
  file.file_ = std::move(mapped);
  return file;
}

tl::unexpected<Error> CannotRead(std::string_view name, const UnreadableTensor& tensor) {
  std::vector<std::string_view> known;
  for (const DTypeRow& row : kDTypes) known.push_back(row.name);
  return Unsupported("{}: dtype {}, expected one of {}", OneLine(name), OneLine(tensor.dtype),
                     fmt::join(known, ", "));
}

const UnreadableTensor* SafetensorsFile::FindUnreadable(std::string_view name) const {
  const auto tensor = unreadable_.find(name);
  return tensor == unreadable_.end() ? nullptr : &tensor->second;
}

const TensorView* SafetensorsFile::Find(std::string_view name) const {
  const auto tensor = tensors_.find(name);
  return tensor == tensors_.end() ? nullptr : &tensor->second;
}

}  // namespace expertile
