// Every bound that a test holds floating-point results to, with its reason.
// Not for bit-identity: where DESIGN promises one answer, tests compare bits.
#pragma once

namespace expertile::tolerances {

// Relative L2 of logits, and of a MoE block, in float32 against transformers in float32. Both sum
// products of a few hundred to a few thousand terms in different orders: sqrt(n) 2^-24 is about
// 2e-6 for n = 1000, and five times that still tells a wrong formula (1e-3 and more) from rounding.
inline constexpr double kFloat32RelativeL2 = 1e-5;

// Mean negative log-likelihood in nats, float32: an error of logits of relative 1e-6 at a size of
// about 10.
inline constexpr double kFloat32MeanNll = 1e-5;

// Two logits closer than this may swap places between float32 implementations.
inline constexpr double kArgmaxGap = 1e-4;

// Relative L2 of one MoE block in bfloat16 arithmetic against float32: two roundings of activations
// (2^-9 each, random signs, so sums keep that relative size), and the gate's nonlinearity between
// them.
inline constexpr double kBFloat16MoeRelativeL2 = 5e-3;

// Relative L2 of logits of the target cuda against reference, of the rows that go to the
// reference's experts in every layer. Every activation is rounded to bfloat16 (2^-9 relative) as it
// enters a product, and queries, keys, values and experts' rows beside that; sums and branches are
// not. Over four layers of attention and experts such errors add up to about a percent.
inline constexpr double kCudaRelativeL2 = 2e-2;

// A row that goes to another expert than the reference's chose between two that are nearly alike:
// the gap of their logits, in standard deviations of the row's. A router's input is off by half a
// percent, and by some percent where the row attends to others that went elsewhere; between the
// K-th and the next of E experts lie 0.1 to 0.2 on the average.
inline constexpr double kCudaRoutingGap = 0.05;

// Relative L2 of logits in MXINT8 arithmetic against float32. Both operands of a product are off by
// up to 2^-7 of the largest power of two in their block, a third to half a percent of a typical
// value's size each; over four layers of attention and experts that adds up to a few percent.
inline constexpr double kMxint8RelativeL2 = 6e-2;

// Relative L2 of one MoE block in MXINT8 arithmetic against float32: the same of two products, and
// the gate's nonlinearity between them.
inline constexpr double kMxint8MoeRelativeL2 = 3e-2;

// Relative L2 of logits, cpu against reference, with the KV cache in bfloat16 or MXINT8. The two
// targets' keys and values differ by about 1e-6; where that carries one over a rounding boundary it
// moves by a whole step, 2^-8 of it in bfloat16 and 2^-7 of its block's largest in MXINT8. About
// one value in ten thousand does.
inline constexpr double kRoundedKvRelativeL2 = 1e-3;

}  // namespace expertile::tolerances
