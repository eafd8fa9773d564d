// ChatTemplate: a checkpoint's own way to write a conversation as a prompt.
// Not the template language, and not how replies are read (reply.h).
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "expertile/messages.h"
#include "expertile/result.h"

namespace expertile {

// Immutable: every const method may be called from several threads.
class ChatTemplate {
 public:
  // Finds a folder's templates where transformers does. A model that takes images has a processor,
  // whose places come first: processor_config.json's chat_template, else chat_template.json, else
  // chat_template.jinja with additional_chat_templates/*.jinja. Then the tokenizer's:
  // chat_template.jinja with additional_chat_templates/*.jinja, else tokenizer_config.json's
  // chat_template: a string, or a list of {name, template}; and at last chat_template.json. Errors:
  // kNotFound where there is none; kInvalidData names the file.
  static Result<ChatTemplate> Load(const std::filesystem::path& folder);

  // The prompt that asks the model for the next assistant message. With tools it is made by the
  // template named tool_use, where there is one, else by the one named default. A picture stands as
  // {"type":"image"} in its message's list of parts; a template that does not read lists gets the
  // texts, joined by line ends. docs/chat.md says how calls, reasoning and the role developer are
  // written. Errors: kInvalidArgument, what the template refuses by raise_exception; no messages.
  Result<std::string> Render(const Conversation& conversation) const;

  // The source of the template for conversations with or without tools; "" if there is none.
  std::string_view source(bool with_tools = false) const;
  const std::string& model_type() const;  // config.json's; "" without one

 private:
  struct State;
  explicit ChatTemplate(std::shared_ptr<const State> state);
  std::shared_ptr<const State> state_;
};

}  // namespace expertile
