// The chat templates and special tokens that lie in a checkpoint folder, found as transformers'
// tokenizers and processors find them. Not their rendering.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "expertile/result.h"

namespace expertile {

struct TemplateFiles {
  std::string model_type;                        // config.json's; "" without one
  std::map<std::string, std::string> templates;  // sources by name; at least one
  nlohmann::ordered_json special_tokens;         // bos_token and the like: an object
};

// Errors: kNotFound where there is no template; kInvalidData names the file and field.
Result<TemplateFiles> ReadTemplateFiles(const std::filesystem::path& folder);

}  // namespace expertile
