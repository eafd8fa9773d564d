#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer/regex.h"

#include <pcre2.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tokenizer/json_fields.h"
#include "tokenizer/oniguruma_syntax.h"
#include "tokenizer/utf8.h"

namespace expertile {
namespace {

constexpr size_t kMaxPatternSize = 1 << 16;
// Backtracks that one match may cost: a greedy run over the whole text gives back each of its
// characters once per alternative, so the bound grows with the text.
constexpr size_t kBaseMatchLimit = 100'000;
constexpr size_t kMatchLimitPerByte = 64;
// Groups that repeat keep some bytes for each turn: on the heap without JIT, on a stack with it,
// which is made only for a match that outgrows the 32 KiB that PCRE2 gives by itself.
constexpr uint32_t kHeapLimitKiB = 512 * 1024;
constexpr size_t kFirstJitStackSize = 1 << 20;
constexpr size_t kMaxJitStackSize = 256 << 20;

std::string Pcre2Message(int code) {
  std::array<PCRE2_UCHAR, 256> buffer = {};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

Result<Regex> Regex::FromOniguruma(std::string_view pattern) {
  EXPERTILE_ASSIGN(const std::string translated, Pcre2FromOniguruma(pattern));
  return Compile(translated);
}

Result<Regex> Regex::FromLiteral(std::string_view text) {
  std::string pattern;
  for (const char c : text) {
    const bool is_special = std::string_view("\\^$.|?*+()[]{}").find(c) != std::string_view::npos;
    if (is_special) pattern += '\\';
    pattern += c;
  }
  return Compile(pattern);
}

Result<Regex> Regex::FromJson(const nlohmann::json& pattern, std::string_view where) {
  const nlohmann::json& regex = FieldOrNull(pattern, "Regex");
  if (regex.is_string()) return FromOniguruma(regex.get_ref<const std::string&>());
  const nlohmann::json& text = FieldOrNull(pattern, "String");
  if (text.is_string()) return FromLiteral(text.get_ref<const std::string&>());
  return InvalidData("{}: pattern has neither a string 'Regex' nor a string 'String'", where);
}

Result<Regex> Regex::Compile(const std::string& pcre2_pattern) {
  if (pcre2_pattern.size() > kMaxPatternSize) {
    return Unsupported("regex of {} bytes, at most {} are supported", pcre2_pattern.size(),
                       kMaxPatternSize);
  }
  const std::shared_ptr<pcre2_compile_context> context(pcre2_compile_context_create(nullptr),
                                                       pcre2_compile_context_free);
  if (!context) return Fail(ErrorCode::kOutOfMemory, "regex '{}'", OneLine(pcre2_pattern));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pcre2_pattern.data()), pcre2_pattern.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &offset, context.get());
  if (code == nullptr) {
    return InvalidData("regex '{}' at byte {}: {}", OneLine(pcre2_pattern), offset,
                       Pcre2Message(error));
  }
  Regex regex;
  regex.pattern_ = pcre2_pattern;
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without it, the interpreter gives the same answer
  regex.code_ = std::shared_ptr<const pcre2_code>(
      code, [](const pcre2_code* owned) { pcre2_code_free(const_cast<pcre2_code*>(owned)); });
  return regex;
}

RegexSearch::RegexSearch(const Regex& regex)
    : regex_(regex),
      match_data_(pcre2_match_data_create_from_pattern(regex.code_.get(), nullptr),
                  pcre2_match_data_free),
      context_(pcre2_match_context_create(nullptr), pcre2_match_context_free) {}

Status RegexSearch::FindAll(std::string_view text, std::vector<TextRange>* matches) {
  if (!match_data_ || !context_) return Fail(ErrorCode::kOutOfMemory, "regex search");
  const size_t limit = std::min<size_t>(kBaseMatchLimit + kMatchLimitPerByte * text.size(),
                                        std::numeric_limits<uint32_t>::max());
  pcre2_set_match_limit(context_.get(), static_cast<uint32_t>(limit));
  pcre2_set_heap_limit(context_.get(), kHeapLimitKiB);
  matches->clear();
  size_t start = 0;
  while (start <= text.size()) {
    TextRange match;
    EXPERTILE_ASSIGN(const bool found, FindFrom(text, start, &match));
    if (!found) break;
    const bool empty = match.begin == match.end;
    if (empty && !matches->empty() && matches->back().end == match.end) {
      start += start < text.size() ? DecodeUtf8(text.substr(start)).size : 1;
      continue;
    }
    matches->push_back(match);
    start = match.end;
  }
  return {};
}

Result<bool> RegexSearch::FindFrom(std::string_view text, size_t start, TextRange* match) {
  const auto run = [&] {
    return pcre2_match(regex_.code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                       start, PCRE2_NO_UTF_CHECK, match_data_.get(), context_.get());
  };
  int code = run();
  if (code == PCRE2_ERROR_JIT_STACKLIMIT && !jit_stack_) {
    jit_stack_ = {pcre2_jit_stack_create(kFirstJitStackSize, kMaxJitStackSize, nullptr),
                  pcre2_jit_stack_free};
    pcre2_jit_stack_assign(context_.get(), nullptr, jit_stack_.get());
    code = run();
  }
  if (code == PCRE2_ERROR_NOMATCH) return false;
  if (code < 0) {
    return InvalidData("regex '{}' on {} bytes of text: {}", OneLine(regex_.pattern_), text.size(),
                       Pcre2Message(code));
  }
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(match_data_.get());
  *match = {offsets[0], offsets[1]};
  return true;
}

}  // namespace expertile
