// Weight matrices in the panel layout that the tile kernels read, packed once when a model is
// loaded. Not a checkpoint reader: rows come through a RowReader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/page_memory.h"
#include "base/worker_pool.h"
#include "expertile/result.h"
#include "targets/cpu/gemm.h"
#include "targets/cpu/panel_writer.h"

namespace expertile::cpu {

// Writes row `row` of a weight matrix [out, in] to values[in].
using RowReader = FunctionRef<void(int64_t row, float* values)>;

// Packs panels [first, first + count) of `matrix` from the rows of its weights [out, in], padding
// with zeros; kBFloat16, kMxfp6 and kMxint8 round. Not for kMxfp4.
void PackPanels(const PanelMatrix& matrix, int64_t first, int64_t count, RowReader weights,
                std::byte* panels);

// A linear layer's weights [out, in] and optional bias [out].
class PackedMatrix {
 public:
  // The panels' sizes, without addresses. Errors: sizes out of range.
  static Result<PanelMatrix> ShapeOf(const KernelTable& table, WeightFormat format, int64_t out,
                                     int64_t in);
  // Packed elsewhere: a shape with the addresses of its panels and bias, which outlive this.
  explicit PackedMatrix(const PanelMatrix& view) : view_(view) {}
  // `bias` is empty or [out]. Errors: those of ShapeOf, out of memory.
  static Result<PackedMatrix> Create(const KernelTable& table, WeightFormat format, int64_t out,
                                     int64_t in, RowReader weights, std::span<const float> bias);
  PackedMatrix() = default;
  PanelMatrix view() const { return view_; }
  int64_t in() const { return view_.in; }
  int64_t out() const { return view_.out; }

 private:
  PageMemory panels_;        // empty when packed elsewhere, as is bias_
  std::vector<float> bias_;  // panel order; moves keep its address
  PanelMatrix view_ = {};
};

struct ExpertsShape {
  int num_experts;            // E
  int64_t hidden_size;        // H
  int64_t intermediate_size;  // I
  WeightFormat format;
  bool has_bias;
};

// One MLP, packed elsewhere as an expert is.
struct PackedMlp {
  PanelMatrix gate_up;  // [2 I, H]
  PanelMatrix down;     // [H, I]
};

// Writes row `row` of an MXFP4 weight matrix [out, in] as codes [in/2] and scales [in/32].
using Mxfp4RowReader = FunctionRef<void(int64_t row, Mxfp4Row target)>;

// One expert's weights as its checkpoint has them.
struct ExpertWeights {
  RowReader gate;  // [I, H]
  RowReader up;    // [I, H]
  RowReader down;  // [H, I]
};
struct Mxfp4ExpertWeights {
  Mxfp4RowReader gate;  // [I, H]
  Mxfp4RowReader up;    // [I, H]
  Mxfp4RowReader down;  // [H, I]
};
struct ExpertBias {
  std::span<const float> gate;  // [I]
  std::span<const float> up;    // [I]
  std::span<const float> down;  // [H]
};

// All experts of a layer. An expert's gate-up panels (half gate columns, half up columns) are
// followed by its down panels, so that one expert is one contiguous read.
class PackedExperts {
 public:
  PackedExperts() = default;
  // Errors: sizes below 1 or too large, out of memory. Experts are zero until packed.
  static Result<PackedExperts> Create(const KernelTable& table, const ExpertsShape& shape);
  // The sizes alone; Use() gives it memory that outlives it: of num_bytes() to pack into, or of
  // experts packed elsewhere with their biases [bias_size()], or null.
  static Result<PackedExperts> WithoutMemory(const KernelTable& table, const ExpertsShape& shape);
  void Use(std::byte* panels) { panels_ = writable_ = panels; }
  void Use(const std::byte* panels, const float* bias) {
    panels_ = panels;
    bias_ = bias;
  }

  // Different experts may be packed by different threads at once; each by the one for the shape's
  // format, and by PackBias if it has biases.
  void Pack(int expert, const ExpertWeights& weights);
  void PackMxfp4(int expert, const Mxfp4ExpertWeights& weights);
  void PackBias(int expert, const ExpertBias& bias);
  void WriteBias(int expert, const ExpertBias& bias, float* biases) const;  // [bias_size()]

  const ExpertsShape& shape() const { return shape_; }
  PanelMatrix GateUp(int expert) const;
  PanelMatrix Down(int expert) const;
  int64_t bytes_per_expert() const { return expert_bytes_; }
  int64_t num_bytes() const { return expert_bytes_ * shape_.num_experts; }
  int64_t bias_size() const { return expert_bias_size_ * shape_.num_experts; }

 private:
  template <typename Writer, typename Reader>
  void PackMatrices(int expert, Reader gate, Reader up, Reader down);
  PanelMatrix GateUpShape() const;  // without addresses; out is 2 * I padded to whole panels
  PanelMatrix DownShape() const;

  ExpertsShape shape_ = {};
  int panel_columns_ = 0;
  int64_t expert_bytes_ = 0;
  int64_t expert_bias_size_ = 0;
  const std::byte* panels_ = nullptr;
  std::byte* writable_ = nullptr;  // panels_, while they are packed
  const float* bias_ = nullptr;    // per expert: gate-up panels, then down panels; null = none
  PageMemory storage_;             // empty when the memory is somebody else's, as is bias_storage_
  std::vector<float> bias_storage_;
};

}  // namespace expertile::cpu
