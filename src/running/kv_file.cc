#include "running/kv_file.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/sha256.h"
#include "formats/safetensors_writer.h"
#include "running/sequences.h"

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

constexpr const char* kNextDeltas = "next_deltas";
constexpr std::string_view kStatePrefix = "state.";

// The kind of a layer's state: what its mixer keeps of a sequence.
std::string KindOf(const MixerSpec&) { return "key_value"; }

StringMap MetadataOf(const KvHeader& header, int version, const DecoderSpec& spec) {
  StringMap metadata{{kFormatField, kFormatName},
                     {"version", std::to_string(version)},
                     {"model", header.model},
                     {"kv_format", std::string(NameOf(header.kv_format))},
                     {"ctx_len", std::to_string(header.ctx_len)},
                     {"num_tokens", std::to_string(header.num_tokens)},
                     {"rope_delta", std::to_string(header.rope_delta)}};
  if (version == 1) return metadata;
  for (size_t layer = 0; layer < spec.layers.size(); ++layer) {
    metadata[fmt::format("{}layers.{}", kStatePrefix, layer)] = KindOf(spec.layers[layer].mixer);
  }
  return metadata;
}

void HashMetadata(const StringMap& metadata, Sha256& hash) {
  for (const auto& [key, value] : metadata) {
    const std::string line = key + "=" + value + "\n";
    hash.Update(std::as_bytes(std::span(line)));
  }
}

KvCodec CodecOf(const KvHeader& header, const AttentionSpec& attention) {
  return KvCodec(header.kv_format, attention.head_dim);
}

