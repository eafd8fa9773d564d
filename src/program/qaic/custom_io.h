// custom_io.yaml: the number formats of inputs and outputs, where they are not the graph's float32.
// Not the format of weights or arithmetic: those are compiler flags.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "expertile/result.h"

namespace expertile::qaic {

enum class KvPrecision : uint8_t { kFloat16, kMxint8 };

// The file for a graph with these inputs and outputs. KV caches (past_…) get `kv`; pixel_values,
// vision_embeds and deepstack_features get float16; everything else stays as it is in the graph.
// Inputs come first, each list in its own order. Empty if no name needs an entry.
// Errors: an output X_RetainedState without an input X, a cache input that no output retains, a
// name that is not one word of printable ASCII.
Result<std::string> CustomIoYaml(std::span<const std::string> inputs,
                                 std::span<const std::string> outputs, KvPrecision kv);

}  // namespace expertile::qaic
