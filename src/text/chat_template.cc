// ChatTemplate: a checkpoint's templates, parsed when they are first needed, rendered by jinja/.
#include "expertile/chat_template.h"

#include <map>
#include <utility>

#include "base/error.h"
#include "jinja/chat_template.h"
#include "text/json_field.h"
#include "text/template_files.h"
#include "text/template_messages.h"

namespace expertile {
namespace {

using Json = nlohmann::ordered_json;

// A template with what it is known to read.
struct NamedTemplate {
  std::string source;
  jinja::Template program;
  TemplateReads reads;
};

// Whether a list of parts comes out as its text, and not as nothing, as an error, or as Python
// writes a list.
bool ReadsParts(const jinja::Template& program, const Json& special_tokens) {
  constexpr const char* kText = "eo7c1a";
  jinja::ChatInput input;
  Json parts = Json::array({{{"type", "text"}, {"text", kText}}});
  input.messages = Json::array({{{"role", "user"}, {"content", std::move(parts)}}});
  input.add_generation_prompt = true;
  input.extra = special_tokens;
  const auto prompt = jinja::RenderChat(program, input);
  return prompt && prompt->find(kText) != std::string::npos &&
         prompt->find(fmt::format("'text': '{}'", kText)) == std::string::npos &&
         prompt->find(fmt::format("\"text\": \"{}\"", kText)) == std::string::npos;
}

Result<Json> ParseList(const std::vector<std::string>& objects, std::string_view name) {
  if (objects.empty()) return Json();
  Json list = Json::array();
  for (size_t i = 0; i < objects.size(); ++i) {
    EXPERTILE_ASSIGN(Json object, ParseOrderedJson(objects[i], fmt::format("{}[{}]", name, i)));
    list.push_back(std::move(object));
  }
  return list;
}

}  // namespace

struct ChatTemplate::State {
  std::string model_type;
  std::map<std::string, NamedTemplate, std::less<>> templates;
  Json special_tokens;

  // transformers' get_chat_template(); null where no template is for this.
  const NamedTemplate* For(bool with_tools) const {
    for (const char* name : {"tool_use", "default"}) {
      const auto found = templates.find(name);
      if (found != templates.end() && (with_tools || found->first == "default")) {
        return &found->second;
      }
    }
    return nullptr;
  }
};

ChatTemplate::ChatTemplate(std::shared_ptr<const State> state) : state_(std::move(state)) {}

Result<ChatTemplate> ChatTemplate::Load(const std::filesystem::path& folder) {
  EXPERTILE_ASSIGN(TemplateFiles files, ReadTemplateFiles(folder));
  State state{std::move(files.model_type), {}, std::move(files.special_tokens)};
  for (auto& [name, source] : files.templates) {
    if (name != "default" && name != "tool_use") continue;
    auto program = jinja::Template::Parse(source);
    if (!program) {
      return Fail(program.error().code, "{}: chat template {}: {}", folder.string(), name,
                  program.error().message);
    }
    TemplateReads reads = ReadsOf(source);
    reads.parts = ReadsParts(*program, state.special_tokens);
    state.templates.emplace(name, NamedTemplate{std::move(source), *std::move(program), reads});
  }
  if (state.For(/*with_tools=*/true) == nullptr) {
    std::string names;
    for (const auto& [name, source] : files.templates) names += " " + name;
    return NotFound("{}: chat templates{}: none is named default", folder.string(), names);
  }
  return ChatTemplate(std::make_shared<const State>(std::move(state)));
}

Result<std::string> ChatTemplate::Render(const Conversation& conversation) const {
  if (conversation.messages.empty()) return InvalidArgument("messages: none");
  const NamedTemplate* chosen = state_->For(!conversation.tools.empty());
  if (chosen == nullptr) {
    return NotFound("chat templates: tool_use alone, which needs tools; none is named default");
  }
  jinja::ChatInput input;
  EXPERTILE_ASSIGN(input.messages, TemplateMessages(conversation.messages, chosen->reads));
  EXPERTILE_ASSIGN(input.tools, ParseList(conversation.tools, "tools"));
  EXPERTILE_ASSIGN(input.documents, ParseList(conversation.documents, "documents"));
  input.add_generation_prompt = true;
  input.extra = state_->special_tokens;
  for (const NamedJson& option : conversation.template_options) {
    EXPERTILE_ASSIGN(input.extra[option.name], ParseOrderedJson(option.json, option.name));
  }
  return jinja::RenderChat(chosen->program, input);
}

std::string_view ChatTemplate::source(bool with_tools) const {
  const NamedTemplate* chosen = state_->For(with_tools);
  return chosen == nullptr ? std::string_view() : chosen->source;
}

const std::string& ChatTemplate::model_type() const { return state_->model_type; }

}  // namespace expertile
