// Reading what a user hands to a command: files, lists of token ids.
// Not checkpoints: the library opens those.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "expertile/model.h"
#include "expertile/result.h"

namespace expertile::cli {

// A whole file as it is; the error names it.
Result<std::string> ReadFile(const std::string& path);

// Whether a file could be written there, before the work that makes it. Empty paths could. Errors:
// a folder; no folder to hold it, or none that may be written to.
Status CheckOutput(const std::string& path);

// Every file through the program's vision tower.
Result<std::vector<EncodedImage>> EncodeImages(const Program& program,
                                               const std::vector<std::string>& files);

// A JSON list of integers, its brackets optional; `source` names the input in errors.
Result<std::vector<int32_t>> ParseIds(const std::string& text, const std::string& source);

}  // namespace expertile::cli
