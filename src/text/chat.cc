// ChatTemplate: a checkpoint's chat template, found where transformers finds it, rendered by
// the library jinja.
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "expertile/tokenizer.h"
#include "formats/json.h"
#include "text/render_chat.h"

namespace expertile {
namespace {

using Json = nlohmann::ordered_json;

// A special token is a string, or an object whose "content" is one.
Result<std::string> SpecialToken(const JsonObject& config, const char* name) {
  if (!config.Has(name)) return std::string();
  if (const auto text = config.GetString(name); text) return text;
  EXPERTILE_ASSIGN(const JsonObject token, config.GetObject(name));
  return token.GetString("content");
}

// Text alone is a string; with images it is a list of parts.
Json ContentOf(const ChatMessage& message) {
  if (message.num_images == 0) return message.content;
  Json parts = Json::array();
  for (int i = 0; i < message.num_images; ++i) parts.push_back({{"type", "image"}});
  parts.push_back({{"type", "text"}, {"text", message.content}});
  return parts;
}

}  // namespace

struct ChatTemplate::State {
  jinja::Template program;
  Json variables;  // bos_token and the like
};

ChatTemplate::ChatTemplate(std::shared_ptr<const State> state) : state_(std::move(state)) {}

Result<ChatTemplate> ChatTemplate::Load(const std::filesystem::path& folder) {
  Json variables = Json::object();
  std::string source;
  const auto config_path = folder / "tokenizer_config.json";
  if (std::filesystem::exists(config_path)) {
    EXPERTILE_ASSIGN(const JsonObject config, JsonObject::Read(config_path));
    EXPERTILE_ASSIGN(source, config.GetString("chat_template", ""));
    for (const char* name : {"bos_token", "eos_token", "unk_token", "pad_token"}) {
      EXPERTILE_ASSIGN(std::string token, SpecialToken(config, name));
      if (!token.empty()) variables[name] = std::move(token);
    }
  }
  const auto template_path = folder / "chat_template.jinja";
  if (std::filesystem::exists(template_path)) {
    EXPERTILE_ASSIGN(source, ReadTextFile(template_path));
  }
  if (source.empty()) {
    return NotFound("{}: no chat_template.jinja, and no chat_template in tokenizer_config.json",
                    folder.string());
  }
  auto program = jinja::Template::Parse(source);
  if (!program) return FromJinja(program.error());
  return ChatTemplate(
      std::make_shared<const State>(State{*std::move(program), std::move(variables)}));
}

Result<std::string> ChatTemplate::Render(std::span<const ChatMessage> messages) const {
  ChatInput input;
  input.messages = Json::array();
  for (const ChatMessage& message : messages) {
    input.messages.push_back({{"role", message.role}, {"content", ContentOf(message)}});
  }
  input.add_generation_prompt = true;
  input.extra = state_->variables;
  return RenderChat(state_->program, input);
}

}  // namespace expertile
