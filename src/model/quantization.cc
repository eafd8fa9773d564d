#include "model/quantization.h"

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace expertile {
namespace {

constexpr std::string_view kMxfp4 = "mxfp4";

std::string Supported(const Family& family) {
  return fmt::format(
      "{} is read with weights in float32, float16 or bfloat16{}", family.model_type,
      family.has_mxfp4_experts ? ", or with its experts in mxfp4" : ", none of them quantised");
}

// What a quantisation object calls itself, or is known by. None if it says nothing.
std::optional<std::string> MethodOf(const JsonObject& object) {
  if (const auto method = object.GetString("quant_method"); method) return OneLine(*method);
  for (const char* bits : {"load_in_4bit", "load_in_8bit"}) {
    if (object.GetBool(bits, false).value_or(false)) return "bitsandbytes";
  }
  if (object.Has("quant_algo")) return "modelopt";
  if (object.Has("config_groups")) return "compressed-tensors";
  if (object.Has("group_size") && object.Has("bits")) return "mlx";
  return std::nullopt;
}

Status CheckObject(const JsonObject& owner, const char* key, const Family& family) {
  if (!owner.Has(key)) return {};
  const auto object = owner.GetObject(key);
  const std::optional<std::string> method = object ? MethodOf(*object) : std::nullopt;
  if (!method) {
    return Unsupported("{}: {}: it names no quant_method; {}", owner.NameOf(key), owner.TextOf(key),
                       Supported(family));
  }
  if (family.has_mxfp4_experts && *method == kMxfp4) return {};
  return Unsupported("{}: quant_method {} is not supported; {}", owner.NameOf(key), *method,
                     Supported(family));
}

struct Mark {
  std::string_view part;  // of a tensor's name
  std::string_view method;
};
// From the names that tell most to those that tell least.
constexpr std::array<Mark, 15> kMarks = {{{".quant_state.", "bitsandbytes"},
                                          {".absmax", "bitsandbytes"},
                                          {".quant_map", "bitsandbytes"},
                                          {".SCB", "bitsandbytes"},
                                          {"_scale_inv", "fp8"},
                                          {".weight_packed", "compressed-tensors"},
                                          {".weight_shape", "compressed-tensors"},
                                          {".g_idx", "gptq"},
                                          {".qweight", "gptq or awq"},
                                          {".qzeros", "gptq or awq"},
                                          {".weight_scale", "fp8 or compressed-tensors"},
                                          {".input_scale", "fp8 or compressed-tensors"},
                                          {"_proj_scale", "fp8 or mxfp4"},
                                          {"_proj_blocks", "mxfp4"},
                                          {".scales", "mlx or hqq"}}};

}  // namespace

Result<bool> ReadQuantization(const JsonObject& config, const Family& family) {
  bool is_quantised = false;
  std::vector<JsonObject> owners = {config};
  for (const char* part : {"text_config", "vision_config"}) {
    EXPERTILE_ASSIGN(const JsonObject inner, config.GetObjectOrEmpty(part));
    owners.push_back(inner);
  }
  for (const JsonObject& owner : owners) {
    for (const char* key : {"quantization_config", "compression_config", "quantization"}) {
      EXPERTILE_RETURN_IF_ERROR(CheckObject(owner, key, family));
      is_quantised = is_quantised || owner.Has(key);
    }
  }
  return is_quantised;
}

Error ExplainedByQuantization(Error error, const CheckpointTensors& tensors, const Family& family) {
  const std::vector<std::string> names = tensors.all_names();
  for (const Mark& mark : kMarks) {
    if (family.has_mxfp4_experts && mark.method.ends_with(kMxfp4)) continue;
    for (const std::string& name : names) {
      if (name.find(mark.part) == name.npos) continue;
      return {ErrorCode::kUnsupported,
              fmt::format("{}; the checkpoint is quantised (quant_method {}, by its {}); {}",
                          error.message, mark.method, OneLine(name), Supported(family))};
    }
  }
  return error;
}

}  // namespace expertile
