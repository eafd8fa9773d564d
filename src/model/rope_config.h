// RoPE as config.json spells it, in both forms found in the wild: top-level rope_theta and
// rope_scaling, and transformers 5's rope_parameters. Not the rotation itself (Ops::Rotate).
#pragma once

#include <string_view>

#include "expertile/result.h"
#include "formats/json.h"
#include "model/decoder_spec.h"

namespace expertile {

// What a configuration without them means, as its class in transformers has it.
struct RopeDefaults {
  double theta = 10000.0;
  std::string_view parameters = "{}";  // a JSON object in the place of rope_parameters
};

// What RoPE has to know of the decoder.
struct RopeShape {
  int64_t head_dim = 0;
  int64_t max_positions = 0;
};

// Reads the scaling types default, linear and yarn; refuses others by name. rope_scaling, unless it
// is empty, has the place of rope_parameters; two fields that name one thing must agree. Formulas:
// transformers' modeling_rope_utils.py (YaRN: arXiv 2309.00071, section 3).
Result<RopeSpec> ReadRope(const JsonObject& config, const RopeShape& shape,
                          const RopeDefaults& defaults);

// The same with the interleaved axes (time, height, width) of mrope_section, [24,20,20] where it is
// absent.
Result<RopeSpec> ReadMrope(const JsonObject& config, const RopeShape& shape,
                           const RopeDefaults& defaults);

// The base of a vision tower's RoPE, which knows no scaling.
Result<double> ReadAxialTheta(const JsonObject& config);

}  // namespace expertile
