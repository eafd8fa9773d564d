// MoeTrace: what went into and came out of the MoE layers of a forward pass.
// Not for timing: recording copies activations to the host.
#pragma once

#include <cstdint>
#include <span>

namespace expertile {

// Receives the inputs and results of every MoE layer of a prefill step, in layer order, chunk by
// chunk. Spans live during the call only.
class MoeTrace {
 public:
  virtual ~MoeTrace() = default;
  virtual void Record(int layer, std::span<const float> moe_in,  // [T,H]
                      std::span<const int32_t> topk_ids,         // [T,K]
                      std::span<const float> topk_weights,       // [T,K]
                      std::span<const float> moe_out) = 0;       // [T,H]
};

}  // namespace expertile
