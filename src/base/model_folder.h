// What is wrong with a path that should be a model's folder, said as its user sees it.
// Not a reader of the folder's files.
#pragma once

#include <filesystem>
#include <string>

#include "expertile/result.h"

namespace expertile {

// Refuses a path that is no folder (one that is missing, a hub's id, a file) and a folder without
// `file` (config.json, tokenizer.json).
Status CheckModelFolder(const std::filesystem::path& folder, const std::string& file);

// What a folder without the weights that are read holds instead, to end a message with: ": the
// folder is empty", "; it has model.gguf: GGUF is not supported, …"; empty if that explains
// nothing.
std::string WhatElseIsIn(const std::filesystem::path& folder);

}  // namespace expertile
