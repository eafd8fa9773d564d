#include "text/render_chat.h"

#include "base/error.h"

namespace expertile {
namespace {

using Json = nlohmann::ordered_json;

Status CheckObjects(const Json& list, std::string_view name) {
  if (!list.is_array()) {
    return InvalidArgument("{}: a JSON {}, expected an array", name, list.type_name());
  }
  for (size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_object()) {
      return InvalidArgument("{}[{}]: a JSON {}, expected an object", name, i, list[i].type_name());
    }
  }
  return {};
}

Json WithReasoningNames(const Json& message) {
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    const auto reasoning = message.find(name);
    if (reasoning == message.end() || reasoning->is_null()) continue;
    Json named = Json::object({{"thinking", *reasoning}});
    for (const auto& [key, value] : message.items()) named[key] = value;
    named["reasoning_content"] = *reasoning;
    return named;
  }
  return message;
}

}  // namespace

tl::unexpected<Error> FromJinja(const jinja::Error& error) {
  switch (error.kind) {
    case jinja::ErrorKind::kRaised:
      return InvalidArgument("{}", error.message);
    case jinja::ErrorKind::kUnsupported:
      return Unsupported("{}", error.message);
    default:
      return InvalidData("{}", error.message);
  }
}

Result<std::string> RenderChat(const jinja::Template& chat_template, const ChatInput& input,
                               const jinja::RenderOptions& options) {
  EXPERTILE_RETURN_IF_ERROR(CheckObjects(input.messages, "messages"));
  if (!input.tools.is_null()) EXPERTILE_RETURN_IF_ERROR(CheckObjects(input.tools, "tools"));
  if (!input.documents.is_null()) {
    EXPERTILE_RETURN_IF_ERROR(CheckObjects(input.documents, "documents"));
  }
  if (!input.extra.is_null() && !input.extra.is_object()) {
    return InvalidArgument("template variables: a JSON {}, expected an object",
                           input.extra.type_name());
  }
  Json variables = input.extra.is_null() ? Json::object() : input.extra;
  Json messages = Json::array();
  for (const Json& message : input.messages) messages.push_back(WithReasoningNames(message));
  variables["messages"] = std::move(messages);
  variables["tools"] = input.tools;
  variables["documents"] = input.documents;
  variables["add_generation_prompt"] = input.add_generation_prompt;
  auto text = chat_template.Render(variables, options);
  if (!text) return FromJinja(text.error());
  return *std::move(text);
}

}  // namespace expertile
