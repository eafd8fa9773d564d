#include "text/template_messages.h"

#include <algorithm>
#include <iterator>
#include <span>
#include <string>
#include <utility>

#include "base/error.h"
#include "text/json_field.h"

namespace expertile {
namespace {

using Json = nlohmann::ordered_json;

std::string JoinedText(const std::vector<ContentPart>& parts) {
  std::string text;
  bool is_first = true;
  for (const ContentPart& part : parts) {
    if (part.image) continue;
    if (!std::exchange(is_first, false)) text += '\n';
    text += part.text;
  }
  return text;
}

// One text alone is a string; with images, or several texts, a list of parts.
Json ContentOf(const std::vector<ContentPart>& parts, const TemplateReads& reads) {
  const bool is_text = parts.empty() || (parts.size() == 1 && !parts.front().image);
  if (is_text || !reads.parts) return JoinedText(parts);
  Json list = Json::array();
  for (const ContentPart& part : parts) {
    if (part.image) {
      list.push_back({{"type", "image"}});
    } else {
      list.push_back({{"type", "text"}, {"text", part.text}});
    }
  }
  return list;
}

// Templates read a dict; what is no JSON object stays the text that the model wrote.
Json ArgumentsOf(const ToolCall& call) {
  Json arguments = Json::parse(call.arguments, nullptr, /*allow_exceptions=*/false);
  return arguments.is_object() ? arguments : Json(call.arguments);
}

Json ToolCallsOf(const std::vector<ToolCall>& calls) {
  Json list = Json::array();
  for (const ToolCall& call : calls) {
    Json entry = Json::object();
    if (!call.id.empty()) entry["id"] = call.id;
    entry["type"] = "function";
    entry["function"] = {{"name", call.name}, {"arguments", ArgumentsOf(call)}};
    list.push_back(std::move(entry));
  }
  return list;
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The calls as the model itself wrote them.
std::string CallsAsText(const std::vector<ToolCall>& calls, bool as_list) {
  Json list = Json::array();
  for (const ToolCall& call : calls) {
    list.push_back({{"name", call.name}, {"arguments", ArgumentsOf(call)}});
  }
  if (as_list) return "<|tool_call|>" + Dump(list);
  std::string text;
  for (const Json& call : list) text += "\n<tool_call>\n" + Dump(call) + "\n</tool_call>";
  return text;
}

void AddAssistantFields(const Message& message, const TemplateReads& reads, Json& json) {
  std::string reasoning = message.reasoning;
  if (!message.tool_calls.empty() && !reads.tool_calls) {
    std::string text = JoinedText(message.content);
    std::string calls = CallsAsText(message.tool_calls, reads.lists_calls);
    if (text.empty() && calls.starts_with('\n')) calls.erase(0, 1);
    json["content"] = text + calls;
  } else if (!message.tool_calls.empty()) {
    json["tool_calls"] = ToolCallsOf(message.tool_calls);
    const std::string text = JoinedText(message.content);
    if (reads.one_thought && !reasoning.empty() && !text.empty()) {
      reasoning += "\n" + text;
      json["content"] = "";
    }
  }
  if (!reasoning.empty()) json["reasoning_content"] = reasoning;
}

// A message with several calls as one message a call, each before the results that answer it.
std::vector<Message> WithOneCallEach(std::span<const Message> messages) {
  std::vector<Message> split;
  while (!messages.empty()) {
    const Message& message = messages.front();
    messages = messages.subspan(1);
    if (message.tool_calls.size() < 2) {
      split.push_back(message);
      continue;
    }
    std::vector<Message> results;
    for (; !messages.empty() && messages.front().role == "tool"; messages = messages.subspan(1)) {
      results.push_back(messages.front());
    }
    Message single = message;
    for (const ToolCall& call : message.tool_calls) {
      single.tool_calls = {call};
      split.push_back(
          std::exchange(single, Message{message.role, {}, {}, {}, {}, message.name, {}}));
      const auto answers = [&](const Message& result) { return result.tool_call_id == call.id; };
      std::ranges::copy_if(results, std::back_inserter(split), answers);
      std::erase_if(results, answers);
    }
    std::ranges::move(results, std::back_inserter(split));
  }
  return split;
}

}  // namespace

TemplateReads ReadsOf(std::string_view source) {
  const auto has = [&](std::string_view word) {
    return source.find(word) != std::string_view::npos;
  };
  TemplateReads reads;
  reads.tool_calls = has("tool_calls");
  reads.developer = has("developer");
  reads.one_thought = has("<|channel|>");
  reads.one_call = has("tool_calls[0]");
  reads.lists_calls = has("<|tool_call|>") || has("<|start_of_role|>");
  return reads;
}

Result<Json> TemplateMessages(const std::vector<Message>& whole, const TemplateReads& reads) {
  const std::vector<Message> messages = reads.one_call ? WithOneCallEach(whole) : whole;
  Json list = Json::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    const Message& message = messages[i];
    Json json = Json::object();
    const bool is_unknown = message.role == "developer" && !reads.developer;
    json["role"] = is_unknown ? "system" : message.role;
    json["content"] = ContentOf(message.content, reads);
    AddAssistantFields(message, reads, json);
    if (!message.tool_call_id.empty()) json["tool_call_id"] = message.tool_call_id;
    if (!message.name.empty()) json["name"] = message.name;
    for (const NamedJson& field : message.other_fields) {
      EXPERTILE_ASSIGN(json[field.name],
                       ParseOrderedJson(field.json, fmt::format("messages[{}].{}", i, field.name)));
    }
    list.push_back(std::move(json));
  }
  return list;
}

}  // namespace expertile
