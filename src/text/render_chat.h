// From a conversation to the prompt's text, with the variables and conventions of transformers'
// apply_chat_template. Not tokenization, and not the template language (template.h).
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "expertile/result.h"
#include "jinja/template.h"

namespace expertile {

struct ChatInput {
  nlohmann::ordered_json messages;   // an array of objects
  nlohmann::ordered_json tools;      // an array of JSON schemas, or null
  nlohmann::ordered_json documents;  // an array of objects, or null
  bool add_generation_prompt = false;
  // bos_token, eos_token, enable_thinking, ...: an object, or null. Overrides nothing of the above.
  nlohmann::ordered_json extra;
};

// The template sees messages, tools, documents, add_generation_prompt and the members of `extra`. A
// message's reasoning, given as reasoning_content, thinking or reasoning, is seen as
// reasoning_content and as thinking. What the template refuses by raise_exception is
// kInvalidArgument.
Result<std::string> RenderChat(const jinja::Template& chat_template, const ChatInput& input,
                               const jinja::RenderOptions& options = {});

// An error of the template language as one of ours.
tl::unexpected<Error> FromJinja(const jinja::Error& error);

}  // namespace expertile
