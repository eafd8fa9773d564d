#include "text/template_files.h"

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "formats/json.h"

namespace expertile {
namespace {

using Sources = std::map<std::string, std::string>;
constexpr const char* kDefault = "default";

Result<std::optional<JsonObject>> ReadIfThere(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  EXPERTILE_ASSIGN(JsonObject object, JsonObject::Read(file));
  return object;
}

// A field chat_template: a string, or a list of {name, template}. Empty where there is none.
Result<Sources> TemplatesIn(const std::optional<JsonObject>& config) {
  Sources sources;
  if (!config || !config->Has("chat_template")) return sources;
  if (auto source = config->GetString("chat_template"); source) {
    sources[kDefault] = *std::move(source);
    return sources;
  }
  const auto list = config->GetObjectList("chat_template");
  if (!list) {
    EXPERTILE_ASSIGN(sources[kDefault], config->GetString("chat_template"));  // its error
  }
  for (const JsonObject& entry : *list) {
    EXPERTILE_ASSIGN(const std::string name, entry.GetString("name"));
    EXPERTILE_ASSIGN(sources[name], entry.GetString("template"));
  }
  return sources;
}

Result<Sources> TemplatesIn(const std::filesystem::path& file) {
  EXPERTILE_ASSIGN(const auto config, ReadIfThere(file));
  return TemplatesIn(config);
}

// chat_template.jinja is the one named default; additional_chat_templates/NAME.jinja the others.
Result<Sources> JinjaFiles(const std::filesystem::path& folder) {
  Sources sources;
  std::error_code ignored;  // no such folder: none
  for (const auto& entry :
       std::filesystem::directory_iterator(folder / "additional_chat_templates", ignored)) {
    if (entry.path().extension() != ".jinja") continue;
    EXPERTILE_ASSIGN(sources[entry.path().stem().string()], ReadTextFile(entry.path()));
  }
  const auto file = folder / "chat_template.jinja";
  if (std::filesystem::exists(file)) {
    EXPERTILE_ASSIGN(sources[kDefault], ReadTextFile(file));
  }
  return sources;
}

// The first place that has any. `has_processor`: the model takes images.
Result<Sources> FindTemplates(const std::filesystem::path& folder, bool has_processor,
                              const std::optional<JsonObject>& tokenizer_config) {
  EXPERTILE_ASSIGN(Sources legacy, TemplatesIn(folder / "chat_template.json"));
  if (has_processor) {
    EXPERTILE_ASSIGN(Sources processor, TemplatesIn(folder / "processor_config.json"));
    if (!processor.empty()) return processor;
    if (!legacy.empty()) return legacy;
  }
  EXPERTILE_ASSIGN(Sources files, JinjaFiles(folder));
  if (!files.empty()) return files;
  EXPERTILE_ASSIGN(Sources config, TemplatesIn(tokenizer_config));
  return config.empty() ? legacy : config;
}

// What the tokenizer classes of transformers call a token that their file leaves out.
std::optional<std::string> DefaultSpecialToken(std::string_view tokenizer_class,
                                               std::string_view name) {
  const bool is_qwen = tokenizer_class.starts_with("Qwen2Tokenizer");
  const bool is_gpt2 = tokenizer_class.starts_with("GPT2Tokenizer");
  const bool has_default =
      (is_qwen && (name == "unk_token" || name == "eos_token" || name == "pad_token")) ||
      (is_gpt2 && (name == "unk_token" || name == "bos_token" || name == "eos_token"));
  return has_default ? std::optional<std::string>("<|endoftext|>") : std::nullopt;
}

// A special token is a string, or an object whose "content" is one.
Result<std::string> SpecialToken(const JsonObject& config, const char* name) {
  if (const auto text = config.GetString(name); text) return text;
  EXPERTILE_ASSIGN(const JsonObject token, config.GetObject(name));
  return token.GetString("content");
}

Result<nlohmann::ordered_json> SpecialTokens(const std::optional<JsonObject>& config) {
  auto tokens = nlohmann::ordered_json::object();
  if (!config) return tokens;
  EXPERTILE_ASSIGN(const std::string tokenizer_class, config->GetString("tokenizer_class", ""));
  for (const char* name : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                           "cls_token", "mask_token"}) {
    if (config->Has(name)) {
      EXPERTILE_ASSIGN(tokens[name], SpecialToken(*config, name));
    } else if (auto token = DefaultSpecialToken(tokenizer_class, name); token) {
      tokens[name] = *std::move(token);
    }
  }
  return tokens;
}

}  // namespace

Result<TemplateFiles> ReadTemplateFiles(const std::filesystem::path& folder) {
  TemplateFiles files;
  EXPERTILE_ASSIGN(const auto config, ReadIfThere(folder / "config.json"));
  EXPERTILE_ASSIGN(const auto tokenizer_config, ReadIfThere(folder / "tokenizer_config.json"));
  if (config) {
    EXPERTILE_ASSIGN(files.model_type, config->GetString("model_type", ""));
  }
  EXPERTILE_ASSIGN(files.special_tokens, SpecialTokens(tokenizer_config));
  const bool has_processor = config && config->Has("vision_config");
  EXPERTILE_ASSIGN(files.templates, FindTemplates(folder, has_processor, tokenizer_config));
  if (files.templates.empty()) {
    return NotFound(
        "{}: no chat template: no chat_template.jinja, no chat_template in tokenizer_config.json, "
        "no chat_template.json",
        folder.string());
  }
  return files;
}

}  // namespace expertile
