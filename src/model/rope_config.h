// RoPE as config.json spells it, in both forms found in the wild: top-level rope_theta and
// rope_scaling, and transformers 5's rope_parameters. Not the rotation itself (Ops::Rotate).
#pragma once

#include "expertile/result.h"
#include "formats/json.h"
#include "model/decoder_spec.h"

namespace expertile {

// Reads the scaling types default, linear and yarn; refuses others by name. `default_theta` serves
// where the configuration has none. Formulas: transformers' modeling_rope_utils.py (YaRN: arXiv
// 2309.00071, section 3).
Result<RopeSpec> ReadRope(const JsonObject& config, int64_t head_dim, double default_theta);

// The same with the interleaved axes (time, height, width) of mrope_section, [24,20,20] where it is
// absent.
Result<RopeSpec> ReadMrope(const JsonObject& config, int64_t head_dim, double default_theta);

}  // namespace expertile
