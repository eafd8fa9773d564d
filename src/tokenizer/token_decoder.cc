#include "tokenizer/token_decoder.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/json_fields.h"

namespace expertile {

Result<TokenDecoder> TokenDecoder::FromJson(const nlohmann::json& object) {
  constexpr std::string_view kWhere = "decoder";
  EXPERTILE_ASSIGN(const auto leaves, FlattenSequence(object, "decoders", kWhere));
  TokenDecoder decoder;
  for (const nlohmann::json* leaf : leaves) {
    EXPERTILE_ASSIGN(const std::string type, StringField(*leaf, "type", kWhere));
    const bool is_byte_level = type == "ByteLevel" && !decoder.byte_level_;
    const bool is_fuse_after = type == "Fuse" && decoder.byte_level_;
    if (!is_byte_level && !is_fuse_after) {
      return Unsupported("{}: type '{}' at this place", kWhere, OneLine(type));
    }
    decoder.byte_level_ = true;
  }
  if (!object.is_null() && leaves.empty()) return Unsupported("{}: empty Sequence", kWhere);
  return decoder;
}

void TokenDecoder::AppendBytes(std::string_view token, bool is_first, std::string* bytes) const {
  if (byte_level_) {
    AppendBytesOf(token, bytes);
    return;
  }
  if (!is_first) bytes->push_back(' ');
  bytes->append(token);
}

}  // namespace expertile
