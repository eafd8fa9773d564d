#include "program/qaic/custom_io.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"

namespace expertile::qaic {
namespace {

constexpr std::string_view kRetained = "_RetainedState";

bool IsCache(std::string_view name) { return name.starts_with("past_"); }

std::string_view WithoutRetained(std::string_view name) {
  return name.ends_with(kRetained) ? name.substr(0, name.size() - kRetained.size()) : name;
}

bool IsVision(std::string_view name) {
  const std::string_view tensor = WithoutRetained(name);
  return tensor == "pixel_values" || tensor == "vision_embeds" || tensor == "deepstack_features";
}

bool Contains(std::span<const std::string> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Status CheckName(std::string_view name) {
  const bool one_word = std::all_of(name.begin(), name.end(), [](char c) {
    return c > ' ' && c < 0x7f && c != ':' && c != '#' && c != '"' && c != '\'';
  });
  if (one_word && !name.empty()) return {};
  return InvalidArgument("`{}`: not a name that custom_io.yaml can hold", OneLine(name));
}

Status CheckRetained(std::span<const std::string> inputs, std::span<const std::string> outputs) {
  for (const std::string& output : outputs) {
    const std::string_view input = WithoutRetained(output);
    if (input != output && !Contains(inputs, input)) {
      return InvalidArgument("{}: the graph has no input {}", OneLine(output), OneLine(input));
    }
  }
  for (const std::string& input : inputs) {
    if (IsCache(input) && !Contains(outputs, input + std::string(kRetained))) {
      return InvalidArgument("{}: the graph has no output {}{}", OneLine(input), OneLine(input),
                             kRetained);
    }
  }
  return {};
}

}  // namespace

Result<std::string> CustomIoYaml(std::span<const std::string> inputs,
                                 std::span<const std::string> outputs, KvPrecision kv) {
  EXPERTILE_RETURN_IF_ERROR(CheckRetained(inputs, outputs));
  const std::string_view cache = kv == KvPrecision::kMxint8 ? "mxint8" : "float16";
  std::string yaml;
  for (const std::span<const std::string> names : {inputs, outputs}) {
    for (const std::string& name : names) {
      if (!IsCache(name) && !IsVision(name)) continue;
      EXPERTILE_RETURN_IF_ERROR(CheckName(name));
      yaml += fmt::format(" - IOName: {}\n   Precision: {}\n\n", name,
                          IsCache(name) ? cache : "float16");
    }
  }
  return yaml;
}

}  // namespace expertile::qaic
