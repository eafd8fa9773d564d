// Untrusted messages. Input: a request for a chat (docs/chat.md), or a template option. What is
// read is rendered.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "expertile/chat_template.h"
#include "expertile/messages.h"

namespace {

using expertile::ChatTemplate;

constexpr const char* kTemplate =
    "{%- for t in tools or [] %}{{ t | tojson }}{% endfor %}{%- for m in messages %}{{ m.role "
    "}}:{% if "
    "m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}{{ c.text }}{% endfor "
    "%}{% endif %}{{ m.reasoning_content }}{% for c in m.tool_calls or [] %}{{ c.function.name "
    "}}{{ "
    "c.function.arguments | tojson }}{% endfor %}{% endfor %}";

ChatTemplate LoadTemplate() {
  const auto folder = std::filesystem::temp_directory_path() /
                      ("expertile_messages_fuzz_" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "chat_template.jinja") << kTemplate;
  auto chat_template = ChatTemplate::Load(folder);
  std::filesystem::remove_all(folder);
  return std::move(chat_template).value();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const ChatTemplate kChatTemplate = LoadTemplate();
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  (void)expertile::ParseTemplateOption(input);
  const auto request = expertile::ParseChatRequest(input, "input");
  if (!request) return 0;
  (void)expertile::ImagesOf(request->conversation.messages);
  // What was parsed is valid JSON throughout: only the template itself may refuse it.
  (void)kChatTemplate.Render(request->conversation);
  return 0;
}
