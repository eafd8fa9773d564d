#include "text/message_fields.h"

#include <algorithm>
#include <array>
#include <utility>

#include "text/image_source.h"

namespace expertile {
namespace {

constexpr std::array<std::string_view, 5> kRoles = {"system", "developer", "user", "assistant",
                                                    "tool"};
// Templates and servers call an assistant's reasoning by these names.
constexpr std::array<std::string_view, 3> kReasoningNames = {"reasoning_content", "reasoning",
                                                             "thinking"};
constexpr std::array<std::string_view, 5> kKnownFields = {"role", "content", "tool_calls",
                                                          "tool_call_id", "name"};

// {"type":"image_url","image_url":{"url":…}}, or the URL alone.
Result<ImageSource> ParseImageUrl(const JsonField& field) {
  const JsonField url = field.value().is_object() ? field["url"] : field;
  EXPERTILE_ASSIGN(const std::string text, url.String());
  return ParseImageSource(text, url.name());
}

// {"type":"image",…}: as Qwen's examples ("image") and transformers' ("url", "path", "base64").
Result<ImageSource> ParseImage(const JsonField& part) {
  for (const char* key : {"image", "url", "path"}) {
    const JsonField field = part[key];
    if (field.is_null()) continue;
    EXPERTILE_ASSIGN(const std::string text, field.String());
    return ParseImageSource(text, field.name());
  }
  const JsonField base64 = part["base64"];
  if (base64.is_null()) return part["image"].Expected("a file or a URL");
  EXPERTILE_ASSIGN(const std::string text, base64.String());
  EXPERTILE_ASSIGN(std::string bytes, DecodeBase64(text, base64.name()));
  return ImageSource{{}, std::move(bytes)};
}

// A part's type may be left out where its key tells.
std::string TypeOf(const JsonField& part) {
  for (const char* key : {"text", "image_url", "image"}) {
    if (!part[key].is_null()) return key;
  }
  return "";
}

Result<ContentPart> ParsePart(const JsonField& part) {
  if (part.value().is_string()) return ContentPart{part.value().get<std::string>(), {}};
  EXPERTILE_RETURN_IF_ERROR(part.CheckObject());
  EXPERTILE_ASSIGN(std::string type, part["type"].StringOrNothing());
  if (type.empty()) type = TypeOf(part);
  if (type == "text") {
    EXPERTILE_ASSIGN(std::string text, part["text"].String());
    return ContentPart{std::move(text), {}};
  }
  if (type == "image_url") {
    EXPERTILE_ASSIGN(ImageSource image, ParseImageUrl(part["image_url"]));
    return ContentPart{{}, std::move(image)};
  }
  if (type == "image") {
    EXPERTILE_ASSIGN(ImageSource image, ParseImage(part));
    return ContentPart{{}, std::move(image)};
  }
  return part["type"].Expected("text, image_url or image");
}

Result<std::vector<ContentPart>> ParseContent(const JsonField& field, bool may_be_missing) {
  std::vector<ContentPart> parts;
  if (field.is_null() && may_be_missing) return parts;
  if (field.value().is_string()) {
    parts.push_back({field.value().get<std::string>(), {}});
    return parts;
  }
  if (!field.value().is_array()) return field.Expected("a string or a list of parts");
  for (size_t i = 0; i < field.value().size(); ++i) {
    EXPERTILE_ASSIGN(ContentPart part, ParsePart(field[i]));
    parts.push_back(std::move(part));
  }
  return parts;
}

// A JSON object, written as a string, as the API has it, or as it is.
Result<std::string> ParseArguments(const JsonField& field) {
  if (field.is_null()) return std::string("{}");
  if (field.value().is_object()) return field.value().dump();
  EXPERTILE_ASSIGN(const std::string text, field.String());
  if (text.empty()) return std::string("{}");
  EXPERTILE_ASSIGN(const JsonField::Json arguments, ParseOrderedJson(text, field.name()));
  if (!arguments.is_object()) return field.Expected("a JSON object, or one in a string");
  return arguments.dump();
}

Result<ToolCall> ParseToolCall(const JsonField& field) {
  EXPERTILE_RETURN_IF_ERROR(field.CheckObject());
  EXPERTILE_ASSIGN(const std::string type, field["type"].StringOrNothing());
  if (!type.empty() && type != "function") return field["type"].Expected("function");
  const JsonField function = field["function"];
  EXPERTILE_RETURN_IF_ERROR(function.CheckObject());
  ToolCall call;
  EXPERTILE_ASSIGN(call.id, field["id"].StringOrNothing());
  EXPERTILE_ASSIGN(call.name, function["name"].String());
  EXPERTILE_ASSIGN(call.arguments, ParseArguments(function["arguments"]));
  return call;
}

Status ParseAssistantFields(const JsonField& field, Message& message) {
  for (const std::string_view name : kReasoningNames) {
    if (field[name].is_null()) continue;
    EXPERTILE_ASSIGN(message.reasoning, field[name].String());
    break;
  }
  const JsonField calls = field["tool_calls"];
  if (calls.is_null()) return {};
  EXPERTILE_RETURN_IF_ERROR(calls.CheckArray());
  for (size_t i = 0; i < calls.value().size(); ++i) {
    EXPERTILE_ASSIGN(ToolCall call, ParseToolCall(calls[i]));
    message.tool_calls.push_back(std::move(call));
  }
  return {};
}

}  // namespace

Result<Message> ParseMessage(const JsonField& field) {
  EXPERTILE_RETURN_IF_ERROR(field.CheckObject());
  Message message;
  EXPERTILE_ASSIGN(message.role, field["role"].String());
  if (std::ranges::find(kRoles, message.role) == kRoles.end()) {
    return field["role"].Expected("system, developer, user, assistant or tool");
  }
  const bool is_assistant = message.role == "assistant";
  EXPERTILE_ASSIGN(message.content, ParseContent(field["content"], is_assistant));
  EXPERTILE_ASSIGN(message.name, field["name"].StringOrNothing());
  EXPERTILE_ASSIGN(message.tool_call_id, field["tool_call_id"].StringOrNothing());
  if (is_assistant) EXPERTILE_RETURN_IF_ERROR(ParseAssistantFields(field, message));
  for (const auto& [key, value] : field.value().items()) {
    const bool is_known = std::ranges::find(kKnownFields, key) != kKnownFields.end() ||
                          std::ranges::find(kReasoningNames, key) != kReasoningNames.end();
    if (!is_known && !value.is_null()) message.other_fields.push_back({key, value.dump()});
  }
  return message;
}

}  // namespace expertile
