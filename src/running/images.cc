// Images: from a file to what the decoder takes, and their places in a prompt.
#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "image/decode.h"
#include "image/vision_preprocessor.h"
#include "model/mrope_positions.h"
#include "running/session_state.h"

namespace expertile {
namespace {

// Refuses images that are not as long as their grids say: those of another model.
Status CheckImages(std::span<const EncodedImage> images, int64_t merge_size) {
  for (size_t i = 0; i < images.size(); ++i) {
    const ImageGrid grid{images[i].grid_t, images[i].grid_h, images[i].grid_w};
    if (grid.num_tokens(merge_size) != images[i].num_tokens) {
      return InvalidArgument("image {}: {} tokens, its grid of {} x {} patches makes {}", i,
                             images[i].num_tokens, grid.h, grid.w, grid.num_tokens(merge_size));
    }
  }
  return {};
}

Error NoPreprocessor(const ModelConfig& model) {
  return {ErrorCode::kNotFound,
          fmt::format("{}: no preprocessor_config.json, which says how images are prepared",
                      model.folder.string())};
}

Error TextOnly(const ModelConfig& model) {
  return {ErrorCode::kInvalidArgument,
          fmt::format("images: the model {} reads text only", model.spec.model_type)};
}

// Refuses a grid that the tower cannot merge, and values that are not one row for each patch.
Status CheckPixels(const ImageGrid& grid, size_t num_values, const VisionSpec& spec) {
  const int64_t merge_size = spec.prompt.merge_size;
  if (!grid.IsStill(merge_size)) {
    return InvalidArgument("pixel_values: a grid of {} x {} x {} patches, expected 1 x {}n x {}n",
                           grid.t, grid.h, grid.w, merge_size, merge_size);
  }
  const int64_t expected = grid.num_patches() * spec.patch_values;
  if (static_cast<int64_t>(num_values) == expected) return {};
  return InvalidArgument("pixel_values: {} values, a grid of {} x {} patches has {}", num_values,
                         grid.h, grid.w, expected);
}

}  // namespace

Result<EncodedImage> Program::EncodeImage(const std::filesystem::path& file,
                                          const IsCancelled& is_cancelled) const {
  // A model of text alone says so, whatever the file.
  if (!state_->model.vision) return EncodeImage(std::span<const std::byte>(), file.string());
  EXPERTILE_ASSIGN(const MappedFile mapped, MappedFile::Open(file));
  return EncodeImage(mapped.bytes(), file.string(), is_cancelled);
}

Result<EncodedImage> Program::EncodeImage(std::span<const std::byte> bytes, std::string_view name,
                                          const IsCancelled& is_cancelled) const {
  const auto& vision = state_->model.vision;
  if (!vision) {
    return InvalidArgument("{}: images: the model {} reads text only", name,
                           state_->model.spec.model_type);
  }
  if (!vision->preprocessor) return tl::unexpected(NoPreprocessor(state_->model));
  EXPERTILE_ASSIGN(const StoredImage image, DecodeImage(bytes, name));
  EXPERTILE_ASSIGN(PixelPatches patches, MakePixelPatches(*vision->preprocessor, image));
  return EncodePixels(patches.grid.t, patches.grid.h, patches.grid.w, std::move(patches.values),
                      is_cancelled);
}

Result<EncodedImage> Program::EncodePixels(int64_t grid_t, int64_t grid_h, int64_t grid_w,
                                           std::vector<float> pixel_values,
                                           const IsCancelled& is_cancelled) const {
  const auto& vision = state_->model.vision;
  if (!vision) return tl::unexpected(TextOnly(state_->model));
  const VisionSpec& spec = vision->spec;
  const ImageGrid grid{grid_t, grid_h, grid_w};
  EXPERTILE_RETURN_IF_ERROR(CheckPixels(grid, pixel_values.size(), spec));
  StepCancellation cancellation(is_cancelled);
  EXPERTILE_ASSIGN(ImageFeatures features,
                   state_->target->EncodeImage(grid, pixel_values, cancellation));
  return EncodedImage{grid.t,
                      grid.h,
                      grid.w,
                      grid.num_tokens(spec.prompt.merge_size),
                      std::move(pixel_values),
                      std::move(features.embeddings),
                      std::move(features.deepstack)};
}

Result<std::vector<int32_t>> Program::PlaceImages(std::span<const int32_t> token_ids,
                                                  std::span<const EncodedImage> images) const {
  if (images.empty()) return std::vector<int32_t>(token_ids.begin(), token_ids.end());
  const auto& vision = state_->model.vision;
  if (!vision) return tl::unexpected(TextOnly(state_->model));
  const ImagePromptSpec& prompt = vision->spec.prompt;
  EXPERTILE_RETURN_IF_ERROR(CheckImages(images, prompt.merge_size));
  int64_t num_tokens = 0;
  std::vector<ImageGrid> grids;
  for (const EncodedImage& image : images) {
    num_tokens += image.num_tokens;
    grids.push_back({image.grid_t, image.grid_h, image.grid_w});
  }
  const auto num_found = std::ranges::count(token_ids, prompt.image_token_id);
  if (num_found == num_tokens) return std::vector<int32_t>(token_ids.begin(), token_ids.end());
  if (num_found > 0) return ExpandImageTokens(token_ids, grids, prompt);
  std::vector<int32_t> placed;
  for (const EncodedImage& image : images) {
    placed.push_back(prompt.start_token_id);
    placed.insert(placed.end(), image.num_tokens, prompt.image_token_id);
    placed.push_back(prompt.end_token_id);
  }
  placed.insert(placed.end(), token_ids.begin(), token_ids.end());
  return placed;
}

Result<PatchGrid> Program::GridOf(int64_t height, int64_t width) const {
  const auto& vision = state_->model.vision;
  if (!vision) return tl::unexpected(TextOnly(state_->model));
  if (!vision->preprocessor) return tl::unexpected(NoPreprocessor(state_->model));
  if (height < 1 || width < 1) {
    return InvalidArgument("image of {}x{} pixels: expected at least 1x1", width, height);
  }
  EXPERTILE_ASSIGN(const ImageGrid grid, expertile::GridOf(*vision->preprocessor, {height, width}));
  return PatchGrid{grid.t, grid.h, grid.w};
}

}  // namespace expertile
