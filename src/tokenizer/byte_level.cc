#include "tokenizer/byte_level.h"

#include <array>
#include <cstdint>

#include "tokenizer/utf8.h"

namespace expertile {
namespace {

constexpr int kNotAByte = -1;

// Bytes that print stand for themselves; the others, in order, for U+0100 and following.
struct Alphabet {
  std::array<char32_t, 256> character_of = {};
  std::array<int16_t, 0x144> byte_of = {};

  constexpr Alphabet() {
    byte_of.fill(kNotAByte);
    char32_t next = 0x100;
    for (char32_t byte = 0; byte < 256; ++byte) {
      const bool prints = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
      character_of[byte] = prints ? byte : next++;
      byte_of[character_of[byte]] = static_cast<int16_t>(byte);
    }
  }

  constexpr int ByteOf(char32_t character) const {
    return character < byte_of.size() ? byte_of[character] : kNotAByte;
  }
};

constexpr Alphabet kAlphabet;
static_assert(kAlphabet.character_of[' '] == 0x120 && kAlphabet.character_of[0xAD] == 0x143);

}  // namespace

void AppendByteLevel(std::string_view bytes, std::string* characters) {
  for (const char byte : bytes) {
    AppendUtf8(kAlphabet.character_of[static_cast<uint8_t>(byte)], characters);
  }
}

void AppendBytesOf(std::string_view token, std::string* bytes) {
  const size_t size_before = bytes->size();
  for (std::string_view rest = token; !rest.empty();) {
    const Utf8Step step = DecodeUtf8(rest);
    const int byte = kAlphabet.ByteOf(step.code_point);
    if (byte == kNotAByte) {
      bytes->resize(size_before);
      bytes->append(token);
      return;
    }
    bytes->push_back(static_cast<char>(byte));
    rest.remove_prefix(step.size);
  }
}

}  // namespace expertile
