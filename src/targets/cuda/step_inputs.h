// A step as the CUDA target has it: everything the kernels ask of it, in one upload to buffers that
// stay where they are. Not the step's activations.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "model/decoder_spec.h"
#include "model/step.h"
#include "targets/cuda/device.h"
#include "targets/cuda/kernels/attention.h"

namespace expertile::cuda {

// Tiles of (row, head of a group) pairs, for layers with `group` query heads to a key.
struct AttentionTiles {
  int64_t first = 0;  // of the upload's words
  int count = 0;
  int pairs_per_tile = kPairsPerWarpgroup;
  bool are_few = false;  // no tile has more than kFewPairs pairs

  bool operator==(const AttentionTiles&) const = default;
};

struct StepInputs {
  int64_t num_tokens = 0;
  int64_t num_logit_rows = 0;
  const int32_t* token_ids = nullptr;
  const int32_t* rope_positions = nullptr;  // [A,T]
  const int32_t* logit_rows = nullptr;
  const int32_t* image_rows = nullptr;
  StepRowsView rows;
  const int32_t* words = nullptr;       // the upload
  std::map<int, AttentionTiles> tiles;  // by group
  ImageRows images;
  MoeTrace* trace = nullptr;
  FiniteRows* finite = nullptr;

  // Whether kernels launched for `other` do this step's work, too: their arguments are the same,
  // and so is where they find what differs.
  bool LaunchesAs(const StepInputs& other) const {
    return words == other.words && num_tokens == other.num_tokens &&
           num_logit_rows == other.num_logit_rows && tiles == other.tiles &&
           rows.table_offsets == other.rows.table_offsets && rows.blocks == other.rows.blocks;
  }
  // Nothing of the step goes to the host on the way, or comes from there.
  bool IsDeviceOnly() const {
    return images.rows.empty() && trace == nullptr && finite == nullptr && num_tokens > 0;
  }
};

// The attention's tiles of a step: sequences' rows, which follow each other, cut. So no block
// before that of a sequence's first position is written in the step, which attention_few_rows.cu
// builds on.
std::vector<AttentionTile> TilesOf(std::span<const int32_t> sequences,
                                   std::span<const int32_t> positions,
                                   std::span<const int32_t> table_offsets, int group,
                                   int pairs_per_tile);

class StepUploads {
 public:
  // `groups`: of the layers, distinct. Errors: out of memory.
  static Result<StepUploads> Create(std::vector<int> groups);

  // Copies the step; the copy before must be done.
  Result<StepInputs> Upload(const Step& step, cudaStream_t stream);

 private:
  Status Fit(int64_t num_words, cudaStream_t stream);

  std::vector<int> groups_;
  PinnedMemory host_;
  DeviceMemory device_;
};

}  // namespace expertile::cuda
