// The post-processor of tokenizer.json for a single text: puts special tokens around its ids.
// Not for chat templates, and not for pairs of texts.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "expertile/result.h"

namespace expertile {

class PostProcessor {
 public:
  // null, ByteLevel (which moves offsets only, so does nothing here), TemplateProcessing or a
  // Sequence of them; any other type is kUnsupported.
  static Result<PostProcessor> FromJson(const nlohmann::json& object);

  std::vector<int32_t> AddSpecialTokens(std::vector<int32_t> ids) const;

 private:
  struct Template {
    std::vector<int32_t> before;
    std::vector<int32_t> after;
  };

  static Result<Template> TemplateFromJson(const nlohmann::json& leaf);

  std::vector<Template> templates_;
};

}  // namespace expertile
