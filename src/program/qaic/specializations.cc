#include "program/qaic/specializations.h"

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace expertile::qaic {
namespace {

// No dimension of a graph is larger; products of four stay within int64_t.
constexpr int64_t kMaxSize = 1 << 15;
constexpr int64_t kMaxLength = int64_t{1} << 31;

Status CheckSize(std::string_view option, int64_t size, int64_t max) {
  if (size >= 1 && size <= max) return {};
  return InvalidArgument("{}: {} is out of range, expected 1 to {}", option, size, max);
}

Status CheckVision(const VisionShapes& shapes) {
  for (const auto& [name, size] : {std::pair("batch_size", shapes.batch_size),
                                   {"time", shapes.time},
                                   {"grid_h", shapes.grid_h},
                                   {"grid_w", shapes.grid_w},
                                   {"patch_size", shapes.patch_size},
                                   {"spatial_merge", shapes.spatial_merge},
                                   {"num_deepstack", shapes.num_deepstack}}) {
    EXPERTILE_RETURN_IF_ERROR(CheckSize(name, size, kMaxSize));
  }
  if (shapes.grid_h % shapes.spatial_merge == 0 && shapes.grid_w % shapes.spatial_merge == 0) {
    return {};
  }
  return InvalidArgument("the image's grid: {} x {} patches, expected multiples of {}",
                         shapes.grid_h, shapes.grid_w, shapes.spatial_merge);
}

Status CheckMode(const LanguageShapes& shapes) {
  const bool prefill_only = shapes.prefill_only.value_or(false);
  if (prefill_only && shapes.prefill_seq_len == 1) {
    return InvalidArgument(
        "prefill_seq_len: 1 makes a graph that only decodes, prefill_only: true");
  }
  if (shapes.enable_chunking && !prefill_only) {
    return InvalidArgument("enable_chunking: true needs prefill_only: true, got {}",
                           shapes.prefill_only ? "false" : "none");
  }
  const bool whole_prompt = prefill_only && !shapes.enable_chunking;
  if (whole_prompt && shapes.sliding_window && shapes.ctx_len != shapes.prefill_seq_len) {
    return InvalidArgument(
        "ctx_len: {}, expected prefill_seq_len {}: a prefill graph with sliding windows takes the "
        "whole context in one step unless enable_chunking is set",
        shapes.ctx_len, shapes.prefill_seq_len);
  }
  return {};
}

Status CheckLanguage(const LanguageShapes& shapes) {
  EXPERTILE_RETURN_IF_ERROR(CheckSize("batch_size", shapes.batch_size, kMaxSize));
  EXPERTILE_RETURN_IF_ERROR(CheckSize("ctx_len", shapes.ctx_len, kMaxLength));
  EXPERTILE_RETURN_IF_ERROR(CheckSize("prefill_seq_len", shapes.prefill_seq_len, shapes.ctx_len));
  if (shapes.sliding_window) {
    EXPERTILE_RETURN_IF_ERROR(CheckSize("sliding_window", *shapes.sliding_window, kMaxLength));
  }
  EXPERTILE_RETURN_IF_ERROR(CheckMode(shapes));
  if (!shapes.vision) return {};
  EXPERTILE_RETURN_IF_ERROR(CheckVision(*shapes.vision));
  const int64_t num_tokens = shapes.vision->num_tokens();
  if (num_tokens < shapes.ctx_len) return {};
  return InvalidArgument("ctx_len: {}, expected more than the image's {} tokens", shapes.ctx_len,
                         num_tokens);
}

Specialization LanguageStep(const LanguageShapes& shapes, std::string name, int64_t seq_len) {
  Specialization step{std::move(name), {}};
  step.symbols = {
      {"batch_size", shapes.batch_size}, {"seq_len", seq_len}, {"ctx_len", shapes.ctx_len}};
  if (shapes.sliding_window) step.symbols["sliding_window"] = *shapes.sliding_window;
  if (shapes.vision) {
    step.symbols["vision_size"] = shapes.vision->num_tokens();
    step.symbols["vision_batch_size"] = shapes.batch_size;
    step.symbols["num_feature_layers"] = shapes.vision->num_deepstack;
  }
  return step;
}

}  // namespace

Result<std::vector<Specialization>> LanguageSpecializations(const LanguageShapes& shapes) {
  EXPERTILE_RETURN_IF_ERROR(CheckLanguage(shapes));
  std::vector<Specialization> steps;
  const bool decode_graph = shapes.prefill_seq_len == 1;
  if (!decode_graph && shapes.prefill_only.value_or(true)) {
    steps.push_back(LanguageStep(shapes, "Prefill", shapes.prefill_seq_len));
  }
  if (!shapes.prefill_only.value_or(false)) steps.push_back(LanguageStep(shapes, "Decode", 1));
  return steps;
}

Result<Specialization> VisionSpecialization(const VisionShapes& shapes) {
  EXPERTILE_RETURN_IF_ERROR(CheckVision(shapes));
  const int64_t num_patches = shapes.time * shapes.grid_h * shapes.grid_w;
  return Specialization{"Vision",
                        {{"batch_size", shapes.batch_size},
                         {"vision_size", shapes.num_tokens()},
                         {"grid_height", num_patches * shapes.batch_size},
                         {"grid_width", shapes.patch_size},
                         {"grid_h", shapes.grid_h},
                         {"grid_w", shapes.grid_w},
                         {"time", shapes.time},
                         {"num_feature_layers", shapes.num_deepstack}}};
}

std::string SpecializationsJson(std::span<const Specialization> specializations) {
  std::map<std::string, int> uses;
  for (const Specialization& one : specializations) ++uses[one.name];
  std::map<std::string, int> numbers;
  nlohmann::json list = nlohmann::json::array();
  for (const Specialization& one : specializations) {
    std::string name = one.name;
    if (uses[name] > 1) name += fmt::format("_{}", numbers[one.name]++);
    nlohmann::json symbols = nlohmann::json::object();
    for (const auto& [symbol, value] : one.symbols) symbols[symbol] = std::to_string(value);
    list.push_back({{"name", std::move(name)}, {"symbols", std::move(symbols)}});
  }
  const nlohmann::json document = {{"specializations", std::move(list)}};
  return document.dump(4) + "\n";
}

}  // namespace expertile::qaic
