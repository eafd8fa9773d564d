#include "formats/safetensors_writer.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"

namespace expertile {
namespace {

constexpr size_t kDataAlignment = 8;

struct Header {
  std::string text;  // padded with spaces, as the format allows
  int64_t data_size = 0;
};

// nlohmann refuses text that is not UTF-8 by throwing, and has no other way.
Result<std::string> Serialize(const nlohmann::json& header, std::string_view path) {
  try {
    return header.dump();
  } catch (const nlohmann::json::exception&) {
    return InvalidArgument("{}: a tensor name or metadata string is not UTF-8", path);
  }
}

Result<int64_t> DeclaredSize(const TensorDeclaration& tensor, std::string_view path) {
  const std::optional<int64_t> size = CheckedByteSize(tensor.dtype, tensor.shape);
  if (size) return *size;
  return InvalidArgument("{}: {}: shape {} of {} is negative or overflows 64 bits", path,
                         OneLine(tensor.name), ShapeText(tensor.shape), NameOf(tensor.dtype));
}

Result<Header> MakeHeader(std::span<const TensorDeclaration> tensors, const StringMap& metadata,
                          std::string_view path) {
  Header header;
  auto fields = nlohmann::json::object();
  if (!metadata.empty()) fields[std::string(kSafetensorsMetadataKey)] = metadata;
  for (const TensorDeclaration& tensor : tensors) {
    if (tensor.name.empty() || tensor.name == kSafetensorsMetadataKey) {
      return InvalidArgument("{}: \"{}\" cannot name a tensor", path, tensor.name);
    }
    EXPERTILE_ASSIGN(const int64_t size, DeclaredSize(tensor, path));
    const int64_t begin = header.data_size;
    if (__builtin_add_overflow(begin, size, &header.data_size)) {
      return InvalidArgument("{}: {}: the sizes up to this tensor overflow 64 bits", path,
                             OneLine(tensor.name));
    }
    nlohmann::json info = {{"dtype", NameOf(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {begin, header.data_size}}};
    if (!fields.emplace(tensor.name, std::move(info)).second) {
      return InvalidArgument("{}: {}: declared twice", path, OneLine(tensor.name));
    }
  }
  EXPERTILE_ASSIGN(header.text, Serialize(fields, path));
  header.text.append((kDataAlignment - header.text.size() % kDataAlignment) % kDataAlignment, ' ');
  if (header.text.size() > kMaxSafetensorsHeaderSize) {
    return InvalidArgument("{}: header of {} bytes, at most {} allowed", path, header.text.size(),
                           kMaxSafetensorsHeaderSize);
  }
  return header;
}

std::string LittleEndian(uint64_t value) {
  std::string bytes;
  for (int shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(value >> shift);
  return bytes;
}

}  // namespace

Result<SafetensorsWriter> SafetensorsWriter::Create(const std::filesystem::path& path,
                                                    std::span<const TensorDeclaration> tensors,
                                                    const StringMap& metadata) {
  EXPERTILE_ASSIGN(const Header header, MakeHeader(tensors, metadata, path.string()));
  EXPERTILE_ASSIGN(AtomicFile file, AtomicFile::Create(path));
  EXPERTILE_RETURN_IF_ERROR(file.Append(LittleEndian(header.text.size())));
  EXPERTILE_RETURN_IF_ERROR(file.Append(header.text));
  return SafetensorsWriter(std::move(file), path.string(), static_cast<uint64_t>(header.data_size));
}

Status SafetensorsWriter::Append(std::span<const std::byte> bytes) {
  if (bytes.size() > declared_size_ - written_size_) {
    return InvalidArgument("{}: {} bytes of data appended, but {} were declared", path_,
                           written_size_ + bytes.size(), declared_size_);
  }
  EXPERTILE_RETURN_IF_ERROR(file_.Append(bytes));
  written_size_ += bytes.size();
  return {};
}

Status SafetensorsWriter::Finish() {
  if (written_size_ != declared_size_) {
    return InvalidArgument("{}: {} bytes of data written, but {} were declared", path_,
                           written_size_, declared_size_);
  }
  return file_.Commit();
}

Status WriteSafetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                        const StringMap& metadata) {
  std::vector<TensorDeclaration> declarations;
  for (const auto& [name, tensor] : tensors) {
    declarations.push_back({name, tensor.dtype, tensor.shape});
  }
  EXPERTILE_ASSIGN(auto writer, SafetensorsWriter::Create(path, declarations, metadata));
  for (const auto& [name, tensor] : tensors) {
    const std::optional<int64_t> size = CheckedByteSize(tensor.dtype, tensor.shape);
    if (size != static_cast<int64_t>(tensor.bytes.size())) {
      return InvalidArgument("{}: {}: {} bytes for shape {} of {}", path.string(), OneLine(name),
                             tensor.bytes.size(), ShapeText(tensor.shape), NameOf(tensor.dtype));
    }
    EXPERTILE_RETURN_IF_ERROR(writer.Append(tensor.bytes));
  }
  return writer.Finish();
}

}  // namespace expertile
