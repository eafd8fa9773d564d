#include "running/kv_file.h"

#include <algorithm>
#include <charconv>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/sha256.h"
#include "formats/safetensors_writer.h"

namespace expertile {
namespace {

constexpr const char* kFormatField = "format";
constexpr const char* kFormatName = "expertile-kv-cache";
constexpr const char* kChecksum = "checksum";

// A layer's keys or its values.
enum class KvPart { kKey, kValue };

std::string NameOf(KvPart part, size_t layer) {
  const char* name = part == KvPart::kKey ? "past_key." : "past_value.";
  return name + std::to_string(layer) + "_RetainedState";
}

StringMap MetadataOf(const KvHeader& header) {
  return {{kFormatField, kFormatName},
          {"version", std::to_string(kKvFileVersion)},
          {"model", header.model},
          {"kv_format", std::string(NameOf(header.kv_format))},
          {"ctx_len", std::to_string(header.ctx_len)},
          {"num_tokens", std::to_string(header.num_tokens)},
          {"rope_delta", std::to_string(header.rope_delta)}};
}

void HashMetadata(const StringMap& metadata, Sha256& hash) {
  for (const auto& [key, value] : metadata) {
    const std::string line = key + "=" + value + "\n";
    hash.Update(std::as_bytes(std::span(line)));
  }
}

// [kv_heads, num_tokens, bytes of an encoded row], in layer order, keys before values; then the
// checksum.
std::vector<TensorDeclaration> TensorsOf(const KvHeader& header, const DecoderSpec& spec,
                                         const KvCodec& codec) {
  std::vector<TensorDeclaration> tensors;
  for (size_t layer = 0; layer < spec.layers.size(); ++layer) {
    const int num_kv_heads = AttentionOf(spec.layers[layer]).num_kv_heads;
    for (const KvPart part : {KvPart::kKey, KvPart::kValue}) {
      const std::string name = NameOf(part, layer);
      tensors.push_back({name, codec.dtype(), {num_kv_heads, header.num_tokens, codec.head_dim()}});
      if (codec.row_scales() == 0) continue;
      tensors.push_back(
          {name + ".scales", DType::kU8, {num_kv_heads, header.num_tokens, codec.row_scales()}});
    }
  }
  tensors.push_back({kChecksum, DType::kU8, {64}});
  return tensors;
}

// A plane of rows [kv_heads, num_tokens, D], encoded: elements, and scales if the format has them.
struct EncodedPlane {
  std::vector<std::byte> elements;
  std::vector<std::byte> scales;

  EncodedPlane(const KvCodec& codec, int64_t num_rows)
      : elements(num_rows * codec.row_bytes()), scales(num_rows * codec.row_scales()) {}
};

Result<int64_t> ReadNumber(const StringMap& metadata, const std::string& key,
                           const std::filesystem::path& path) {
  const auto field = metadata.find(key);
  int64_t value = 0;
  if (field == metadata.end()) return InvalidData("{}: {}: missing", path.string(), key);
  const std::string& text = field->second;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size()) {
    return InvalidData("{}: {}: {}, expected a number", path.string(), key, OneLine(text));
  }
  return value;
}

std::string FieldOf(const StringMap& metadata, const std::string& key) {
  const auto field = metadata.find(key);
  return field == metadata.end() ? "" : field->second;
}

Result<KvHeader> ReadHeader(const StringMap& metadata, const KvHeader& expected,
                            const std::filesystem::path& path) {
  if (FieldOf(metadata, kFormatField) != kFormatName) {
    return InvalidData("{}: not a KV cache file: format: {}, expected {}", path.string(),
                       OneLine(FieldOf(metadata, kFormatField)), kFormatName);
  }
  EXPERTILE_ASSIGN(const int64_t version, ReadNumber(metadata, "version", path));
  if (version != kKvFileVersion) {
    return Unsupported("{}: version {}, this build reads {}", path.string(), version,
                       kKvFileVersion);
  }
  KvHeader header{FieldOf(metadata, "model"), expected.kv_format, 0, 0, 0};
  EXPERTILE_ASSIGN(header.ctx_len, ReadNumber(metadata, "ctx_len", path));
  EXPERTILE_ASSIGN(header.num_tokens, ReadNumber(metadata, "num_tokens", path));
  EXPERTILE_ASSIGN(const int64_t rope_delta, ReadNumber(metadata, "rope_delta", path));
  const auto refuse = [&](const char* what, const auto& theirs, const auto& ours) {
    return InvalidArgument("{}: {}: {}, the program has {}", path.string(), what, theirs, ours);
  };
  if (header.model != expected.model) {
    return refuse("model", OneLine(header.model), expected.model);
  }
  const std::string kv_format = FieldOf(metadata, "kv_format");
  if (kv_format != NameOf(expected.kv_format)) {
    return refuse("kv_format", OneLine(kv_format), NameOf(expected.kv_format));
  }
  if (header.ctx_len != expected.ctx_len)
    return refuse("ctx_len", header.ctx_len, expected.ctx_len);
  if (header.num_tokens < 1 || header.num_tokens > header.ctx_len || rope_delta > 0 ||
      rope_delta < -header.num_tokens) {
    return InvalidData("{}: num_tokens {} and rope_delta {} in a ctx_len of {}", path.string(),
                       header.num_tokens, rope_delta, header.ctx_len);
  }
  header.rope_delta = static_cast<int32_t>(rope_delta);
  return header;
}

// Every tensor is there with its shape, none beside them, and the checksum is right.
Status CheckTensors(const SafetensorsFile& file, const std::vector<TensorDeclaration>& expected,
                    const std::filesystem::path& path) {
  if (file.tensors().size() != expected.size()) {
    return InvalidData("{}: {} tensors, expected {}", path.string(), file.tensors().size(),
                       expected.size());
  }
  Sha256 hash;
  HashMetadata(file.metadata(), hash);
  for (const TensorDeclaration& tensor : expected) {
    const TensorView* found = file.Find(tensor.name);
    if (found == nullptr) return InvalidData("{}: {}: no such tensor", path.string(), tensor.name);
    if (found->dtype != tensor.dtype || found->shape != tensor.shape) {
      return InvalidData("{}: {}: shape {} of {}, expected {} of {}", path.string(), tensor.name,
                         ShapeText(found->shape), expertile::NameOf(found->dtype),
                         ShapeText(tensor.shape), expertile::NameOf(tensor.dtype));
    }
    if (tensor.name != kChecksum) hash.Update(found->bytes);
  }
  const auto stored = file.Find(kChecksum)->bytes;
  const std::string computed = hash.Hex();
  if (!std::ranges::equal(stored, std::as_bytes(std::span(computed)))) {
    return InvalidData("{}: checksum: {}, its bytes give {}", path.string(),
                       OneLine({reinterpret_cast<const char*>(stored.data()), stored.size()}),
                       computed);
  }
  return {};
}

}  // namespace

