#include "tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/json_fields.h"
#include "tokenizer/regex.h"

namespace expertile {
namespace {

constexpr std::string_view kWhere = "pre_tokenizer";

// openai/gpt-2 encoder.py
constexpr std::string_view kGpt2Pattern =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

}  // namespace

Result<PreTokenizer> PreTokenizer::FromJson(const nlohmann::json& object) {
  EXPERTILE_ASSIGN(const auto leaves, FlattenSequence(object, "pretokenizers", kWhere));
  PreTokenizer pre_tokenizer;
  for (const nlohmann::json* leaf : leaves) {
    EXPERTILE_RETURN_IF_ERROR(pre_tokenizer.AppendSteps(*leaf));
  }
  return pre_tokenizer;
}

Status PreTokenizer::AppendSteps(const nlohmann::json& leaf) {
  EXPERTILE_ASSIGN(const std::string type, StringField(leaf, "type", kWhere));
  if (type == "Split") {
    EXPERTILE_ASSIGN(PatternSplit split, PatternSplitFromJson(leaf));
    steps_.emplace_back(std::move(split));
  } else if (type == "Digits") {
    EXPERTILE_ASSIGN(const bool individual, BoolField(leaf, "individual_digits", false, kWhere));
    EXPERTILE_ASSIGN(Regex number, Regex::FromOniguruma("\\p{N}"));
    const Behavior behavior = individual ? Behavior::kIsolated : Behavior::kContiguous;
    steps_.emplace_back(PatternSplit{std::move(number), behavior, false});
  } else if (type == "ByteLevel") {
    EXPERTILE_ASSIGN(const bool prefix_space, BoolField(leaf, "add_prefix_space", true, kWhere));
    EXPERTILE_ASSIGN(const bool use_regex, BoolField(leaf, "use_regex", true, kWhere));
    if (prefix_space) steps_.emplace_back(PrefixSpace{});
    if (use_regex) {
      EXPERTILE_ASSIGN(Regex words, Regex::FromOniguruma(kGpt2Pattern));
      steps_.emplace_back(PatternSplit{std::move(words), Behavior::kIsolated, false});
    }
    steps_.emplace_back(ByteLevel{});
  } else {
    return Unsupported("{}: type '{}'", kWhere, OneLine(type));
  }
  return {};
}

Result<PreTokenizer::PatternSplit> PreTokenizer::PatternSplitFromJson(const nlohmann::json& leaf) {
  EXPERTILE_ASSIGN(Regex pattern, Regex::FromJson(FieldOrNull(leaf, "pattern"), kWhere));
  EXPERTILE_ASSIGN(const std::string behavior_name, StringField(leaf, "behavior", kWhere));
  EXPERTILE_ASSIGN(const Behavior behavior, BehaviorFromName(behavior_name));
  EXPERTILE_ASSIGN(const bool invert, BoolField(leaf, "invert", false, kWhere));
  return PatternSplit{std::move(pattern), behavior, invert};
}

Result<PreTokenizer::Behavior> PreTokenizer::BehaviorFromName(std::string_view name) {
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  return Unsupported("{}: split behavior '{}'", kWhere, OneLine(name));
}

Result<TextPieces> PreTokenizer::Split(std::string_view text) const {
  TextPieces pieces;
  if (!text.empty()) pieces.Append(text);
  for (const Step& step : steps_) {
    EXPERTILE_ASSIGN(pieces, std::visit([&](const auto& s) { return Run(s, pieces); }, step));
  }
  return pieces;
}

// `segments` lie side by side; a merge joins one with its predecessor. The rules are those of
// NormalizedString::split in Hugging Face tokenizers.
std::vector<PreTokenizer::Segment> PreTokenizer::Merge(const std::vector<Segment>& segments,
                                                       Behavior behavior) {
  std::vector<Segment> merged;
  for (size_t i = 0; i < segments.size(); ++i) {
    const bool here = segments[i].is_match;
    const bool before = i > 0 && segments[i - 1].is_match;
    const bool joins = i > 0 && ((behavior == Behavior::kContiguous && here == before) ||
                                 (behavior == Behavior::kMergedWithPrevious && here && !before) ||
                                 (behavior == Behavior::kMergedWithNext && !here && before));
    if (joins) {
      merged.back().range.end = segments[i].range.end;
    } else {
      merged.push_back(segments[i]);
    }
  }
  return merged;
}

Result<TextPieces> PreTokenizer::Run(const PatternSplit& step, const TextPieces& pieces) {
  TextPieces result;
  result.text.reserve(pieces.text.size());
  RegexSearch search(step.pattern);
  std::vector<TextRange> matches;
  std::vector<Segment> segments;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const std::string_view piece = pieces[i];
    EXPERTILE_RETURN_IF_ERROR(search.FindAll(piece, &matches));
    segments.clear();
    size_t end = 0;
    for (const TextRange& match : matches) {
      if (end != match.begin) segments.push_back({{end, match.begin}, step.invert});
      segments.push_back({match, !step.invert});
      end = match.end;
    }
    if (end != piece.size()) segments.push_back({{end, piece.size()}, step.invert});
    for (const Segment& segment : Merge(segments, step.behavior)) {
      const auto [begin, segment_end] = segment.range;
      if (begin == segment_end) continue;
      if (step.behavior == Behavior::kRemoved && segment.is_match) continue;
      result.Append(piece.substr(begin, segment_end - begin));
    }
  }
  return result;
}

Result<TextPieces> PreTokenizer::Run(const PrefixSpace&, const TextPieces& pieces) {
  TextPieces result;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (!pieces[i].starts_with(' ')) result.text += ' ';
    result.Append(pieces[i]);
  }
  return result;
}

Result<TextPieces> PreTokenizer::Run(const ByteLevel&, const TextPieces& pieces) {
  TextPieces result;
  result.text.reserve(2 * pieces.text.size());
  result.ends.reserve(pieces.size());
  for (size_t i = 0; i < pieces.size(); ++i) {
    AppendByteLevel(pieces[i], &result.text);
    result.ends.push_back(result.text.size());
  }
  return result;
}

}  // namespace expertile
