// MoeProfile: how a prompt's tokens lie on experts, layers and NSPs, and how they would lie on
// others; and a report of it for people. Not a benchmark: one prompt, once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "expertile/model.h"
#include "expertile/result.h"

namespace expertile {

// Which NSP an expert lies on: a program places them interleaved; the others are for comparison.
enum class PlacementKind : uint8_t {
  kInterleaved,  // expert e on NSP e mod N
  kContiguous,   // on NSP e div L
  kFitted,       // of each layer by this prompt's rows, the most popular first, on the least loaded
};

struct MoeProfile {
  std::string name;  // the model's folder
  std::string model_type;
  std::string target;
  std::string isa;
  int num_cores = 0;
  int num_experts = 0;            // E
  int experts_per_token = 0;      // K
  int num_nsp = 0;                // N
  int64_t packed_chunk_size = 0;  // P
  int64_t prefill_seq_len = 0;
  int64_t num_tokens = 0;
  double prefill_seconds = 0.0;

  std::vector<int> layers;                          // [M], the indices of MoE layers
  std::vector<std::vector<int64_t>> expert_rows;    // [M][E], token rows
  std::vector<std::vector<double>> expert_seconds;  // [M][E]; zeros where a target does not tell

  // The NSPs of all steps meet after every layer, so the sum of their busiest counts. Ratios are of
  // such sums: the busiest NSP's rows over the NSPs' mean, and of workers that help each other,
  // predicted by the cost of their pieces.
  struct Balance {
    double nsp_imbalance = 1.0;
    double worker_imbalance = 1.0;
    int64_t num_chunks = 0;
    int64_t num_rows = 0;
  };
  Balance balance;
  std::vector<double> layer_imbalance;  // [M], of each layer's NSPs

  struct Number {
    int num_nsp = 0;
    PlacementKind placement = PlacementKind::kInterleaved;
    Balance balance;
  };
  std::vector<Number> numbers;  // other N and placements, at this P
  struct ChunkSize {
    int64_t packed_chunk_size = 0;
    Balance balance;
  };
  std::vector<ChunkSize> chunk_sizes;  // other P, at this N
};

// Prefills `token_ids` in a session of its own. Errors: a program without moe_prefill_num_nsp;
// those of Session::Run(), `is_cancelled` included.
Result<MoeProfile> ProfilePrefill(const Program& program, std::span<const int32_t> token_ids,
                                  const IsCancelled& is_cancelled = nullptr);

// All of it as one JSON object, with the names above.
std::string ProfileToJson(const MoeProfile& profile);

// A page that needs nothing else: one HTML file, written whole or not at all.
Status WriteProfileReport(const MoeProfile& profile, const std::filesystem::path& file);

}  // namespace expertile
