#include "targets/cuda/step_inputs.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace expertile::cuda {
namespace {

constexpr int64_t kMinWords = 1 << 16;

// Words of one upload, each list at a multiple of 4.
class Words {
 public:
  int64_t Add(std::span<const int32_t> list) {
    const auto first = static_cast<int64_t>(words_.size());
    words_.insert(words_.end(), list.begin(), list.end());
    words_.resize((words_.size() + 3) / 4 * 4, 0);
    return first;
  }
  const std::vector<int32_t>& words() const { return words_; }

 private:
  std::vector<int32_t> words_;
};

std::span<const int32_t> AsWords(const std::vector<AttentionTile>& tiles) {
  return {reinterpret_cast<const int32_t*>(tiles.data()),
          tiles.size() * sizeof(AttentionTile) / sizeof(int32_t)};
}

// A run of this many pairs keeps two warpgroups busy.
constexpr int64_t kManyPairs = 4 * kPairsPerWarpgroup;

}  // namespace

std::vector<AttentionTile> TilesOf(std::span<const int32_t> sequences,
                                   std::span<const int32_t> positions,
                                   std::span<const int32_t> table_offsets, int group,
                                   int pairs_per_tile) {
  std::vector<AttentionTile> tiles;
  const auto num_rows = static_cast<int32_t>(sequences.size());
  for (int32_t first = 0, last = 0; first < num_rows; first = last) {
    while (last < num_rows && sequences[last] == sequences[first]) ++last;
    const int32_t num_pairs = (last - first) * group;
    for (int32_t pair = 0; pair < num_pairs; pair += pairs_per_tile) {
      const int32_t count = std::min(pairs_per_tile, num_pairs - pair);
      tiles.push_back({.first_row = first,
                       .first_pair = pair,
                       .num_pairs = count,
                       .first_block = table_offsets[sequences[first]],
                       .first_position = positions[first + pair / group],
                       .last_position = positions[first + (pair + count - 1) / group],
                       .unused = {}});
    }
  }
  return tiles;
}

Result<StepUploads> StepUploads::Create(std::vector<int> groups) {
  StepUploads uploads;
  uploads.groups_ = std::move(groups);
  EXPERTILE_RETURN_IF_ERROR(uploads.Fit(kMinWords, nullptr));
  return uploads;
}

Status StepUploads::Fit(int64_t num_words, cudaStream_t stream) {
  const int64_t num_bytes = num_words * static_cast<int64_t>(sizeof(int32_t));
  if (num_bytes <= host_.size()) return {};
  if (stream != nullptr) EXPERTILE_RETURN_IF_ERROR(Check(cudaStreamSynchronize(stream), "step"));
  host_ = {};
  device_ = {};
  EXPERTILE_ASSIGN(host_, PinnedMemory::Allocate(2 * num_bytes));
  EXPERTILE_ASSIGN(device_, DeviceMemory::Allocate(2 * num_bytes, "a step's inputs"));
  return {};
}

Result<StepInputs> StepUploads::Upload(const Step& step, cudaStream_t stream) {
  StepInputs inputs;
  inputs.num_tokens = step.num_tokens();
  inputs.num_logit_rows = static_cast<int64_t>(step.logit_rows.size());
  inputs.images = step.images;
  inputs.trace = step.trace;
  inputs.finite = step.finite;
  if (inputs.num_tokens == 0) return inputs;
  Words words;
  std::vector<int32_t> blocks;
  std::vector<int32_t> table_offsets;
  for (const BlockTable table : step.block_tables) {
    table_offsets.push_back(static_cast<int32_t>(blocks.size()));
    blocks.insert(blocks.end(), table.begin(), table.end());
  }
  const int64_t token_ids = words.Add(step.token_ids);
  const int64_t sequences = words.Add(step.sequences);
  const int64_t positions = words.Add(step.positions);
  const int64_t rope_positions = words.Add(step.rope_positions);
  const int64_t offsets = words.Add(table_offsets);
  const int64_t logit_rows = words.Add(step.logit_rows);
  const int64_t image_rows = words.Add(step.images.rows);
  for (const int group : groups_) {
    AttentionTiles& tiles = inputs.tiles[group];
    // Tiles of one warpgroup unless most would be filled by two.
    const bool are_many =
        inputs.num_tokens * group >= kManyPairs * static_cast<int64_t>(step.block_tables.size());
    tiles.pairs_per_tile = (are_many ? 2 : 1) * kPairsPerWarpgroup;
    const auto list =
        TilesOf(step.sequences, step.positions, table_offsets, group, tiles.pairs_per_tile);
    tiles.count = static_cast<int>(list.size());
    tiles.are_few = std::ranges::all_of(
        list, [](const AttentionTile& tile) { return tile.num_pairs <= kFewPairs; });
    tiles.first = words.Add(AsWords(list));
  }
  const int64_t block_words = words.Add(blocks);
  const auto num_words = static_cast<int64_t>(words.words().size());
  EXPERTILE_RETURN_IF_ERROR(Fit(num_words, stream));
  std::memcpy(host_.data(), words.words().data(), num_words * sizeof(int32_t));
  EXPERTILE_RETURN_IF_ERROR(
      Check(cudaMemcpyAsync(device_.data(), host_.data(), num_words * sizeof(int32_t),
                            cudaMemcpyHostToDevice, stream),
            "a step's inputs"));
  const auto* base = device_.As<const int32_t>();
  inputs.words = base;
  inputs.token_ids = base + token_ids;
  inputs.rope_positions = base + rope_positions;
  inputs.logit_rows = base + logit_rows;
  inputs.image_rows = base + image_rows;
  inputs.rows = {base + sequences, base + positions, base + offsets, base + block_words};
  return inputs;
}

}  // namespace expertile::cuda
