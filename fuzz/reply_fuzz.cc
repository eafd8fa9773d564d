// Untrusted replies. Input: a byte that picks format and start, then the text that a model made,
// once as special tokens and once spelled out.
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/reply.h"

namespace {

using expertile::Reply;
using expertile::ReplyFormat;
using expertile::ReplyParser;
using expertile::TextTokenizer;

constexpr std::array kSpecial = {"<think>",       "</think>",  "<tool_call>", "</tool_call>",
                                 "<|tool_call|>", "<|start|>", "<|channel|>", "<|constrain|>",
                                 "<|message|>",   "<|end|>",   "<|call|>",    "<|return|>"};

// Single characters of ASCII, and kSpecial if wanted; anything else is "u".
TextTokenizer MakeTokenizer(bool with_special) {
  std::string vocab = R"("Ġ":0,"Ċ":1)";
  int next = 2;
  for (char c = '!'; c <= '~'; ++c) {
    const std::string text = c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    vocab += ",\"" + text + "\":" + std::to_string(next++);
  }
  std::string added;
  for (const char* token : kSpecial) {
    if (!with_special) break;
    added += (added.empty() ? "" : ",") + std::string(R"({"id":)") + std::to_string(next++) +
             R"(,"content":")" + token + R"(","special":true})";
  }
  const auto folder =
      std::filesystem::temp_directory_path() / ("expertile_reply_fuzz_" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "tokenizer.json")
      << R"({"added_tokens":[)" << added
      << R"(],"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},"decoder":{"type":"ByteLevel"},)"
      << R"("model":{"type":"BPE","vocab":{)" << vocab << R"(},"merges":[],"unk_token":"u"}})";
  auto tokenizer = TextTokenizer::Load(folder);
  std::filesystem::remove_all(folder);
  return std::move(tokenizer).value();
}

void Check(bool condition) {
  if (!condition) std::abort();
}

void Read(const TextTokenizer& tokenizer, const ReplyFormat& format, bool in_reasoning,
          std::string_view text) {
  const auto ids = tokenizer.Encode(text, false);
  if (!ids) return;
  ReplyParser parser(tokenizer, format, {in_reasoning, {}});
  Reply deltas;
  const auto add = [&](const expertile::ReplyDelta& delta) {
    deltas.reasoning += delta.reasoning;
    deltas.content += delta.content;
    for (const auto& call : delta.tool_calls) deltas.tool_calls.push_back(call);
  };
  for (const int32_t id : *ids) add(parser.Push(id).value());
  add(parser.Finish());
  Check(deltas.reasoning == parser.reply().reasoning);
  Check(deltas.content == parser.reply().content);
  Check(deltas.tool_calls == parser.reply().tool_calls);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::array<TextTokenizer, 2> kTokenizers = {MakeTokenizer(false),
                                                           MakeTokenizer(true)};
  if (size == 0) return 0;
  const uint8_t bits = data[0];
  const ReplyFormat format{.harmony = (bits & 1) != 0,
                           .thoughts = (bits & 2) != 0,
                           .tagged_calls = (bits & 4) != 0,
                           .listed_calls = (bits & 8) != 0,
                           .shows_special = (bits & 16) != 0};
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  for (const TextTokenizer& tokenizer : kTokenizers)
    Read(tokenizer, format, (bits & 32) != 0, text);
  return 0;
}
