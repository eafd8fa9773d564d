#include "benchmarks/routing_file.h"

#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "dispatch/routing_table.h"
#include "formats/json.h"
#include "formats/safetensors.h"

namespace expertile {
namespace {

// [T,K] with K known; ids that no int32 holds are -2, which no routing has.
struct Ids {
  std::vector<int32_t> values;
  int64_t width = 0;
};

template <typename T>
std::vector<int32_t> Copied(std::span<const std::byte> bytes) {
  std::vector<int32_t> ids(bytes.size() / sizeof(T));
  for (size_t i = 0; i < ids.size(); ++i) {
    T id;
    std::memcpy(&id, bytes.data() + i * sizeof(T), sizeof(T));
    ids[i] = std::in_range<int32_t>(id) ? static_cast<int32_t>(id) : -2;
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
      is_table = tokens[t][k].is_number_integer();
      if (!is_table) break;
      const auto id = tokens[t][k].get<int64_t>();
      ids.values.push_back(std::in_range<int32_t>(id) ? static_cast<int32_t>(id) : -2);
    }
  }
  if (is_table) return ids;
  return InvalidArgument("{}: expected a list of tokens' lists of expert ids, all of one length",
                         path.string());
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
  const RoutingTable table = {static_cast<int64_t>(ids.values.size()) / ids.width,
                              experts_per_token, ids.values};
  EXPERTILE_RETURN_IF_ERROR(CheckRoutingTable(table, num_experts));
  return std::move(ids.values);
}

}  // namespace expertile
