#include "tokenizer/json_fields.h"

#include <limits>

#include "base/error.h"

namespace expertile {
namespace {

constexpr int kMaxNesting = 16;

Status AppendLeaves(const nlohmann::json& object, std::string_view children_key,
                    std::string_view where, int depth, std::vector<const nlohmann::json*>* leaves) {
  EXPERTILE_ASSIGN(const std::string type, StringField(object, "type", where));
  if (type != "Sequence") {
    leaves->push_back(&object);
    return {};
  }
  if (depth == kMaxNesting) {
    return Unsupported("{}: Sequences nested deeper than {}", where, kMaxNesting);
  }
  const nlohmann::json& children = FieldOrNull(object, children_key);
  if (!children.is_array()) {
    return InvalidData("{}: Sequence without an array '{}'", where, children_key);
  }
  for (const nlohmann::json& child : children) {
    EXPERTILE_RETURN_IF_ERROR(AppendLeaves(child, children_key, where, depth + 1, leaves));
  }
  return {};
}

}  // namespace

const nlohmann::json& FieldOrNull(const nlohmann::json& object, std::string_view key) {
  static const nlohmann::json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

Result<std::string> StringField(const nlohmann::json& object, std::string_view key,
                                std::string_view where) {
  const nlohmann::json& value = FieldOrNull(object, key);
  if (!value.is_string()) {
    return InvalidData("{}: '{}' is {}, expected a string", where, key, value.type_name());
  }
  return value.get_ref<const std::string&>();
}

Result<int32_t> IdField(const nlohmann::json& object, std::string_view key,
                        std::string_view where) {
  return IdValue(FieldOrNull(object, key), fmt::format("{}: '{}'", where, key));
}

Result<bool> BoolField(const nlohmann::json& object, std::string_view key, bool absent,
                       std::string_view where) {
  const nlohmann::json& value = FieldOrNull(object, key);
  if (value.is_null()) return absent;
  if (!value.is_boolean()) {
    return InvalidData("{}: '{}' is {}, expected a boolean", where, key, value.type_name());
  }
  return value.get<bool>();
}

Result<int32_t> IdValue(const nlohmann::json& value, std::string_view where) {
  constexpr int64_t kEnd = std::numeric_limits<int32_t>::max();
  if (!value.is_number_integer() || value.get<int64_t>() < 0 || value.get<int64_t>() >= kEnd) {
    return InvalidData("{}: token id is {}, expected an integer in [0, {})", where,
                       value.is_number() ? value.dump() : value.type_name(), kEnd);
  }
  return value.get<int32_t>();
}

Result<std::vector<const nlohmann::json*>> FlattenSequence(const nlohmann::json& object,
                                                           std::string_view children_key,
                                                           std::string_view where) {
  std::vector<const nlohmann::json*> leaves;
  if (object.is_null()) return leaves;
  EXPERTILE_RETURN_IF_ERROR(AppendLeaves(object, children_key, where, 0, &leaves));
  return leaves;
}

}  // namespace expertile
