// ReplyToJson: a reply as the OpenAI API writes a message.
#include <nlohmann/json.hpp>
#include <string_view>

#include "expertile/chat.h"

namespace expertile {
namespace {

using Json = nlohmann::ordered_json;

std::string_view NameOf(FinishReason reason, bool has_calls) {
  if (reason == FinishReason::kMaxTokens || reason == FinishReason::kContextFull) return "length";
  return has_calls ? "tool_calls" : "stop";
}

Json UsageOf(const GenerationStatistics& statistics) {
  const int64_t prompt = statistics.held_tokens + statistics.prompt_tokens;
  return {{"prompt_tokens", prompt},
          {"completion_tokens", statistics.new_tokens},
          {"total_tokens", prompt + statistics.new_tokens},
          {"prompt_tokens_details", {{"cached_tokens", statistics.held_tokens}}}};
}

}  // namespace

std::string ReplyToJson(const ChatReply& whole) {
  const Reply& reply = whole.reply;
  const bool has_calls = !reply.tool_calls.empty();
  Json json = {{"role", "assistant"}, {"content", nullptr}};
  // No answer beside calls or reasoning is null, as the API has it.
  if (!reply.content.empty() || (!has_calls && reply.reasoning.empty())) {
    json["content"] = reply.content;
  }
  if (!reply.reasoning.empty()) json["reasoning_content"] = reply.reasoning;
  for (const ToolCall& call : reply.tool_calls) {
    json["tool_calls"].push_back(
        {{"id", call.id},
         {"type", "function"},
         {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  }
  json["finish_reason"] = NameOf(whole.finish_reason, has_calls);
  json["usage"] = UsageOf(whole.statistics);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace expertile
