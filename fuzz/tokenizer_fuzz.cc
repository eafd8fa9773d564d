// Untrusted tokenizer files and untrusted text. Input: a first byte '{' makes all of it a
// tokenizer.json (then given some text); any other first byte picks a built-in tokenizer, and the
// rest is the text.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tokenizer/tokenizer.h"

namespace {

using expertile::Result;
using expertile::Tokenizer;

constexpr std::string_view kModel =
    R"("added_tokens":[{"content":"<s>","special":true},{"content":"a ","rstrip":true,"lstrip":true},
    {"content":"b","single_word":true,"normalized":true}],"decoder":{"type":"ByteLevel"},
    "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"Ġ":3,"Ġa":4,"Ã":5,"©":6,"Ã©":7,"u":8},
    "merges":["a b","Ġ a","Ã ©"],"unk_token":"u"}})";

constexpr std::array<std::string_view, 2> kFronts = {
    R"({"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split",
    "pattern":{"Regex":"(?i:'s|'t)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    "behavior":"Isolated"},{"type":"ByteLevel","add_prefix_space":true,"use_regex":false}]},)",
    R"({"normalizer":{"type":"Sequence","normalizers":[{"type":"NFKD"},{"type":"Lowercase"}]},
    "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Digits"},{"type":"ByteLevel"}]},)"};

void Check(bool condition) {
  if (!condition) std::abort();
}

void EncodeAndDecode(const Tokenizer& tokenizer, std::string_view text) {
  const auto ids = tokenizer.Encode(text);
  if (!ids) return;
  for (const int32_t id : *ids) Check(id >= 0 && id < tokenizer.vocab_size());
  const auto decoded = tokenizer.Decode(*ids, false);
  Check(decoded.has_value());
  expertile::TokenStreamDecoder stream(tokenizer, false);
  std::string streamed;
  for (const int32_t id : *ids) streamed += stream.Push(id).value();
  Check(streamed + stream.Flush() == *decoded);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.starts_with('{')) {
    const Result<Tokenizer> tokenizer = Tokenizer::FromJson(input, "input");
    if (tokenizer) EncodeAndDecode(*tokenizer, "<s> ab  é\u0301 12'S\r\n\u3000\xFF");
    return 0;
  }
  static const std::array<Tokenizer, 2> kTokenizers = {
      Tokenizer::FromJson(std::string(kFronts[0]) + std::string(kModel), "first").value(),
      Tokenizer::FromJson(std::string(kFronts[1]) + std::string(kModel), "second").value()};
  if (!input.empty()) EncodeAndDecode(kTokenizers[data[0] % 2], input.substr(1));
  return 0;
}
