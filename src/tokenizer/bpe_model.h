// The BPE model of tokenizer.json: a vocabulary and ranked merges, applied to one piece of text.
// Not for cutting text into pieces (pre_tokenizer.h), and not for added tokens (added_tokens.h).
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "expertile/result.h"

namespace expertile {

class BpeModel {
 public:
  // Merges may be strings "a b" or pairs ["a","b"]. Dropout, byte_fallback and non-empty
  // continuing_subword_prefix / end_of_word_suffix are kUnsupported.
  static Result<BpeModel> FromJson(const nlohmann::json& model);
  BpeModel(BpeModel&&) = default;  // no copies: text_of_ points into id_of_
  BpeModel& operator=(BpeModel&&) = default;

  // One symbol of a piece while it is merged: a node of a doubly linked list in an array.
  struct Symbol {
    int32_t id;
    int32_t previous;  // -1: none
    int32_t next;      // -1: none
  };
  struct Candidate {
    int32_t rank;
    int32_t position;  // of the left symbol
    int32_t merged_id;
  };
  // Memory to be reused from piece to piece; one for each thread.
  struct Scratch {
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  // Appends the tokens of `piece` (well-formed UTF-8, at most kMaxPieceSize bytes): the symbols of
  // its characters, merged by lowest rank, then leftmost; O(n log n). A character that is not in
  // the vocabulary is unk_token, or dropped where there is none.
  Status AppendTokens(std::string_view piece, Scratch* scratch, std::vector<int32_t>* ids) const;
  static constexpr size_t kMaxPieceSize = size_t{1} << 30;

  std::optional<int32_t> IdOf(std::string_view token) const;
  const std::string* TextOf(int32_t id) const;  // null: no such id
  size_t num_tokens() const { return id_of_.size(); }
  int32_t end_id() const { return end_id_; }  // the largest id plus 1

 private:
  struct TransparentHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  struct MergeRule {
    int32_t rank;
    int32_t merged_id;
  };

  BpeModel() = default;
  static uint64_t PairKey(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(left) << 32) | static_cast<uint32_t>(right);
  }
  Status LoadOptions(const nlohmann::json& model);
  Status LoadVocabulary(const nlohmann::json& vocabulary);
  Status LoadMerges(const nlohmann::json& merges);
  Status AddMerge(std::string_view left, std::string_view right, size_t rank);
  std::optional<int32_t> IdOfCharacter(std::string_view character) const;
  Status AppendSymbols(std::string_view piece, std::vector<Symbol>* symbols) const;
  void MergeSymbols(Scratch* scratch) const;
  void PushCandidate(int32_t left, Scratch* scratch) const;

  static constexpr int32_t kNone = -1;
  std::unordered_map<std::string, int32_t, TransparentHash, std::equal_to<>> id_of_;
  std::unordered_map<int32_t, const std::string*> text_of_;  // points at keys of id_of_
  std::unordered_map<uint64_t, MergeRule> merges_;           // by PairKey
  // The ids of the one-character tokens below U+0180, the byte-level alphabet among them.
  std::array<int32_t, 0x180> id_of_low_character_ = {};
  int32_t end_id_ = 0;
  bool ignore_merges_ = false;
  bool fuse_unknown_ = false;
  std::optional<std::string> unknown_token_;
};

}  // namespace expertile
