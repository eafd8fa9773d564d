// The flags that choose how tokens are drawn, and what is in force in words.
// Not the drawing: that is the library's.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "expertile/generation.h"

namespace expertile::cli {

void AddSamplingFlags(CLI::App& app, SamplingChoices& choices);

// "greedy", or "temperature 0.6, top_k 20, …, seed 0".
std::string SamplingText(const SamplingOptions& options);

// Prefill's and decode's tokens and speed, and how the tokens were drawn, on standard error.
void PrintStatistics(const GenerationStatistics& statistics, const SamplingOptions& sampling);

}  // namespace expertile::cli
