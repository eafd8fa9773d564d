// Regular expressions as tokenizer.json means them (Oniguruma's, over Unicode), run by PCRE2.
// Not for file formats or options: those are parsed by hand.
#pragma once

#include <cstddef>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/result.h"

struct pcre2_real_code_8;
struct pcre2_real_jit_stack_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;

namespace expertile {

struct TextRange {
  size_t begin = 0;
  size_t end = 0;
};

// A compiled expression: immutable, safe to share between threads.
class Regex {
 public:
  // `pattern` must be well-formed UTF-8. Constructs that PCRE2 cannot run with Oniguruma's meaning
  // are kUnsupported. Case folding is of single characters only ((?i:ss) does not match U+00DF).
  static Result<Regex> FromOniguruma(std::string_view pattern);
  static Result<Regex> FromLiteral(std::string_view text);
  // The "pattern" member that Split and Replace share: {"Regex": "…"} or {"String": "…"}. Errors
  // begin with `where`.
  static Result<Regex> FromJson(const nlohmann::json& pattern, std::string_view where);

 private:
  friend class RegexSearch;
  static Result<Regex> Compile(const std::string& pcre2_pattern);

  std::string pattern_;
  std::shared_ptr<const pcre2_real_code_8> code_;
};

// The working memory of one thread that searches with a Regex, which must outlive it.
class RegexSearch {
 public:
  explicit RegexSearch(const Regex& regex);

  // Sets `*matches` to all matches in `text` (well-formed UTF-8), left to right, not overlapping;
  // an empty match right after another match is skipped. The work of one match is bounded by a
  // multiple of the text's size: beyond it, an error that names the expression.
  Status FindAll(std::string_view text, std::vector<TextRange>* matches);

 private:
  Result<bool> FindFrom(std::string_view text, size_t start, TextRange* match);

  const Regex& regex_;
  std::shared_ptr<pcre2_real_match_data_8> match_data_;
  std::shared_ptr<pcre2_real_match_context_8> context_;
  std::shared_ptr<pcre2_real_jit_stack_8> jit_stack_;
};

}  // namespace expertile
