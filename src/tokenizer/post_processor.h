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
  // Sequence of them with one template, whose ids are below `vocab_size`; anything else is
  // kUnsupported.
  static Result<PostProcessor> FromJson(const nlohmann::json& object, int32_t vocab_size);

  std::vector<int32_t> AddSpecialTokens(std::vector<int32_t> ids) const;

 private:
  Status LoadTemplate(const nlohmann::json& leaf, int32_t vocab_size);

  std::vector<int32_t> before_;
  std::vector<int32_t> after_;
};

}  // namespace expertile
