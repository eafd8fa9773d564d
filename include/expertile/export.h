// Exporting a checkpoint as ONNX graphs, for Cloud AI 100 or any ONNX runtime.
// Not running them, and not the compiler of a card.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "expertile/model.h"
#include "expertile/progress.h"
#include "expertile/result.h"

namespace expertile {

struct ExportOptions {
  // batch_size, prefill_seq_len, ctx_len, prefill_only, moe_prefill_num_nsp,
  // moe_prefill_packed_chunk_size, skip_vision, skip_lang, height and width are what graphs have;
  // others must be as they are by default.
  CompileOptions compile;
  // What an index of INT32_MAX means in the cache and packing ops: "int32max", the row is dropped,
  // as on Cloud AI 100; or "in-bounds", where no such index is made and any runtime computes the
  // same.
  std::string sentinel = "int32max";
};

// Writes prefill.onnx (unless prefill_seq_len is 1) and decode.onnx (unless prefill_only is true)
// to `folder`, and returns them. Inputs: input_ids and position_ids int64 [batch_size, seq_len] (-1
// is a padded row; in a model with MRoPE [4, batch_size, seq_len]: the text's, time, height,
// width), past_key.<i> and past_value.<i> [batch_size, heads, ctx_len, D]. Outputs: logits
// [batch_size, 1, V] of each sequence's row of greatest position, and past_…_RetainedState.
//
// A model with images also has vision.onnx, for images of height x width pixels (354 x 536):
// pixel_values to vision_embeds and deepstack_features. Its prefill takes those, and image_idx, the
// row of them that the chunk's first image token has. Weights beyond 1 GiB go to FILE.data. Errors:
// an option that graphs do not have; a folder that cannot be written.
Result<std::vector<std::filesystem::path>> ExportOnnx(const Model& model,
                                                      const ExportOptions& options,
                                                      const std::filesystem::path& folder,
                                                      const OnProgress& on_layer = nullptr);

}  // namespace expertile
