// The byte-level alphabet of GPT-2: every byte as one printable character, so that any text is a
// string over 256 characters and no token is unknown.
// Not the pre-tokenizer of that name (pre_tokenizer.h), which also splits.
#pragma once

#include <string>
#include <string_view>

namespace expertile {

// Appends the character of every byte (openai/gpt-2 encoder.py, bytes_to_unicode).
void AppendByteLevel(std::string_view bytes, std::string* characters);

// Appends the bytes that the characters of `token` stand for; a token with any character outside
// the alphabet stands for its own bytes, as in Hugging Face tokenizers.
void AppendBytesOf(std::string_view token, std::string* bytes);

}  // namespace expertile
