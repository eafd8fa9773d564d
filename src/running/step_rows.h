// From the extensions of a call to the rows of its steps: positions, images, and where logits go.
// Not the loop over steps (session.cc).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "expertile/model.h"
#include "model/model_config.h"
#include "model/step.h"

namespace expertile {

// An extension with everything that its tokens need, whichever step they fall into.
struct PlacedExtension {
  struct ImageRow {
    const EncodedImage* image = nullptr;  // null for a text token
    int64_t row = 0;
  };

  int64_t sequence = 0;
  std::vector<int32_t> token_ids;       // [n], without padding
  std::vector<int64_t> indices;         // [n], of token_ids in the extension's own
  int64_t padded_size = 0;              // the extension's own, padding included
  int64_t first_position = 0;           // tokens that the sequence held before
  std::vector<int32_t> rope_positions;  // [A,n]
  std::vector<ImageRow> image_rows;     // [n], or empty without images
  std::vector<int32_t> next_deltas;     // [n], of Sequences::Append

  int64_t size() const { return static_cast<int64_t>(token_ids.size()); }
};

// Places an extension of a sequence that holds `first_position` tokens. Errors: kInvalidArgument
// when its images are not those of its image tokens, or the model takes none; when the sequence
// ends inside an image (rope_delta is kNoDelta) and the extension does not say its positions.
Result<PlacedExtension> PlaceExtension(const Extension& extension, int64_t first_position,
                                       int32_t rope_delta, const ModelConfig& model);

// Rows of logits that the extensions' caller gets.
int64_t NumLogitRows(std::span<const PlacedExtension> extensions, LogitsWanted wanted);

// The rows of one step, and where each row's logits go.
struct StepRows {
  std::vector<int32_t> token_ids;             // [T]
  std::vector<int32_t> sequences;             // [T], indices of the extensions
  std::vector<int32_t> positions;             // [T]
  std::vector<int32_t> rope_positions;        // [A,T]
  std::vector<int32_t> logit_rows;            // [R]
  std::vector<int64_t> destinations;          // [R], rows of the caller's logits
  std::vector<int32_t> image_rows;            // [M]
  std::vector<float> image_embeddings;        // [M,H]
  std::vector<std::vector<float>> deepstack;  // [features] of [M,H]
};

// The next at most `limit` tokens of every extension after the first `done`. Logits of extension i
// go to the rows after those of the extensions before it, or, if only the last is wanted, to row i.
StepRows RowsOf(std::span<const PlacedExtension> extensions, int64_t done, int64_t limit,
                LogitsWanted wanted);

}  // namespace expertile
