// The decoder of tokenizer.json: tokens back to the bytes they stand for.
// Not for ids (tokenizer.h), and not for making UTF-8 of the bytes (utf8.h).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "expertile/result.h"

namespace expertile {

class TokenDecoder {
 public:
  // ByteLevel, or a Sequence of one ByteLevel and any Fuse after it; null joins the tokens by
  // spaces. Any other type is kUnsupported.
  static Result<TokenDecoder> FromJson(const nlohmann::json& object);

  // Appends the bytes of one token; `is_first`: it opens the text.
  void AppendBytes(std::string_view token, bool is_first, std::string* bytes) const;

 private:
  bool byte_level_ = false;
};

}  // namespace expertile
