#include "text/tool_call_text.h"

#include <utility>

#include "text/json_field.h"

namespace expertile {
namespace {

using Json = nlohmann::ordered_json;
using Calls = std::optional<std::vector<ToolCall>>;

constexpr std::string_view kBlanks = " \n\r\t";

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
}

// One line end at either side, which the template writes around a value.
std::string_view WithoutLineEnds(std::string_view text) {
  if (text.starts_with('\n')) text.remove_prefix(1);
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

std::optional<ToolCall> CallOf(const Json& json) {
  const auto name = json.find("name");
  if (!json.is_object() || name == json.end() || !name->is_string()) return std::nullopt;
  auto arguments = json.find("arguments");
  if (arguments == json.end()) arguments = json.find("parameters");
  if (arguments == json.end() || arguments->is_null()) {
    return ToolCall{{}, name->get<std::string>(), "{}"};
  }
  if (arguments->is_string()) {
    return ToolCall{{}, name->get<std::string>(), arguments->get<std::string>()};
  }
  return ToolCall{{}, name->get<std::string>(), arguments->dump()};
}

Calls ReadJsonCalls(std::string_view text) {
  const auto json = ParseOrderedJson(text, "tool call");
  if (!json) return std::nullopt;
  const Json list = json->is_array() ? *json : Json::array({*json});
  if (list.empty()) return std::nullopt;
  std::vector<ToolCall> calls;
  for (const Json& entry : list) {
    auto call = CallOf(entry);
    if (!call) return std::nullopt;
    calls.push_back(*std::move(call));
  }
  return calls;
}

// Whether the schema among `tools` says that a parameter is a string.
bool IsString(const std::vector<std::string>& tools, const std::string& function,
              const std::string& parameter) {
  for (const std::string& text : tools) {
    const Json tool = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    const JsonField whole(tool, "tool");
    const JsonField inner = whole["function"];
    const JsonField described = inner.is_null() ? whole : inner;
    if (described["name"].value() != function) continue;
    return described["parameters"]["properties"][parameter]["type"].value() == "string";
  }
  return false;
}

// Takes "OPENING KEY>" off the front of `text` and gives KEY.
std::optional<std::string> TakeTag(std::string_view& text, std::string_view opening) {
  const size_t end = text.find('>');
  if (!text.starts_with(opening) || end == std::string_view::npos) return std::nullopt;
  std::string key(Trim(text.substr(opening.size(), end - opening.size())));
  text.remove_prefix(end + 1);
  return key;
}

Calls ReadTaggedCall(std::string_view text, const std::vector<std::string>& tools) {
  const auto function = TakeTag(text, "<function=");
  const size_t end = text.rfind("</function>");
  if (!function || function->empty() || end == std::string_view::npos) return std::nullopt;
  text = Trim(text.substr(0, end));
  Json arguments = Json::object();
  while (!text.empty()) {
    const auto key = TakeTag(text, "<parameter=");
    constexpr std::string_view kClosing = "</parameter>";
    const size_t closing = text.find(kClosing);
    if (!key || closing == std::string_view::npos) return std::nullopt;
    const std::string value(WithoutLineEnds(text.substr(0, closing)));
    const auto json = ParseOrderedJson(value, *key);
    const bool is_json = json && !IsString(tools, *function, *key);
    arguments[*key] = is_json ? *json : Json(value);
    text = Trim(text.substr(closing + kClosing.size()));
  }
  return std::vector<ToolCall>{{{}, *function, arguments.dump()}};
}

}  // namespace

Calls ReadToolCalls(std::string_view text, const std::vector<std::string>& tools) {
  text = Trim(text);
  return text.starts_with("<function=") ? ReadTaggedCall(text, tools) : ReadJsonCalls(text);
}

}  // namespace expertile
