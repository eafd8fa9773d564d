// Exporting a checkpoint as ONNX graphs, for Cloud AI 100 or any ONNX runtime.
// Not running them, and not the compiler of a card: Model::CompileToDisk() with the target qaic.
#pragma once

#include <filesystem>
#include <vector>

#include "expertile/model.h"
#include "expertile/progress.h"
#include "expertile/result.h"

namespace expertile {

// CompileOptions::target of an export.
inline constexpr const char* kGraphTarget = "onnx";

struct ExportedGraphs {
  std::vector<std::filesystem::path> files;  // in the order in which they run
  bool was_found = false;                    // an earlier export with the same options made them
};

// Writes prefill.onnx (unless prefill_seq_len is 1 or prefill_only false) and decode.onnx (unless
// prefill_only is true) to `folder`, and export.json, which says what made them. Inputs: input_ids
// and position_ids int64 [batch_size, seq_len] (-1 is a padded row; in a model with MRoPE [4,
// batch_size, seq_len]: the text's, time, height, width), past_key.<i> and past_value.<i>
// [batch_size, heads, ctx_len, D]. Outputs: logits [batch_size, 1, V] of each sequence's row of
// greatest position, and past_…_RetainedState.
//
// A model with images also has vision.onnx, for images of height x width pixels (354 x 536):
// pixel_values to vision_embeds and deepstack_features. Its prefill takes those, and image_idx, the
// row of them that the chunk's first image token has. Weights of more than 1 GiB go to FILE.data.
// Memory is bounded by one layer, or 1 GiB. If the folder has these very graphs, nothing is done.
//
// options.target is kGraphTarget. Errors, which leave the folder as it was: an option that graphs
// do not have; a folder that cannot be written; kCancelled, as of Model::Compile().
Result<ExportedGraphs> ExportOnnx(const Model& model, const CompileOptions& options,
                                  const std::filesystem::path& folder,
                                  const OnProgress& on_progress = nullptr,
                                  const IsCancelled& is_cancelled = nullptr);

}  // namespace expertile
