// What was said in a conversation, by whom, with which pictures, tools and tool calls, and a
// request for the next reply as the OpenAI API writes it. Not the prompt that is made of it
// (chat_template.h), and not how a reply's tokens are read (reply.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expertile/generation.h"
#include "expertile/result.h"

namespace expertile {

// A picture: a file's path, or the bytes of one.
struct ImageSource {
  std::string file;
  std::string bytes;  // used where `file` is empty
};

// Some text, or one picture.
struct ContentPart {
  std::string text;
  std::optional<ImageSource> image;
};

struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments;  // a JSON object; from a reply whatever the model wrote

  bool operator==(const ToolCall&) const = default;
};

// A value by name, as JSON text.
struct NamedJson {
  std::string name;
  std::string json;
};

struct Message {
  std::string role;  // system, developer, user, assistant or tool
  std::vector<ContentPart> content;
  std::string reasoning;                // of an assistant
  std::vector<ToolCall> tool_calls;     // of an assistant
  std::string tool_call_id;             // of a tool: the call that it answers
  std::string name;                     // of a tool, or of who speaks; may be empty
  std::vector<NamedJson> other_fields;  // which the template may know

  static Message Text(std::string role, std::string text) {
    return {std::move(role), {{std::move(text), std::nullopt}}, {}, {}, {}, {}, {}};
  }
};

struct Conversation {
  std::vector<Message> messages;
  std::vector<std::string> tools;           // JSON objects: {"type":"function","function":{…}}
  std::vector<std::string> documents;       // JSON objects, for templates that take them
  std::vector<NamedJson> template_options;  // further variables of the template; a later one wins
};

// Every picture of `messages`, in their order, with the place that errors name.
struct PlacedImage {
  const ImageSource* source = nullptr;
  std::string where;  // "messages[2].content[0]"
};
std::vector<PlacedImage> ImagesOf(const std::vector<Message>& messages);

// A conversation, and what else a request asks for.
struct ChatRequest {
  Conversation conversation;
  SamplingChoices sampling;
  std::optional<int64_t> max_new_tokens;
};

// Reads a list of messages, or an object with `messages` and what else docs/chat.md lists, as the
// OpenAI API has them. Files are not opened, and CheckSampling() is the caller's. Errors:
// kInvalidArgument (kUnsupported for what is understood but not done), one line with the field:
// "FILE: messages[2].role: …"; `source` is what errors call the text.
Result<ChatRequest> ParseChatRequest(std::string_view json, std::string_view source);

// NAME=VALUE: VALUE is JSON, or one of Python's True, False and None, else a string.
Result<NamedJson> ParseTemplateOption(std::string_view text);

}  // namespace expertile
