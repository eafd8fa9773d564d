// The weights that a spec asks for: views with shapes but without data, for a program whose weights
// are packed already and are found by name. Not where a checkpoint has them (weight_binding.h).
#pragma once

#include "model/decoder_spec.h"
#include "model/decoder_weights.h"
#include "model/vision_spec.h"
#include "model/vision_weights.h"

namespace expertile {

// Biases are not in it: whether a linear has one is its program's to say.
DecoderWeights ShapesOf(const DecoderSpec& spec);
VisionWeights ShapesOf(const VisionSpec& spec);

}  // namespace expertile
