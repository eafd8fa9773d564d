// Typed access to the members of a JSON object of tokenizer.json, where an error names the object
// and the member. Not a schema: members that nobody asks for are left alone.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/result.h"

namespace expertile {

// The member, or a null value if it is absent; `object` need not be an object.
const nlohmann::json& FieldOrNull(const nlohmann::json& object, std::string_view key);

// The typed member; kInvalidData, beginning with `where`, if it is absent or of another type.
Result<std::string> StringField(const nlohmann::json& object, std::string_view key,
                                std::string_view where);
Result<int32_t> IdField(const nlohmann::json& object, std::string_view key, std::string_view where);

// The typed member, or `absent` where it is absent or null.
Result<bool> BoolField(const nlohmann::json& object, std::string_view key, bool absent,
                       std::string_view where);

// A token id: an integer in [0, INT32_MAX).
Result<int32_t> IdValue(const nlohmann::json& value, std::string_view where);

// Normalizers, pre-tokenizers, decoders and post-processors nest by "type": "Sequence", whose
// children are the array member `children_key`. The leaves of `object` in order, each an object
// with a string member "type"; none if `object` is null.
Result<std::vector<const nlohmann::json*>> FlattenSequence(const nlohmann::json& object,
                                                           std::string_view children_key,
                                                           std::string_view where);

}  // namespace expertile
