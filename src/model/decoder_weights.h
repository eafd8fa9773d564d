// DecoderWeights: where every weight of a decoder lies in its checkpoint, as strided views; a
// family fills it in. Not copies: views stay valid as long as the checkpoint's files are mapped.
#pragma once

#include <optional>
#include <vector>

#include "formats/matrix_view.h"

namespace expertile {

struct LinearView {
  MatrixView weight;               // [out,in]
  std::optional<MatrixView> bias;  // [1,out]
};

struct ExpertView {
  LinearView gate;  // [I,H]
  LinearView up;    // [I,H]
  LinearView down;  // [H,I]
};

struct LayerWeights {
  MatrixView attention_norm;             // [1,H]
  LinearView query;                      // [heads D, H]
  LinearView key;                        // [kv_heads D, H]
  LinearView value;                      // [kv_heads D, H]
  LinearView output;                     // [H, heads D]
  std::optional<MatrixView> query_norm;  // [1,D]
  std::optional<MatrixView> key_norm;    // [1,D]
  std::optional<MatrixView> sinks;       // [1,heads]
  MatrixView mlp_norm;                   // [1,H]
  std::optional<LinearView> router;      // [E,H]; none in a dense layer
  std::vector<ExpertView> experts;       // [E], or the one dense MLP
};

struct DecoderWeights {
  MatrixView embedding;  // [V,H]
  std::vector<LayerWeights> layers;
  MatrixView final_norm;  // [1,H]
  LinearView lm_head;     // [V,H]; with tied embeddings the embedding's own view
};

}  // namespace expertile
