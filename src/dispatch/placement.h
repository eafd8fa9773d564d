// Placement: which expert lies on which NSP, in which slot. Interleaved: expert e on NSP e mod N,
// slot e div N. Not a balancer: it looks at no load.
#pragma once

#include <optional>

#include "dispatch/routing_table.h"
#include "expertile/result.h"

namespace expertile {

class Placement {
 public:
  // 1 <= num_nsp <= num_experts; N need not divide E.
  static Result<Placement> Create(int num_experts, int num_nsp);
  // None for num_nsp 0: blocking is off. Made once for a program.
  static Result<std::optional<Placement>> CreateIfBlocked(int num_experts, int num_nsp);
  // Everything on one NSP: one expert after another.
  static Placement OnOneNsp(int num_experts) { return Placement(num_experts, 1); }

  int num_experts() const { return num_experts_; }                                // E
  int num_nsp() const { return num_nsp_; }                                        // N
  int local_experts() const { return (num_experts_ + num_nsp_ - 1) / num_nsp_; }  // L

  int NspOf(int expert) const { return expert % num_nsp_; }
  int SlotOf(int expert) const { return expert / num_nsp_; }
  // Its row where the slots of all NSPs stand one after another, [L,N]: experts lie there in order.
  int PlaceOf(int expert) const { return SlotOf(expert) * num_nsp_ + NspOf(expert); }
  // kNoExpert in the last slot of an NSP that has one expert fewer.
  int ExpertAt(int nsp, int slot) const {
    const int expert = slot * num_nsp_ + nsp;
    return expert < num_experts_ ? expert : kNoExpert;
  }

 private:
  Placement(int num_experts, int num_nsp) : num_experts_(num_experts), num_nsp_(num_nsp) {}
  int num_experts_;
  int num_nsp_;
};

}  // namespace expertile
