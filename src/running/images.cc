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

}  // namespace

Result<EncodedImage> Program::EncodeImage(const std::filesystem::path& file) const {
  // A model of text alone says so, whatever the file.
  if (!state_->model.vision) return EncodeImage(std::span<const std::byte>(), file.string());
  EXPERTILE_ASSIGN(const MappedFile mapped, MappedFile::Open(file));
  return EncodeImage(mapped.bytes(), file.string());
}

Result<EncodedImage> Program::EncodeImage(std::span<const std::byte> bytes,
                                          std::string_view name) const {
  const auto& vision = state_->model.vision;
  if (!vision) {
    return InvalidArgument("{}: images: the model {} reads text only", name,
                           state_->model.spec.model_type);
  }
  if (!vision->preprocessor) {
    return NotFound("{}: no preprocessor_config.json, which says how images are prepared",
                    state_->model.folder.string());
  }
  EXPERTILE_ASSIGN(const StoredImage image, DecodeImage(bytes, name));
  EXPERTILE_ASSIGN(PixelPatches patches, MakePixelPatches(*vision->preprocessor, image));
  EXPERTILE_ASSIGN(ImageFeatures features,
                   state_->target->EncodeImage(patches.grid, patches.values));
  return EncodedImage{patches.grid.t,
                      patches.grid.h,
                      patches.grid.w,
                      patches.grid.num_tokens(vision->spec.prompt.merge_size),
                      std::move(patches.values),
                      std::move(features.embeddings),
                      std::move(features.deepstack)};
}

Result<std::vector<int32_t>> Program::PlaceImages(std::span<const int32_t> token_ids,
                                                  std::span<const EncodedImage> images) const {
  if (images.empty()) return std::vector<int32_t>(token_ids.begin(), token_ids.end());
  const auto& vision = state_->model.vision;
  if (!vision) {
    return InvalidArgument("images: the model {} reads text only", state_->model.spec.model_type);
  }
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

}  // namespace expertile
