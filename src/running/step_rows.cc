#include "running/step_rows.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "model/mrope_positions.h"
#include "running/sequences.h"

namespace expertile {
namespace {

std::vector<PlacedExtension::ImageRow> ImageRowsOf(std::span<const int32_t> token_ids,
                                                   std::span<const EncodedImage> images,
                                                   int32_t image_token_id) {
  std::vector<PlacedExtension::ImageRow> rows(token_ids.size());
  auto image = images.begin();
  int64_t row = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (token_ids[i] != image_token_id) continue;
    rows[i] = {&*image, row};
    if (++row == image->num_tokens) {
      ++image;
      row = 0;
    }
  }
  return rows;
}

// Text positions on all axes, from `first` on.
std::vector<int32_t> TextPositions(int64_t num_axes, int64_t count, int64_t first) {
  std::vector<int32_t> positions;
  for (int64_t axis = 0; axis < num_axes; ++axis) {
    for (int64_t i = 0; i < count; ++i) positions.push_back(static_cast<int32_t>(first + i));
  }
  return positions;
}

// What begins after a token, text or image, has the same position on all axes of RoPE: less its
// index, that is the delta. `last` is the extension's.
std::vector<int32_t> NextDeltasOf(const PlacedExtension& placed, int32_t last) {
  std::vector<int32_t> deltas(placed.size(), last);
  for (int64_t i = 0; i + 1 < placed.size(); ++i) {
    const bool is_inside = !placed.image_rows.empty() &&
                           placed.image_rows[i + 1].image != nullptr &&
                           placed.image_rows[i + 1].row > 0;
    const auto next = static_cast<int32_t>(placed.first_position + i + 1);
    deltas[i] = is_inside ? Sequences::kNoDelta : placed.rope_positions[i + 1] - next;
  }
  return deltas;
}

void AppendImageRow(const PlacedExtension::ImageRow& source, int64_t H, int32_t row,
                    StepRows& rows) {
  const EncodedImage& image = *source.image;
  const auto append = [&](const std::vector<float>& from, std::vector<float>& to) {
    const auto begin = from.begin() + source.row * H;
    to.insert(to.end(), begin, begin + H);
  };
  rows.image_rows.push_back(row);
  append(image.embeddings, rows.image_embeddings);
  rows.deepstack.resize(image.deepstack.size());
  for (size_t i = 0; i < image.deepstack.size(); ++i) append(image.deepstack[i], rows.deepstack[i]);
}

// The extension's tokens without padding; nothing else is set yet.
PlacedExtension WithoutPadding(const Extension& extension, int64_t first_position) {
  PlacedExtension placed;
  placed.sequence = extension.sequence;
  placed.first_position = first_position;
  placed.padded_size = static_cast<int64_t>(extension.token_ids.size());
  for (int64_t i = 0; i < placed.padded_size; ++i) {
    if (extension.token_ids[i] == kPaddingToken) continue;
    placed.token_ids.push_back(extension.token_ids[i]);
    placed.indices.push_back(i);
  }
  return placed;
}

// Refuses images whose rows are not the model's, or not as many as there are image tokens.
Status CheckImageRows(const PlacedExtension& placed, std::span<const EncodedImage> images,
                      const ModelConfig& model) {
  if (!model.vision) return InvalidArgument("images: the model has no vision part");
  const auto num_features = model.vision->spec.deepstack_blocks.size();
  int64_t num_rows = 0;
  for (const EncodedImage& image : images) {
    const auto expected = static_cast<size_t>(image.num_tokens * model.spec.hidden_size);
    bool is_whole = image.num_tokens > 0 && image.embeddings.size() == expected &&
                    image.deepstack.size() == num_features;
    for (const auto& feature : image.deepstack) is_whole &= feature.size() == expected;
    if (!is_whole) {
      return InvalidArgument(
          "images: {} tokens with {} values and {} deepstack features, the model has {} of {}",
          image.num_tokens, image.embeddings.size(), image.deepstack.size(), num_features,
          expected);
    }
    num_rows += image.num_tokens;
  }
  const auto num_tokens =
      std::ranges::count(placed.token_ids, model.vision->spec.prompt.image_token_id);
  if (num_tokens == num_rows) return {};
  return InvalidArgument("images: {} rows for {} image tokens", num_rows, num_tokens);
}

// The positions that the caller gives: of its tokens without the padding.
Result<std::vector<int32_t>> GivenPositions(const Extension& extension,
                                            const PlacedExtension& placed, int64_t num_axes) {
  const auto given = static_cast<int64_t>(extension.rope_positions.size());
  if (given != num_axes * placed.padded_size) {
    return InvalidArgument("rope_positions: {} values, expected {} for each of {} tokens", given,
                           num_axes, placed.padded_size);
  }
  std::vector<int32_t> positions;
  for (int64_t axis = 0; axis < num_axes; ++axis) {
    for (int64_t i = 0; i < placed.size(); ++i) {
      const int32_t position =
          extension.rope_positions[axis * placed.padded_size + placed.indices[i]];
      const int64_t index = placed.first_position + i;
      if (position < 0 || position > index) {
        return InvalidArgument("rope_positions: {} for token {}, expected 0 to {}", position, index,
                               index);
      }
      positions.push_back(position);
    }
  }
  return positions;
}

// Of the last token of placed.rope_positions: only what follows text is known.
int32_t LastDelta(const PlacedExtension& placed) {
  const int64_t last = placed.size() - 1;
  if (!placed.image_rows.empty() && placed.image_rows[last].image != nullptr) {
    return Sequences::kNoDelta;
  }
  return placed.rope_positions[last] - static_cast<int32_t>(placed.first_position + last);
}

}  // namespace

