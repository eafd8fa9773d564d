// Tool calls from what a model wrote between its tags.
// Not the tags (tagged_reply.cc).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/messages.h"

namespace expertile {

// A JSON object {"name":…,"arguments":{…}}, a list of them, or Qwen3-Coder's
//   <function=NAME><parameter=KEY>VALUE</parameter>…</function>
// whose values are strings where `tools` says so, else JSON where they can be read as it. Nothing
// for any other text.
std::optional<std::vector<ToolCall>> ReadToolCalls(std::string_view text,
                                                   const std::vector<std::string>& tools);

}  // namespace expertile
