#include "running/step_rows.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "model/mrope_positions.h"

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

// Where each image lies in the sequence. After an image, text goes on behind its largest position.
std::vector<ImageTokens> ImageTokensOf(const PlacedExtension& placed, int64_t num_axes) {
  std::vector<ImageTokens> images;
  int32_t next_position = 0;
  for (int64_t i = 0; i < placed.size(); ++i) {
    const PlacedExtension::ImageRow& source = placed.image_rows[i];
    if (source.image == nullptr) continue;
    for (int64_t axis = 0; axis < num_axes; ++axis) {
      next_position = std::max(next_position, placed.rope_positions[axis * placed.size() + i] + 1);
    }
    if (source.row + 1 < source.image->num_tokens) continue;
    const int64_t end = placed.first_position + i + 1;
    images.push_back(
        {end - source.image->num_tokens, end, static_cast<int32_t>(next_position - end)});
  }
  return images;
}

// Text positions on all axes, from `first` on.
std::vector<int32_t> TextPositions(int64_t num_axes, int64_t count, int64_t first) {
  std::vector<int32_t> positions;
  for (int64_t axis = 0; axis < num_axes; ++axis) {
    for (int64_t i = 0; i < count; ++i) positions.push_back(static_cast<int32_t>(first + i));
  }
  return positions;
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

}  // namespace

Result<PlacedExtension> PlaceExtension(const Extension& extension, int64_t first_position,
                                       int32_t rope_delta, const ModelConfig& model) {
  PlacedExtension placed;
  placed.sequence = extension.sequence;
  placed.first_position = first_position;
  placed.rope_delta = rope_delta;
  placed.padded_size = static_cast<int64_t>(extension.token_ids.size());
  for (int64_t i = 0; i < placed.padded_size; ++i) {
    if (extension.token_ids[i] == kPaddingToken) continue;
    placed.token_ids.push_back(extension.token_ids[i]);
    placed.indices.push_back(i);
  }
  const int64_t first_rope = first_position + rope_delta;
  if (extension.images.empty()) {
    placed.rope_positions = TextPositions(model.spec.rope.num_axes, placed.size(), first_rope);
    return placed;
  }
  if (!model.vision) return InvalidArgument("images: the model has no vision part");
  const ImagePromptSpec& prompt = model.vision->spec.prompt;
  std::vector<ImageGrid> grids;
  for (const EncodedImage& image : extension.images) {
    grids.push_back({image.grid_t, image.grid_h, image.grid_w});
  }
  EXPERTILE_ASSIGN(MropePositions mrope, ComputeMropePositions(placed.token_ids, grids, prompt));
  placed.rope_positions = std::move(mrope.positions);
  for (int32_t& position : placed.rope_positions) position += static_cast<int32_t>(first_rope);
  placed.rope_delta += mrope.delta;
  placed.image_rows = ImageRowsOf(placed.token_ids, extension.images, prompt.image_token_id);
  placed.image_tokens = ImageTokensOf(placed, model.spec.rope.num_axes);
  return placed;
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
      rows.sequences.push_back(static_cast<int32_t>(extension.sequence));
      rows.positions.push_back(static_cast<int32_t>(extension.first_position + j));
      for (size_t a = 0; a < axes.size(); ++a) {
        axes[a].push_back(extension.rope_positions[a * count + j]);
      }
      if (!extension.image_rows.empty() && extension.image_rows[j].image != nullptr) {
        const EncodedImage& image = *extension.image_rows[j].image;
        const auto H = static_cast<int64_t>(image.embeddings.size()) / image.num_tokens;
        AppendImageRow(extension.image_rows[j], H, row, rows);
      }
      if (wanted == LogitsWanted::kAll || j == count - 1) {
        rows.logit_rows.push_back(row);
        rows.destinations.push_back(wanted == LogitsWanted::kAll ? first_row + extension.indices[j]
                                                                 : static_cast<int64_t>(i));
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
