// Weight matrices in the panel layout that the tile kernels read, packed once when a model is
// loaded. Not a checkpoint reader: rows come through a RowReader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/worker_pool.h"
#include "expertile/result.h"
#include "targets/cpu/gemm.h"
#include "targets/cpu/panel_writer.h"

namespace expertile::cpu {

// Writes row `row` of a weight matrix [out, in] to values[in].
using RowReader = FunctionRef<void(int64_t row, float* values)>;

// Page-aligned zeroed memory, on huge pages where the system gives them. Movable.
class PanelStorage {
 public:
  static Result<PanelStorage> Allocate(int64_t num_bytes);
  std::byte* data() const { return data_.get(); }

 private:
  struct Unmap {
    int64_t num_bytes;
    void operator()(std::byte* data) const;
  };
  std::unique_ptr<std::byte, Unmap> data_;
};

// A linear layer's weights [out, in] and optional bias [out].
class PackedMatrix {
 public:
  // kBFloat16 rounds weights that are not bfloat16 already. `bias` is empty or [out]. Errors: sizes
  // below 1, out of memory.
  static Result<PackedMatrix> Create(const KernelTable& table, WeightFormat format, int64_t out,
                                     int64_t in, RowReader weights, std::span<const float> bias);
  PanelMatrix view() const { return view_; }
  int64_t in() const { return view_.in; }
  int64_t out() const { return view_.out; }

 private:
  PanelStorage panels_;
  std::vector<float> bias_;  // panel order; moves keep its address
  PanelMatrix view_ = {};
};

struct ExpertsShape {
  int num_experts;            // E; 1 for a dense MLP
  int64_t hidden_size;        // H
  int64_t intermediate_size;  // I
  WeightFormat format;
  bool has_bias;
  GatedMlpSpec mlp;
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
  // Errors: sizes below 1 or too large, out of memory. Experts are zero until packed.
  static Result<PackedExperts> Create(const KernelTable& table, const ExpertsShape& shape);

  // Different experts may be packed by different threads at once; each by the one for the shape's
  // format, and by PackBias if it has biases.
  void Pack(int expert, const ExpertWeights& weights);
  void PackMxfp4(int expert, const Mxfp4ExpertWeights& weights);
  void PackBias(int expert, const ExpertBias& bias);

  const ExpertsShape& shape() const { return shape_; }
  PanelMatrix GateUp(int expert) const;
  PanelMatrix Down(int expert) const;
  int64_t bytes_per_expert() const { return expert_bytes_; }

 private:
  template <typename Writer, typename Reader>
  void PackMatrices(int expert, Reader gate, Reader up, Reader down);
  PanelMatrix GateUpShape() const;  // without addresses; out is 2 * I padded to whole panels
  PanelMatrix DownShape() const;

  ExpertsShape shape_ = {};
  int panel_columns_ = 0;
  int64_t expert_bytes_ = 0;
  int64_t expert_bias_size_ = 0;
  PanelStorage panels_;
  std::vector<float> bias_;  // per expert: gate-up panels, then down panels; empty without biases
};

}  // namespace expertile::cpu