// Layer by layer, keys before values; then what belongs to no layer, and the checksum.
std::vector<TensorDeclaration> TensorsOf(const KvHeader& header, int version,
                                         const DecoderSpec& spec) {
  std::vector<TensorDeclaration> tensors;
  for (size_t layer = 0; layer < spec.layers.size(); ++layer) {
    const AttentionSpec& attention = AttentionOf(spec.layers[layer]);
    const KvCodec codec = CodecOf(header, attention);
    const auto plane = [&](int64_t width) -> std::vector<int64_t> {
      return {attention.num_kv_heads, header.num_tokens, width};
    };
    for (const KvPart part : {KvPart::kKey, KvPart::kValue}) {
      const std::string name = NameOf(part, layer);
      tensors.push_back({name, codec.dtype(), plane(codec.head_dim())});
      if (codec.row_scales() == 0) continue;
      tensors.push_back({name + ".scales", DType::kU8, plane(codec.row_scales())});
    }
  }
  if (version > 1) tensors.push_back({kNextDeltas, DType::kI32, {header.num_tokens}});
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

Result<int> ReadVersion(const StringMap& metadata, const std::filesystem::path& path) {
  if (FieldOf(metadata, kFormatField) != kFormatName) {
    return InvalidData("{}: not a KV cache file: format: {}, expected {}", path.string(),
                       OneLine(FieldOf(metadata, kFormatField)), kFormatName);
  }
  EXPERTILE_ASSIGN(const int64_t version, ReadNumber(metadata, "version", path));
  if (version < 1 || version > kKvFileVersion) {
    return Unsupported("{}: version {}, this build reads 1 to {}", path.string(), version,
                       kKvFileVersion);
  }
  return static_cast<int>(version);
}

// Every layer's state is there, of the kind that the model's layer has, and no other.
Status CheckStates(const StringMap& metadata, const DecoderSpec& spec,
                   const std::filesystem::path& path) {
  size_t num_states = 0;
  for (const auto& [key, kind] : metadata) num_states += key.starts_with(kStatePrefix) ? 1 : 0;
  if (num_states != spec.layers.size()) {
    return InvalidData("{}: {} states, the model has {}", path.string(), num_states,
                       spec.layers.size());
  }
  for (size_t layer = 0; layer < spec.layers.size(); ++layer) {
    const std::string name = fmt::format("{}layers.{}", kStatePrefix, layer);
    const std::string kind = FieldOf(metadata, name);
    if (kind == KindOf(spec.layers[layer].mixer)) continue;
    return Unsupported("{}: {}: {}, the model has {}", path.string(), name, OneLine(kind),
                       KindOf(spec.layers[layer].mixer));
  }
  return {};
}

Result<KvHeader> ReadHeader(const StringMap& metadata, const KvHeader& expected,
                            const std::filesystem::path& path) {
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
  const size_t num_tensors = file.tensors().size() + file.unreadable().size();
  if (num_tensors != expected.size()) {
    return InvalidData("{}: {} tensors, expected {}", path.string(), num_tensors, expected.size());
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

// RoPE's way through the positions. Version 1 knows it at the end alone, unless there are no
// images.
Result<std::vector<int32_t>> NextDeltasOf(const SafetensorsFile& file, const KvHeader& header,
                                          const std::filesystem::path& path) {
  const TensorView* tensor = file.Find(kNextDeltas);
  std::vector<int32_t> deltas(header.num_tokens, header.rope_delta == 0 ? 0 : Sequences::kNoDelta);
  deltas.back() = header.rope_delta;
  if (tensor == nullptr) return deltas;
  std::memcpy(deltas.data(), tensor->bytes.data(), tensor->bytes.size());
  for (int64_t p = 0; p < header.num_tokens; ++p) {
    if (deltas[p] != Sequences::kNoDelta && (deltas[p] > 0 || deltas[p] < -p - 1)) {
      return InvalidData("{}: {}: {} at position {}", path.string(), kNextDeltas, deltas[p], p);
    }
  }
  if (deltas.back() == header.rope_delta) return deltas;
  return InvalidData("{}: {}: {} in the end, rope_delta is {}", path.string(), kNextDeltas,
                     deltas.back(), header.rope_delta);
}

}  // namespace

Status WriteKvFile(const std::filesystem::path& path, const KvHeader& header,
                   const DecoderSpec& spec, TargetSession& session, BlockTable blocks,
                   std::span<const int32_t> next_deltas) {
  const StringMap metadata = MetadataOf(header, kKvFileVersion, spec);
  EXPERTILE_ASSIGN(auto writer, SafetensorsWriter::Create(
                                    path, TensorsOf(header, kKvFileVersion, spec), metadata));
  Sha256 hash;
  HashMetadata(metadata, hash);
  const auto append = [&](std::span<const std::byte> bytes) {
    hash.Update(bytes);
    return writer.Append(bytes);
  };
  for (size_t layer = 0; layer < spec.layers.size(); ++layer) {
    const AttentionSpec& attention = AttentionOf(spec.layers[layer]);
    const KvCodec codec = CodecOf(header, attention);
    const int64_t num_rows = attention.num_kv_heads * header.num_tokens;
    std::vector<float> keys(num_rows * attention.head_dim);
    std::vector<float> values(keys.size());
    EXPERTILE_RETURN_IF_ERROR(
        session.ReadKv(static_cast<int>(layer), blocks, header.num_tokens, keys, values));
    for (const std::vector<float>* rows : {&keys, &values}) {
      EncodedPlane plane(codec, num_rows);
      for (int64_t row = 0; row < num_rows; ++row) {
        const auto values_of_row =
            std::span(*rows).subspan(row * attention.head_dim, attention.head_dim);
        codec.Encode(values_of_row, row, plane.elements, plane.scales);
      }
      EXPERTILE_RETURN_IF_ERROR(append(plane.elements));
      EXPERTILE_RETURN_IF_ERROR(append(plane.scales));
    }
  }
  EXPERTILE_RETURN_IF_ERROR(append(std::as_bytes(next_deltas)));
  const std::string checksum = hash.Hex();
  EXPERTILE_RETURN_IF_ERROR(writer.Append(std::as_bytes(std::span(checksum))));
  return writer.Finish();
}

Result<KvFile> KvFile::Open(const std::filesystem::path& path, const KvHeader& expected,
                            const DecoderSpec& spec) {
  EXPERTILE_ASSIGN(SafetensorsFile file, SafetensorsFile::Open(path));
  EXPERTILE_ASSIGN(const int version, ReadVersion(file.metadata(), path));
  EXPERTILE_ASSIGN(KvHeader header, ReadHeader(file.metadata(), expected, path));
  if (version > 1) EXPERTILE_RETURN_IF_ERROR(CheckStates(file.metadata(), spec, path));
  EXPERTILE_RETURN_IF_ERROR(CheckTensors(file, TensorsOf(header, version, spec), path));
  EXPERTILE_ASSIGN(auto next_deltas, NextDeltasOf(file, header, path));
  KvFile opened(std::move(file), std::move(header), spec);
  opened.next_deltas_ = std::move(next_deltas);
  return opened;
}

Status KvFile::ReadInto(TargetSession& session, BlockTable blocks) const {
  const auto bytes_of = [&](const std::string& name) {
    const TensorView* tensor = file_.Find(name);
    return tensor != nullptr ? tensor->bytes : std::span<const std::byte>();
  };
  for (size_t layer = 0; layer < spec_.layers.size(); ++layer) {
    const AttentionSpec& attention = AttentionOf(spec_.layers[layer]);
    const KvCodec codec = CodecOf(header_, attention);
    const int64_t num_rows = attention.num_kv_heads * header_.num_tokens;
    const auto decoded = [&](KvPart part) {
      const std::string name = NameOf(part, layer);
      std::vector<float> rows(num_rows * attention.head_dim);
      for (int64_t row = 0; row < num_rows; ++row) {
        codec.Decode(bytes_of(name), bytes_of(name + ".scales"), row,
                     std::span(rows).subspan(row * attention.head_dim, attention.head_dim));
      }
      return rows;
    };
    EXPERTILE_RETURN_IF_ERROR(session.WriteKv(static_cast<int>(layer), blocks, header_.num_tokens,
                                              decoded(KvPart::kKey), decoded(KvPart::kValue)));
  }
  return {};
}

}  // namespace expertile
