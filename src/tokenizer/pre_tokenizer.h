// The pre-tokenizer of tokenizer.json: cuts text into the pieces that merges never cross.
// Not for added tokens (added_tokens.h), which are cut out before.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "expertile/result.h"
#include "tokenizer/regex.h"

namespace expertile {

// Pieces of text, one after another in one buffer.
struct TextPieces {
  std::string text;
  std::vector<size_t> ends;  // of each piece in `text`; the last is text.size()

  void Append(std::string_view piece) {
    text += piece;
    ends.push_back(text.size());
  }
  size_t size() const { return ends.size(); }
  std::string_view operator[](size_t i) const {
    const size_t begin = i == 0 ? 0 : ends[i - 1];
    return std::string_view(text).substr(begin, ends[i] - begin);
  }
};

class PreTokenizer {
 public:
  // null, Split, Digits, ByteLevel or a Sequence of them; any other type is kUnsupported.
  static Result<PreTokenizer> FromJson(const nlohmann::json& object);

  // `text` is well-formed UTF-8. No piece is empty.
  Result<TextPieces> Split(std::string_view text) const;

 private:
  enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };
  struct PatternSplit {
    Regex pattern;
    Behavior behavior;
    bool invert;
  };
  struct PrefixSpace {};  // a space before every piece that does not begin with one
  struct ByteLevel {};    // every byte as a character of byte_level.h
  using Step = std::variant<PatternSplit, PrefixSpace, ByteLevel>;
  struct Segment {
    TextRange range;
    bool is_match;
  };

  Status AppendSteps(const nlohmann::json& leaf);
  static Result<PatternSplit> PatternSplitFromJson(const nlohmann::json& leaf);
  static Result<Behavior> BehaviorFromName(std::string_view name);
  static std::vector<Segment> Merge(const std::vector<Segment>& segments, Behavior behavior);
  static Result<TextPieces> Run(const PatternSplit& step, const TextPieces& pieces);
  static Result<TextPieces> Run(const PrefixSpace& step, const TextPieces& pieces);
  static Result<TextPieces> Run(const ByteLevel& step, const TextPieces& pieces);

  std::vector<Step> steps_;
};

}  // namespace expertile
