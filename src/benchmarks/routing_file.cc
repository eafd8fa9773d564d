#include "benchmarks/routing_file.h"

#include <charconv>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "dispatch/routing_table.h"
#include "formats/json.h"
#include "formats/safetensors.h"

namespace expertile {
namespace {

// [T,K] with K known, as they stand in the file.
struct Ids {
  std::vector<int64_t> values;
  int64_t width = 0;
};

template <typename T>
std::vector<int64_t> Copied(std::span<const std::byte> bytes) {
  std::vector<int64_t> ids(bytes.size() / sizeof(T));
  for (size_t i = 0; i < ids.size(); ++i) {
    T id;
    std::memcpy(&id, bytes.data() + i * sizeof(T), sizeof(T));
    ids[i] = id;
  }
  return ids;
}

// The number in "layer.<i>.topk_ids"; none for another name.
std::optional<int> LayerOf(std::string_view name) {
  constexpr std::string_view kBefore = "layer.";
  constexpr std::string_view kAfter = ".topk_ids";
  if (!name.starts_with(kBefore) || !name.ends_with(kAfter)) return std::nullopt;
  name.remove_prefix(kBefore.size());
  int layer = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  if (error != std::errc{} || std::string_view(end, name.data() + name.size()) != kAfter) {
    return std::nullopt;
  }
  return layer;
}

const TensorView* FindIds(const SafetensorsFile& file, std::optional<int> layer) {
  if (layer) return file.Find("layer." + std::to_string(*layer) + ".topk_ids");
  if (const TensorView* ids = file.Find("topk_ids")) return ids;
  const TensorView* first = nullptr;
  for (const auto& [name, tensor] : file.tensors()) {
    const std::optional<int> number = LayerOf(name);
    if (!number || (layer && *layer <= *number)) continue;
    layer = number;
    first = &tensor;
  }
  return first;
}

Result<Ids> ReadTensor(const std::filesystem::path& path, std::optional<int> layer) {
  EXPERTILE_ASSIGN(const SafetensorsFile file, SafetensorsFile::Open(path));
  const TensorView* ids = FindIds(file, layer);
  if (ids == nullptr) {
    return InvalidArgument("{}: no topk_ids{}", path.string(),
                           layer ? fmt::format(" of layer {}", *layer) : "");
  }
  const bool is_int = ids->dtype == DType::kI32 || ids->dtype == DType::kI64;
  if (!is_int || ids->shape.size() != 2) {
    return InvalidArgument("{}: topk_ids: expected int32 or int64 of shape [T,K]", path.string());
  }
  return Ids{ids->dtype == DType::kI32 ? Copied<int32_t>(ids->bytes) : Copied<int64_t>(ids->bytes),
             ids->shape[1]};
}

Result<Ids> ReadJson(const std::filesystem::path& path) {
  EXPERTILE_ASSIGN(const std::string text, ReadTextFile(path));
  EXPERTILE_ASSIGN(const nlohmann::json tokens, ParseJson(text, path.string()));
  Ids ids;
  if (tokens.is_array() && !tokens.empty()) ids.width = static_cast<int64_t>(tokens[0].size());
  bool is_table = ids.width > 0;
  for (size_t t = 0; is_table && t < tokens.size(); ++t) {
    is_table = tokens[t].is_array() && static_cast<int64_t>(tokens[t].size()) == ids.width;
    for (size_t k = 0; is_table && k < tokens[t].size(); ++k) {
      const nlohmann::json& id = tokens[t][k];
      is_table = id.is_number_integer();
      if (!is_table) break;
      const bool is_too_large =
          id.is_number_unsigned() && !std::in_range<int64_t>(id.get<uint64_t>());
      ids.values.push_back(is_too_large ? std::numeric_limits<int64_t>::max() : id.get<int64_t>());
    }
  }
  if (is_table) return ids;
  return InvalidArgument("{}: expected a list of tokens' lists of expert ids, all of one length",
                         path.string());
}

// What a router gives: K distinct experts a token, or padding.
Result<std::vector<int32_t>> CheckedIds(const Ids& ids, int num_experts) {
  std::vector<int32_t> checked;
  std::vector<int64_t> last_token(static_cast<size_t>(num_experts), -1);  // that chose each expert
  for (size_t i = 0; i < ids.values.size(); ++i) {
    const int64_t id = ids.values[i];
    const int64_t token = static_cast<int64_t>(i) / ids.width;
    if (id != kNoExpert && (id < 0 || id >= num_experts)) {
      return InvalidArgument("token {}: expert {}, expected 0 to {}", token, id, num_experts - 1);
    }
    checked.push_back(static_cast<int32_t>(id));
    if (id == kNoExpert) continue;
    if (std::exchange(last_token[static_cast<size_t>(id)], token) == token) {
      return InvalidArgument("token {}: expert {} twice", token, id);
    }
  }
  EXPERTILE_RETURN_IF_ERROR(CheckRoutingTable(
      {static_cast<int64_t>(checked.size()) / ids.width, static_cast<int>(ids.width), checked},
      num_experts));
  return checked;
}

}  // namespace

Result<std::vector<int32_t>> ReadRouting(const std::filesystem::path& file,
                                         std::optional<int> layer, int experts_per_token,
                                         int num_experts) {
  const bool is_json = file.extension() == ".json";
  EXPERTILE_ASSIGN(Ids ids, is_json ? ReadJson(file) : ReadTensor(file, layer));
  if (ids.width != experts_per_token || ids.values.empty()) {
    return InvalidArgument("{}: {} ids, {} of a token, expected {} of each", file.string(),
                           ids.values.size(), ids.width, experts_per_token);
  }
  auto checked = CheckedIds(ids, num_experts);
  if (!checked) {
    return InvalidArgument("routing in {}: {}", file.string(), checked.error().message);
  }
  return checked;
}

}  // namespace expertile
