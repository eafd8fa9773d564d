#include "tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tokenizer/json_fields.h"
#include "tokenizer/regex.h"
#include "tokenizer/utf8.h"

namespace expertile {
namespace {

constexpr std::string_view kWhere = "normalizer";
constexpr size_t kMaxDecomposition = 32;  // the longest is 18 (U+FDFA, compatibility)
constexpr char32_t kCapitalIWithDotAbove = 0x130;

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

int CombiningClass(int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

// Sorts every run of marks by combining class, stably (Unicode 3.11, D109). utf8proc_decompose
// does so by exchanging neighbours, which is quadratic in the length of a run.
void OrderCanonically(std::vector<int32_t>* code_points) {
  auto run = code_points->begin();
  while (run != code_points->end()) {
    if (CombiningClass(*run) == 0) {
      ++run;
      continue;
    }
    const auto end =
        std::find_if(run, code_points->end(), [](int32_t c) { return CombiningClass(c) == 0; });
    std::stable_sort(run, end,
                     [](int32_t a, int32_t b) { return CombiningClass(a) < CombiningClass(b); });
    run = end;
  }
}

// A character of `text` at a time, given to `visit` as a code point.
template <typename Visit>
void ForEachCodePoint(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const Utf8Step step = DecodeUtf8(text);
    visit(step.code_point);
    text.remove_prefix(step.size);
  }
}

}  // namespace

Result<Normalizer> Normalizer::FromJson(const nlohmann::json& object) {
  EXPERTILE_ASSIGN(const auto leaves, FlattenSequence(object, "normalizers", kWhere));
  Normalizer normalizer;
  for (const nlohmann::json* leaf : leaves) {
    EXPERTILE_ASSIGN(Step step, StepFromJson(*leaf));
    normalizer.steps_.push_back(std::move(step));
  }
  return normalizer;
}

Result<Normalizer::Step> Normalizer::StepFromJson(const nlohmann::json& leaf) {
  EXPERTILE_ASSIGN(const std::string type, StringField(leaf, "type", kWhere));
  constexpr int kStable = UTF8PROC_STABLE;
  if (type == "NFC") return NormalForm{kStable | UTF8PROC_COMPOSE};
  if (type == "NFD") return NormalForm{kStable | UTF8PROC_DECOMPOSE};
  if (type == "NFKC") return NormalForm{kStable | UTF8PROC_COMPOSE | UTF8PROC_COMPAT};
  if (type == "NFKD") return NormalForm{kStable | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT};
  if (type == "Lowercase") return Lowercase{};
  if (type == "Prepend") {
    EXPERTILE_ASSIGN(std::string prefix, StringField(leaf, "prepend", kWhere));
    return Prepend{std::move(prefix)};
  }
  if (type == "Replace") {
    EXPERTILE_ASSIGN(Regex pattern, Regex::FromJson(FieldOrNull(leaf, "pattern"), kWhere));
    EXPERTILE_ASSIGN(std::string content, StringField(leaf, "content", kWhere));
    return Replace{std::move(pattern), std::move(content)};
  }
  return Unsupported("{}: type '{}'", kWhere, OneLine(type));
}

Result<std::string> Normalizer::Apply(std::string_view text) const {
  std::string result(text);
  for (const Step& step : steps_) {
    EXPERTILE_ASSIGN(result, std::visit([&](const auto& s) { return Run(s, result); }, step));
  }
  return result;
}

Result<std::string> Normalizer::Run(const NormalForm& step, std::string_view text) {
  if (IsAscii(text)) return std::string(text);
  const auto options = static_cast<utf8proc_option_t>(step.utf8proc_options);
  std::vector<int32_t> code_points;
  code_points.reserve(text.size());
  ForEachCodePoint(text, [&](char32_t code_point) {
    std::array<int32_t, kMaxDecomposition> parts;
    int last_boundary_class = 0;
    const auto count = utf8proc_decompose_char(
        static_cast<int32_t>(code_point), parts.data(), parts.size(),
        static_cast<utf8proc_option_t>(options | UTF8PROC_DECOMPOSE), &last_boundary_class);
    const size_t num_parts = std::clamp<utf8proc_ssize_t>(count, 0, kMaxDecomposition);
    code_points.insert(code_points.end(), parts.begin(), parts.begin() + num_parts);
  });
  OrderCanonically(&code_points);
  const auto size = utf8proc_normalize_utf32(
      code_points.data(), static_cast<utf8proc_ssize_t>(code_points.size()), options);
  if (size < 0) return InvalidData("{}: {}", kWhere, utf8proc_errmsg(size));
  std::string result;
  for (utf8proc_ssize_t i = 0; i < size; ++i) AppendUtf8(code_points[i], &result);
  return result;
}

// Character by character, by Unicode's full lower-case mapping without context: simple mappings,
// and U+0130, the one character whose lower case is two.
Result<std::string> Normalizer::Run(const Lowercase&, std::string_view text) {
  std::string result;
  ForEachCodePoint(text, [&](char32_t code_point) {
    if (code_point == kCapitalIWithDotAbove) {
      result += "i\u0307";
    } else {
      AppendUtf8(utf8proc_tolower(static_cast<int32_t>(code_point)), &result);
    }
  });
  return result;
}

Result<std::string> Normalizer::Run(const Replace& step, std::string_view text) {
  std::vector<TextRange> matches;
  EXPERTILE_RETURN_IF_ERROR(RegexSearch(step.pattern).FindAll(text, &matches));
  std::string result;
  size_t end = 0;
  for (const TextRange& match : matches) {
    result.append(text.substr(end, match.begin - end)).append(step.content);
    end = match.end;
  }
  return std::move(result.append(text.substr(end)));
}

Result<std::string> Normalizer::Run(const Prepend& step, std::string_view text) {
  return text.empty() ? std::string() : step.prefix + std::string(text);
}

}  // namespace expertile
