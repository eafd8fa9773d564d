// The tokens of every expert, in token order: routing ids [T, K] turned around by a counting sort.
// Not a placement of experts on NSPs (dispatch/).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace expertile::cpu {

class ExpertRows {
 public:
  // ids [T, K]; ids below zero are left out, others are below num_experts.
  void Assign(std::span<const int32_t> ids, int experts_per_token, int num_experts) {
    begin_.assign(static_cast<size_t>(num_experts) + 1, 0);
    for (const int32_t id : ids) {
      if (id >= 0) ++begin_[static_cast<size_t>(id) + 1];
    }
    for (size_t e = 1; e < begin_.size(); ++e) begin_[e] += begin_[e - 1];
    tokens_.resize(static_cast<size_t>(begin_.back()));
    assignments_.resize(tokens_.size());
    std::vector<int32_t> next(begin_.begin(), begin_.end() - 1);
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] < 0) continue;
      const auto at = static_cast<size_t>(next[static_cast<size_t>(ids[i])]++);
      tokens_[at] = static_cast<int32_t>(i) / experts_per_token;
      assignments_[at] = static_cast<int32_t>(i);
    }
  }

  int num_experts() const { return static_cast<int>(begin_.size()) - 1; }
  int64_t Begin(int expert) const { return begin_[static_cast<size_t>(expert)]; }
  int64_t Count(int expert) const { return Begin(expert + 1) - Begin(expert); }
  int64_t Total() const { return static_cast<int64_t>(tokens_.size()); }
  const int32_t* tokens() const { return tokens_.data(); }            // token of each row
  const int32_t* assignments() const { return assignments_.data(); }  // token * K + k of each row

 private:
  std::vector<int32_t> begin_;  // [E + 1]
  std::vector<int32_t> tokens_;
  std::vector<int32_t> assignments_;
};

}  // namespace expertile::cpu