Status WriteKvFile(const std::filesystem::path& path, const KvHeader& header,
                   const DecoderSpec& spec, const TargetSession& session, int64_t sequence) {
  const AttentionSpec& attention = AttentionOf(spec.layers[0]);  // every layer's heads are alike
  const KvCodec codec(header.kv_format, attention.head_dim);
  const StringMap metadata = MetadataOf(header);
  EXPERTILE_ASSIGN(auto writer,
                   SafetensorsWriter::Create(path, TensorsOf(header, spec, codec), metadata));
  Sha256 hash;
  HashMetadata(metadata, hash);
  std::vector<float> key(attention.head_dim);
  std::vector<float> value(attention.head_dim);
  const int64_t num_rows = attention.num_kv_heads * header.num_tokens;
  for (size_t layer = 0; layer < spec.layers.size(); ++layer) {
    EncodedPlane keys(codec, num_rows);
    EncodedPlane values(codec, num_rows);
    for (int64_t row = 0; row < num_rows; ++row) {
      session.ReadKv({static_cast<int>(layer), sequence, static_cast<int>(row / header.num_tokens),
                      row % header.num_tokens},
                     key, value);
      codec.Encode(key, row, keys.elements, keys.scales);
      codec.Encode(value, row, values.elements, values.scales);
    }
    for (const auto* bytes : {&keys.elements, &keys.scales, &values.elements, &values.scales}) {
      hash.Update(*bytes);
      EXPERTILE_RETURN_IF_ERROR(writer.Append(*bytes));
    }
  }
  const std::string checksum = hash.Hex();
  EXPERTILE_RETURN_IF_ERROR(writer.Append(std::as_bytes(std::span(checksum))));
  return writer.Finish();
}

Result<KvHeader> ReadKvFile(const std::filesystem::path& path, const KvHeader& expected,
                            const DecoderSpec& spec, TargetSession& session, int64_t sequence) {
  EXPERTILE_ASSIGN(const SafetensorsFile file, SafetensorsFile::Open(path));
  EXPERTILE_ASSIGN(const KvHeader header, ReadHeader(file.metadata(), expected, path));
  const AttentionSpec& attention = AttentionOf(spec.layers[0]);  // every layer's heads are alike
  const KvCodec codec(header.kv_format, attention.head_dim);
  EXPERTILE_RETURN_IF_ERROR(CheckTensors(file, TensorsOf(header, spec, codec), path));
  std::vector<float> key(attention.head_dim);
  std::vector<float> value(attention.head_dim);
  const int64_t num_rows = attention.num_kv_heads * header.num_tokens;
  const auto bytes_of = [&](const std::string& name) {
    const TensorView* tensor = file.Find(name);
    return tensor != nullptr ? tensor->bytes : std::span<const std::byte>();
  };
  for (size_t layer = 0; layer < spec.layers.size(); ++layer) {
    const std::string key_name = NameOf(KvPart::kKey, layer);
    const std::string value_name = NameOf(KvPart::kValue, layer);
    for (int64_t row = 0; row < num_rows; ++row) {
      codec.Decode(bytes_of(key_name), bytes_of(key_name + ".scales"), row, key);
      codec.Decode(bytes_of(value_name), bytes_of(value_name + ".scales"), row, value);
      session.WriteKv({static_cast<int>(layer), sequence, static_cast<int>(row / header.num_tokens),
                       row % header.num_tokens},
                      key, value);
    }
  }
  return header;
}

}  // namespace expertile
