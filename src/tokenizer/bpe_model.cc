#include "tokenizer/bpe_model.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tokenizer/json_fields.h"
#include "tokenizer/utf8.h"

namespace expertile {
namespace {

constexpr std::string_view kWhere = "model";

// The order of a heap whose top is the merge to do next: lowest rank, then leftmost.
bool ComesLater(const BpeModel::Candidate& a, const BpeModel::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

}  // namespace

Result<BpeModel> BpeModel::FromJson(const nlohmann::json& model) {
  const nlohmann::json& type = FieldOrNull(model, "type");  // absent in files before 2020
  if (!type.is_null() && type != "BPE")
    return Unsupported("{}: type {}", kWhere, OneLine(type.dump()));
  BpeModel bpe;
  EXPERTILE_RETURN_IF_ERROR(bpe.LoadOptions(model));
  EXPERTILE_RETURN_IF_ERROR(bpe.LoadVocabulary(FieldOrNull(model, "vocab")));
  EXPERTILE_RETURN_IF_ERROR(bpe.LoadMerges(FieldOrNull(model, "merges")));
  return bpe;
}

Status BpeModel::LoadOptions(const nlohmann::json& model) {
  EXPERTILE_ASSIGN(ignore_merges_, BoolField(model, "ignore_merges", false, kWhere));
  EXPERTILE_ASSIGN(fuse_unknown_, BoolField(model, "fuse_unk", false, kWhere));
  EXPERTILE_ASSIGN(const bool byte_fallback, BoolField(model, "byte_fallback", false, kWhere));
  if (byte_fallback) return Unsupported("{}: byte_fallback", kWhere);
  if (const auto& dropout = FieldOrNull(model, "dropout"); !dropout.is_null() && dropout != 0.0) {
    return Unsupported("{}: dropout {}", kWhere, OneLine(dropout.dump()));
  }
  for (const std::string_view affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const nlohmann::json& value = FieldOrNull(model, affix);
    if (!value.is_null() && value != "") return Unsupported("{}: {}", kWhere, affix);
  }
  if (!FieldOrNull(model, "unk_token").is_null()) {
    EXPERTILE_ASSIGN(unknown_token_, StringField(model, "unk_token", kWhere));
  }
  return {};
}

Status BpeModel::LoadVocabulary(const nlohmann::json& vocabulary) {
  if (!vocabulary.is_object()) {
    return InvalidData("{}: vocab is {}, expected an object", kWhere, vocabulary.type_name());
  }
  id_of_.reserve(vocabulary.size());
  text_of_.reserve(vocabulary.size());
  id_of_low_character_.fill(kNone);
  for (const auto& [token, value] : vocabulary.items()) {
    EXPERTILE_ASSIGN(const int32_t id, IdValue(value, kWhere));
    const auto entry = id_of_.emplace(token, id).first;
    const auto [named, inserted] = text_of_.emplace(id, &entry->first);
    if (!inserted) {
      return InvalidData("{}: id {} has two tokens, '{}' and '{}'", kWhere, id,
                         OneLine(*named->second), OneLine(token));
    }
    end_id_ = std::max(end_id_, id + 1);
    if (token.empty()) continue;
    const Utf8Step step = DecodeUtf8(token);
    if (step.size == token.size() && step.code_point < id_of_low_character_.size()) {
      id_of_low_character_[step.code_point] = id;
    }
  }
  return {};
}

Status BpeModel::LoadMerges(const nlohmann::json& merges) {
  if (!merges.is_array()) {
    return InvalidData("{}: merges is {}, expected an array", kWhere, merges.type_name());
  }
  merges_.reserve(merges.size());
  size_t rank = 0;
  for (const nlohmann::json& merge : merges) {
    if (merge.is_string()) {
      const std::string_view line = merge.get_ref<const std::string&>();
      if (line.starts_with("#version")) continue;
      const size_t space = line.find(' ');
      if (space == line.npos || line.find(' ', space + 1) != line.npos) {
        return InvalidData("{}: merge {} is '{}', expected two tokens", kWhere, rank,
                           OneLine(line));
      }
      EXPERTILE_RETURN_IF_ERROR(AddMerge(line.substr(0, space), line.substr(space + 1), rank));
    } else {
      if (!merge.is_array() || merge.size() != 2 || !merge[0].is_string() ||
          !merge[1].is_string()) {
        return InvalidData("{}: merge {} is not two tokens", kWhere, rank);
      }
      EXPERTILE_RETURN_IF_ERROR(AddMerge(merge[0].get_ref<const std::string&>(),
                                         merge[1].get_ref<const std::string&>(), rank));
    }
    ++rank;
  }
  return {};
}

Status BpeModel::AddMerge(std::string_view left, std::string_view right, size_t rank) {
  std::string merged(left);
  merged += right;
  const auto left_id = IdOf(left);
  const auto right_id = IdOf(right);
  const auto merged_id = IdOf(merged);
  if (!left_id || !right_id || !merged_id) {
    return InvalidData("{}: merge {}: token '{}' is not in the vocabulary", kWhere, rank,
                       OneLine(!left_id    ? left
                               : !right_id ? right
                                           : merged));
  }
  merges_[PairKey(*left_id, *right_id)] = {static_cast<int32_t>(rank), *merged_id};
  return {};
}

std::optional<int32_t> BpeModel::IdOf(std::string_view token) const {
  const auto found = id_of_.find(token);
  return found == id_of_.end() ? std::nullopt : std::optional(found->second);
}

const std::string* BpeModel::TextOf(int32_t id) const {
  const auto found = text_of_.find(id);
  return found == text_of_.end() ? nullptr : found->second;
}

std::optional<int32_t> BpeModel::IdOfCharacter(std::string_view character) const {
  const char32_t code_point = DecodeUtf8(character).code_point;
  if (code_point >= id_of_low_character_.size()) return IdOf(character);
  const int32_t id = id_of_low_character_[code_point];
  return id == kNone ? std::nullopt : std::optional(id);
}

Status BpeModel::AppendTokens(std::string_view piece, Scratch* scratch,
                              std::vector<int32_t>* ids) const {
  if (piece.size() > kMaxPieceSize) {
    return InvalidArgument("text: a piece of {} bytes, at most {} are supported", piece.size(),
                           kMaxPieceSize);
  }
  if (ignore_merges_) {
    if (const auto id = IdOf(piece)) {
      ids->push_back(*id);
      return {};
    }
  }
  EXPERTILE_RETURN_IF_ERROR(AppendSymbols(piece, &scratch->symbols));
  MergeSymbols(scratch);
  if (scratch->symbols.empty()) return {};
  for (int32_t at = 0; at != kNone; at = scratch->symbols[at].next) {
    ids->push_back(scratch->symbols[at].id);
  }
  return {};
}

Status BpeModel::AppendSymbols(std::string_view piece, std::vector<Symbol>* symbols) const {
  symbols->clear();
  const auto append = [&](int32_t id) {
    const auto position = static_cast<int32_t>(symbols->size());
    if (position > 0) symbols->back().next = position;
    symbols->push_back({id, position - 1, kNone});
  };
  bool after_unknown = false;
  while (!piece.empty()) {
    const std::string_view character = piece.substr(0, DecodeUtf8(piece).size);
    piece.remove_prefix(character.size());
    if (const auto id = IdOfCharacter(character)) {
      append(*id);
      after_unknown = false;
    } else if (unknown_token_) {
      const auto unknown_id = IdOf(*unknown_token_);
      if (!unknown_id) {
        return InvalidData("{}: unk_token '{}' is not in the vocabulary", kWhere,
                           OneLine(*unknown_token_));
      }
      if (!(after_unknown && fuse_unknown_)) append(*unknown_id);
      after_unknown = true;
    }
  }
  return {};
}

void BpeModel::PushCandidate(int32_t left, Scratch* scratch) const {
  if (left == kNone) return;
  const Symbol& symbol = scratch->symbols[left];
  if (symbol.next == kNone) return;
  const auto rule = merges_.find(PairKey(symbol.id, scratch->symbols[symbol.next].id));
  if (rule == merges_.end()) return;
  scratch->heap.push_back({rule->second.rank, left, rule->second.merged_id});
  std::push_heap(scratch->heap.begin(), scratch->heap.end(), ComesLater);
}

// A candidate may be out of date when it comes up: its left symbol was merged away (id kNone), or
// the pair there is another one now, which a different merged_id betrays.
void BpeModel::MergeSymbols(Scratch* scratch) const {
  std::vector<Symbol>& symbols = scratch->symbols;
  scratch->heap.clear();
  for (size_t i = 0; i < symbols.size(); ++i) PushCandidate(static_cast<int32_t>(i), scratch);
  while (!scratch->heap.empty()) {
    std::pop_heap(scratch->heap.begin(), scratch->heap.end(), ComesLater);
    const Candidate top = scratch->heap.back();
    scratch->heap.pop_back();
    Symbol& left = symbols[top.position];
    if (left.id == kNone || left.next == kNone) continue;
    Symbol& right = symbols[left.next];
    const auto rule = merges_.find(PairKey(left.id, right.id));
    if (rule == merges_.end() || rule->second.merged_id != top.merged_id) continue;
    left.id = top.merged_id;
    left.next = right.next;
    right.id = kNone;
    if (left.next != kNone) symbols[left.next].previous = top.position;
    PushCandidate(left.previous, scratch);
    PushCandidate(top.position, scratch);
  }
}

}  // namespace expertile
