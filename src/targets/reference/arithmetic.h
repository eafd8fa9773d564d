// The reference target's products and MLP on single rows.
// Not for whole tensors: reference_ops.h loops over rows.
#pragma once

#include <span>

#include "model/decoder_spec.h"
#include "targets/reference/tensor.h"

namespace expertile::reference {

// sum_k a[k] b[k] in float64, four interleaved sums: one order whatever else is computed.
float Dot(std::span<const float> a, std::span<const float> b);

// y[o] = sum_k x[k] weight[o,k] + bias[o].
void MultiplyRow(std::span<const float> x, const Linear& linear, std::span<float> y);

// act(gate) combined with up (GatedActivation), one element.
float Activate(float gate, float up, const GatedMlpSpec& spec);

// y [H] = down(act(gate(x), up(x))).
void MlpRow(std::span<const float> x, const Mlp& mlp, const GatedMlpSpec& spec, std::span<float> y);

// One query head over the keys [begin, end) of its sequence: softmax(q k^T scale) v, with an
// optional sink logit that joins the softmax's sum only. `keys`, `values` are [ctx_len, D]; `mixed`
// is [D].
void AttendHead(std::span<const float> query, const float* keys, const float* values, int64_t begin,
                int64_t end, float scale, const float* sink, std::span<float> mixed);

}  // namespace expertile::reference
