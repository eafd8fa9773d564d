// Parses any bytes as a template and renders what parses, with small limits.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "jinja/template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  const auto parsed = jinja::Template::Parse(source);
  if (!parsed) return 0;
  static const auto kVariables = nlohmann::ordered_json::parse(R"({
      "messages": [{"role": "user", "content": "Hi <b> é"},
                   {"role": "assistant", "content": [{"type": "text", "text": "x"}]}],
      "tools": [{"function": {"name": "f", "parameters": {"properties": {"a": {"type": "string"}}}}}],
      "documents": null, "add_generation_prompt": true, "x": 5, "y": 1.5, "s": "a b\nc"})",
                                                               nullptr, false);
  jinja::RenderOptions options;
  options.limits.max_steps = 20000;
  options.limits.max_output_size = size_t{1} << 18;
  options.limits.max_memory = size_t{1} << 24;
  (void)parsed->Render(kVariables, options);
  return 0;
}