Result<PlacedExtension> PlaceExtension(const Extension& extension, int64_t first_position,
                                       int32_t rope_delta, const ModelConfig& model) {
  PlacedExtension placed = WithoutPadding(extension, first_position);
  const bool is_given = !extension.rope_positions.empty();
  if (!is_given && rope_delta == Sequences::kNoDelta) {
    return InvalidArgument("sequence {}: it ends inside an image, expected rope_positions",
                           extension.sequence);
  }
  if (!extension.images.empty()) {
    EXPERTILE_RETURN_IF_ERROR(CheckImageRows(placed, extension.images, model));
    placed.image_rows =
        ImageRowsOf(placed.token_ids, extension.images, model.vision->spec.prompt.image_token_id);
  }
  int32_t last_delta = rope_delta;
  if (is_given) {
    EXPERTILE_ASSIGN(placed.rope_positions,
                     GivenPositions(extension, placed, model.spec.rope.num_axes));
    last_delta = LastDelta(placed);
  } else if (extension.images.empty()) {
    placed.rope_positions =
        TextPositions(model.spec.rope.num_axes, placed.size(), first_position + rope_delta);
  } else {
    std::vector<ImageGrid> grids;
    for (const EncodedImage& image : extension.images) {
      grids.push_back({image.grid_t, image.grid_h, image.grid_w});
    }
    EXPERTILE_ASSIGN(MropePositions mrope,
                     ComputeMropePositions(placed.token_ids, grids, model.vision->spec.prompt));
    placed.rope_positions = std::move(mrope.positions);
    for (int32_t& position : placed.rope_positions) {
      position += static_cast<int32_t>(first_position + rope_delta);
    }
    last_delta = rope_delta + mrope.delta;
  }
  placed.next_deltas = NextDeltasOf(placed, last_delta);
  return placed;
}

int64_t NumLogitRows(std::span<const PlacedExtension> extensions, LogitsWanted wanted) {
  if (wanted == LogitsWanted::kLast) return static_cast<int64_t>(extensions.size());
  int64_t count = 0;
  for (const PlacedExtension& extension : extensions) count += extension.padded_size;
  return count;
}

StepRows RowsOf(std::span<const PlacedExtension> extensions, int64_t done, int64_t limit,
                LogitsWanted wanted) {
  StepRows rows;
  std::vector<std::vector<int32_t>> axes;  // [A][T]
  int64_t first_row = 0;
  for (size_t i = 0; i < extensions.size(); ++i) {
    const PlacedExtension& extension = extensions[i];
    const int64_t count = extension.size();
    axes.resize(extension.rope_positions.size() / count);
    for (int64_t j = done; j < std::min(done + limit, count); ++j) {
      const auto row = static_cast<int32_t>(rows.token_ids.size());
      rows.token_ids.push_back(extension.token_ids[j]);
      rows.sequences.push_back(static_cast<int32_t>(i));
      rows.positions.push_back(static_cast<int32_t>(extension.first_position + j));
      for (size_t a = 0; a < axes.size(); ++a) {
        axes[a].push_back(extension.rope_positions[a * count + j]);
      }
      if (!extension.image_rows.empty() && extension.image_rows[j].image != nullptr) {
        const EncodedImage& image = *extension.image_rows[j].image;
        const auto H = static_cast<int64_t>(image.embeddings.size()) / image.num_tokens;
        AppendImageRow(extension.image_rows[j], H, row, rows);
      }
      if (wanted != LogitsWanted::kLast || j == count - 1) {
        rows.logit_rows.push_back(row);
        rows.destinations.push_back(wanted == LogitsWanted::kLast
                                        ? static_cast<int64_t>(i)
                                        : first_row + extension.indices[j]);
      }
    }
    first_row += extension.padded_size;
  }
  for (const auto& axis : axes) {
    rows.rope_positions.insert(rows.rope_positions.end(), axis.begin(), axis.end());
  }
  return rows;
}

}  // namespace expertile
