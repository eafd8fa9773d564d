// The normalizer of tokenizer.json: rewrites text before it is split (Unicode normal forms, case,
// replacements). Not for cleaning ill-formed UTF-8 (utf8.h): its input is well-formed.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "expertile/result.h"
#include "tokenizer/regex.h"

namespace expertile {

class Normalizer {
 public:
  // null, NFC, NFD, NFKC, NFKD, Lowercase, Replace, Prepend or a Sequence of them; any other type
  // is kUnsupported.
  static Result<Normalizer> FromJson(const nlohmann::json& object);

  // Unicode data is utf8proc's (characters that its version does not know stay as they are).
  Result<std::string> Apply(std::string_view text) const;

 private:
  struct NormalForm {
    int utf8proc_options;
  };
  struct Lowercase {};
  struct Replace {
    Regex pattern;
    std::string content;
  };
  struct Prepend {
    std::string prefix;
  };
  using Step = std::variant<NormalForm, Lowercase, Replace, Prepend>;

  static Result<Step> StepFromJson(const nlohmann::json& leaf);
  static Result<std::string> Run(const NormalForm& step, std::string_view text);
  static Result<std::string> Run(const Lowercase& step, std::string_view text);
  static Result<std::string> Run(const Replace& step, std::string_view text);
  static Result<std::string> Run(const Prepend& step, std::string_view text);

  std::vector<Step> steps_;
};

}  // namespace expertile
