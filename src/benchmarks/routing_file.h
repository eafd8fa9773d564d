// Reads a routing that was recorded: which K experts each of T tokens chose.
// Not dispatch's table of a step (dispatch/routing_table.h), which it fills.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "expertile/result.h"

namespace expertile {

// ids [T,K], T >= 1: of a JSON list of T lists of K ids, or of a safetensors file's int32 or int64
// tensor `layer.<i>.topk_ids` or `topk_ids`; with no layer named, the first of the file. Errors: a
// file of neither kind, another K, ids outside [0, E) but for padded rows of -1.
Result<std::vector<int32_t>> ReadRouting(const std::filesystem::path& file,
                                         std::optional<int> layer, int experts_per_token,
                                         int num_experts);

}  // namespace expertile
