#include "model/mrope_positions.h"

#include <algorithm>

#include "base/error.h"

namespace expertile {
namespace {

// Appends tokens to the three axes.
class PositionWriter {
 public:
  void AppendText() {
    for (auto& axis : axes_) axis.push_back(next_);
    ++next_;
  }

  void AppendImage(const ImageGrid& grid, int64_t merge_size) {
    const auto num_frames = static_cast<int32_t>(grid.t);
    const auto num_rows = static_cast<int32_t>(grid.h / merge_size);
    const auto num_columns = static_cast<int32_t>(grid.w / merge_size);
    for (int32_t frame = 0; frame < num_frames; ++frame) {
      for (int32_t row = 0; row < num_rows; ++row) {
        for (int32_t column = 0; column < num_columns; ++column) {
          axes_[0].push_back(next_ + frame);
          axes_[1].push_back(next_ + row);
          axes_[2].push_back(next_ + column);
        }
      }
    }
    next_ += std::max(num_rows, num_columns);
  }

  MropePositions Take() const {
    MropePositions result;
    int32_t greatest = -1;
    for (const auto& axis : axes_) {
      result.positions.insert(result.positions.end(), axis.begin(), axis.end());
      for (const int32_t position : axis) greatest = std::max(greatest, position);
    }
    result.delta = greatest + 1 - static_cast<int32_t>(axes_[0].size());
    return result;
  }

 private:
  std::array<std::vector<int32_t>, kMropeAxes> axes_;
  int32_t next_ = 0;
};

// Image tokens in a row from `begin` on, `limit` at most.
int64_t RunLength(std::span<const int32_t> token_ids, size_t begin, int64_t limit,
                  int32_t image_token_id) {
  int64_t length = 0;
  while (length < limit && begin + length < token_ids.size() &&
         token_ids[begin + length] == image_token_id) {
    ++length;
  }
  return length;
}

}  // namespace

Result<MropePositions> ComputeMropePositions(std::span<const int32_t> token_ids,
                                             std::span<const ImageGrid> grids,
                                             const ImagePromptSpec& spec) {
  PositionWriter writer;
  size_t num_images = 0;
  for (size_t i = 0; i < token_ids.size();) {
    if (token_ids[i] != spec.image_token_id) {
      writer.AppendText();
      ++i;
      continue;
    }
    if (num_images == grids.size()) {
      return InvalidArgument(
          "image token at index {} of the prompt, after the tokens of all {} images", i,
          grids.size());
    }
    const ImageGrid& grid = grids[num_images];
    const int64_t num_tokens = grid.num_tokens(spec.merge_size);
    const int64_t length = RunLength(token_ids, i, num_tokens, spec.image_token_id);
    if (length != num_tokens) {
      return InvalidArgument("image {} has {} tokens at index {} of the prompt, expected {}",
                             num_images, length, i, num_tokens);
    }
    writer.AppendImage(grid, spec.merge_size);
    ++num_images;
    i += static_cast<size_t>(num_tokens);
  }
  if (num_images != grids.size()) {
    return InvalidArgument("the prompt has tokens of {} images, {} are given", num_images,
                           grids.size());
  }
  return writer.Take();
}

Result<std::vector<int32_t>> ExpandImageTokens(std::span<const int32_t> token_ids,
                                               std::span<const ImageGrid> grids,
                                               const ImagePromptSpec& spec) {
  const auto num_images = std::count(token_ids.begin(), token_ids.end(), spec.image_token_id);
  if (static_cast<size_t>(num_images) != grids.size()) {
    return InvalidArgument("the prompt has {} image tokens, {} images are given", num_images,
                           grids.size());
  }
  std::vector<int32_t> expanded;
  auto grid = grids.begin();
  for (const int32_t id : token_ids) {
    const bool is_image = id == spec.image_token_id;
    expanded.insert(expanded.end(), is_image ? (grid++)->num_tokens(spec.merge_size) : 1, id);
  }
  return expanded;
}

std::vector<int32_t> InterleavedMropeAxes(const std::array<int64_t, kMropeAxes>& sections,
                                          int64_t num_pairs) {
  std::vector<int32_t> axes;
  for (int64_t pair = 0; pair < num_pairs; ++pair) {
    const int64_t axis = pair % kMropeAxes;
    axes.push_back(pair < kMropeAxes * sections[axis] ? static_cast<int32_t>(axis) : 0);
  }
  return axes;
}

}  // namespace expertile
