// ParseChatRequest: messages, tools and options as the OpenAI API writes them.
#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "expertile/messages.h"
#include "text/json_field.h"
#include "text/message_fields.h"

namespace expertile {
namespace {

// Of a request to a server; they change nothing about the reply.
constexpr std::array<std::string_view, 9> kWithoutMeaning = {"model",
                                                             "stream",
                                                             "stream_options",
                                                             "user",
                                                             "metadata",
                                                             "store",
                                                             "safety_identifier",
                                                             "service_tier",
                                                             "parallel_tool_calls"};
// Variables that RenderChat sets.
constexpr std::array<std::string_view, 4> kReserved = {"messages", "tools", "documents",
                                                       "add_generation_prompt"};

Status ParseMessages(const JsonField& list, std::vector<Message>& messages) {
  EXPERTILE_RETURN_IF_ERROR(list.CheckArray());
  if (list.value().empty()) return InvalidArgument("{}: none", list.name());
  for (size_t i = 0; i < list.value().size(); ++i) {
    EXPERTILE_ASSIGN(Message message, ParseMessage(list[i]));
    messages.push_back(std::move(message));
  }
  return {};
}

Status ParseObjects(const JsonField& list, std::vector<std::string>& objects) {
  if (list.is_null()) return {};
  EXPERTILE_RETURN_IF_ERROR(list.CheckArray());
  for (size_t i = 0; i < list.value().size(); ++i) {
    EXPERTILE_RETURN_IF_ERROR(list[i].CheckObject());
    objects.push_back(list.value()[i].dump());
  }
  return {};
}

Status ParseTools(const JsonField& request, std::vector<std::string>& tools) {
  const JsonField list = request["tools"];
  EXPERTILE_RETURN_IF_ERROR(ParseObjects(list, tools));
  for (size_t i = 0; i < tools.size(); ++i) {
    const JsonField function = list[i]["function"];
    const JsonField named = function.is_null() ? list[i] : function;
    EXPERTILE_RETURN_IF_ERROR(named.CheckObject());
    if (!named["name"].value().is_string()) return named["name"].Expected("a string");
  }
  const JsonField choice = request["tool_choice"];
  if (choice.is_null() || choice.value() == "auto") return {};
  if (choice.value() != "none") return choice.Expected("auto or none");
  tools.clear();
  return {};
}

Status ParseTemplateOptions(const JsonField& request, Conversation& conversation) {
  const JsonField effort = request["reasoning_effort"];
  if (!effort.is_null()) {
    EXPERTILE_RETURN_IF_ERROR(effort.String());
    conversation.template_options.push_back({"reasoning_effort", effort.value().dump()});
  }
  const JsonField options = request["chat_template_kwargs"];
  if (options.is_null()) return {};
  EXPERTILE_RETURN_IF_ERROR(options.CheckObject());
  for (const auto& [name, value] : options.value().items()) {
    if (std::ranges::find(kReserved, name) != kReserved.end()) {
      return InvalidArgument("{}.{}: the conversation sets it", options.name(), OneLine(name));
    }
    conversation.template_options.push_back({name, value.dump()});
  }
  return {};
}

template <typename T>
Status ParseNumber(const JsonField& field, std::optional<T>& number) {
  if (field.is_null()) return {};
  if constexpr (std::is_floating_point_v<T>) {
    EXPERTILE_ASSIGN(const double value, field.Number());
    number = static_cast<T>(value);
  } else {
    EXPERTILE_ASSIGN(const int64_t value, field.Integer());
    if (!std::in_range<T>(value)) return field.Expected("a smaller number, not negative");
    number = static_cast<T>(value);
  }
  return {};
}

Status ParseSampling(const JsonField& request, ChatRequest& parsed) {
  SamplingChoices& sampling = parsed.sampling;
  EXPERTILE_RETURN_IF_ERROR(ParseNumber(request["temperature"], sampling.temperature));
  EXPERTILE_RETURN_IF_ERROR(ParseNumber(request["top_k"], sampling.top_k));
  EXPERTILE_RETURN_IF_ERROR(ParseNumber(request["top_p"], sampling.top_p));
  EXPERTILE_RETURN_IF_ERROR(ParseNumber(request["min_p"], sampling.min_p));
  EXPERTILE_RETURN_IF_ERROR(
      ParseNumber(request["repetition_penalty"], sampling.repetition_penalty));
  EXPERTILE_RETURN_IF_ERROR(ParseNumber(request["presence_penalty"], sampling.presence_penalty));
  EXPERTILE_RETURN_IF_ERROR(ParseNumber(request["frequency_penalty"], sampling.frequency_penalty));
  EXPERTILE_RETURN_IF_ERROR(ParseNumber(request["seed"], sampling.seed));
  EXPERTILE_RETURN_IF_ERROR(ParseNumber(request["max_tokens"], parsed.max_new_tokens));
  const JsonField newer = request["max_completion_tokens"];
  EXPERTILE_RETURN_IF_ERROR(ParseNumber(newer, parsed.max_new_tokens));
  if (parsed.max_new_tokens.value_or(0) < 0) {
    return InvalidArgument("{}: {}, expected 0 or more", newer.name(), *parsed.max_new_tokens);
  }
  return {};
}

// What is neither read nor without meaning is not passed over in silence.
Status CheckFields(const JsonField& request) {
  constexpr std::array<std::string_view, 16> kRead = {"messages",
                                                      "tools",
                                                      "documents",
                                                      "tool_choice",
                                                      "reasoning_effort",
                                                      "chat_template_kwargs",
                                                      "temperature",
                                                      "top_k",
                                                      "top_p",
                                                      "min_p",
                                                      "repetition_penalty",
                                                      "presence_penalty",
                                                      "frequency_penalty",
                                                      "seed",
                                                      "max_tokens",
                                                      "max_completion_tokens"};
  for (const auto& [name, value] : request.value().items()) {
    const bool is_known = std::ranges::find(kRead, name) != kRead.end() ||
                          std::ranges::find(kWithoutMeaning, name) != kWithoutMeaning.end();
    if (is_known || value.is_null() || (name == "n" && value == 1)) continue;
    return Unsupported("{}{}: a field that is not supported", request.name(), OneLine(name));
  }
  return {};
}

}  // namespace

Result<ChatRequest> ParseChatRequest(std::string_view json, std::string_view source) {
  EXPERTILE_ASSIGN(const JsonField::Json document, ParseOrderedJson(json, source));
  const std::string prefix = fmt::format("{}: ", source);
  ChatRequest parsed;
  Conversation& conversation = parsed.conversation;
  if (document.is_array()) {
    EXPERTILE_RETURN_IF_ERROR(
        ParseMessages(JsonField(document, prefix + "messages"), conversation.messages));
    return parsed;
  }
  if (!document.is_object()) {
    return JsonField(document, std::string(source))
        .Expected("a list of messages, or an object that has one");
  }
  const JsonField request(document, prefix);
  EXPERTILE_RETURN_IF_ERROR(CheckFields(request));
  EXPERTILE_RETURN_IF_ERROR(ParseMessages(request["messages"], conversation.messages));
  EXPERTILE_RETURN_IF_ERROR(ParseTools(request, conversation.tools));
  EXPERTILE_RETURN_IF_ERROR(ParseObjects(request["documents"], conversation.documents));
  EXPERTILE_RETURN_IF_ERROR(ParseTemplateOptions(request, conversation));
  EXPERTILE_RETURN_IF_ERROR(ParseSampling(request, parsed));
  return parsed;
}

std::vector<PlacedImage> ImagesOf(const std::vector<Message>& messages) {
  std::vector<PlacedImage> images;
  for (size_t i = 0; i < messages.size(); ++i) {
    for (size_t j = 0; j < messages[i].content.size(); ++j) {
      const ContentPart& part = messages[i].content[j];
      if (part.image)
        images.push_back({&*part.image, fmt::format("messages[{}].content[{}]", i, j)});
    }
  }
  return images;
}

Result<NamedJson> ParseTemplateOption(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return InvalidArgument("template option: {}, expected NAME=VALUE", OneLine(text));
  }
  const std::string name(text.substr(0, equals));
  const std::string_view value = text.substr(equals + 1);
  if (std::ranges::find(kReserved, name) != kReserved.end()) {
    return InvalidArgument("template option: {}: the conversation sets it", name);
  }
  for (const auto& [python, json] :
       {std::pair("True", "true"), {"False", "false"}, {"None", "null"}}) {
    if (value == python) return NamedJson{name, json};
  }
  if (const auto json = ParseOrderedJson(value, name); json) return NamedJson{name, json->dump()};
  const JsonField::Json string = std::string(value);
  return NamedJson{name, string.dump(-1, ' ', false, JsonField::Json::error_handler_t::replace)};
}

}  // namespace expertile
