// Messages as a chat template reads them: which of its constructs a template knows decides how
// calls, pictures and roles are written. Not the rendering.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "expertile/messages.h"
#include "expertile/result.h"

namespace expertile {

// What a template's source reads.
struct TemplateReads {
  bool parts = false;        // content as a list of parts
  bool tool_calls = false;   // an assistant's tool_calls
  bool developer = false;    // the role
  bool one_thought = false;  // refuses reasoning and content beside a tool call (GPT-OSS)
  bool one_call = false;     // reads the first of a message's calls alone (GPT-OSS)
  // How a call is written into the content of a template that does not read tool_calls.
  bool lists_calls = false;  // <|tool_call|>[…], else <tool_call>…</tool_call>
};

// `parts` is for the caller to find out.
TemplateReads ReadsOf(std::string_view source);

// An array of objects. Errors: a tool call's or another field's JSON that is none.
Result<nlohmann::ordered_json> TemplateMessages(const std::vector<Message>& messages,
                                                const TemplateReads& reads);

}  // namespace expertile
