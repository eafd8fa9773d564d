// Packing a checkpoint's views into the CPU target's panels, piece by piece, and opening what was
// packed. Both are Packers of model/decoder.h. Not the layouts themselves: packed_weights.h.
#pragma once

#include <string>
#include <vector>

#include "base/worker_pool.h"
#include "model/decoder_weights.h"
#include "targets/block_writing.h"
#include "targets/cpu/packed_weights.h"
#include "targets/target.h"
#include "targets/weight_store.h"

namespace expertile::cpu {

// Writes every weight as panels, all workers at once, in pieces that do not grow with the model.
class WeightPacker {
 public:
  WeightPacker(const KernelTable& table, const TargetOptions& options, WorkerPool& pool,
               WeightWriter& writer)
      : table_(table), options_(options), pool_(pool), writer_(writer) {}

  using Nothing = WrittenWeights::Nothing;
  Status BeginGroup(const std::string& group) { return writer_.BeginGroup(group); }
  Result<Nothing> PackVector(const std::string& name, const MatrixView& view);
  Result<Nothing> PackEmbedding(const std::string& name, const MatrixView& view);
  Result<Nothing> PackLinear(const std::string& name, const LinearView& view);
  Result<Nothing> PackVisionLinear(const std::string& name, const LinearView& view);
  Result<Nothing> PackHead(const std::string& name, const LinearView& view) {
    return PackVisionLinear(name, view);
  }
  Result<Nothing> PackRouter(const std::string& name, const LinearView& view);
  Result<Nothing> PackExperts(const std::string& name, const std::vector<ExpertView>& views);

 private:
  WeightFormat FormatOf(const MatrixView& view) const;
  WeightFormat MatrixFormatOf(const MatrixView& view) const;  // of attention and experts
  Result<Nothing> Pack(const std::string& name, const LinearView& view, WeightFormat format);

  const KernelTable& table_;
  const TargetOptions& options_;
  WorkerPool& pool_;
  WeightWriter& writer_;
};

// Finds every weight in a store and uses it in place. Views have shapes alone (ShapesOf()).
class WeightOpener {
 public:
  WeightOpener(const KernelTable& table, const DecoderSpec& spec, const WeightReader& reader)
      : table_(table), spec_(spec), reader_(reader) {}

  Status BeginGroup(const std::string&) { return {}; }
  Result<std::vector<float>> PackVector(const std::string& name, const MatrixView& shape) const;
  Result<MatrixView> PackEmbedding(const std::string& name, const MatrixView& shape) const;
  Result<PackedMatrix> PackLinear(const std::string& name, const LinearView& shape) const;
  Result<PackedMatrix> PackVisionLinear(const std::string& name, const LinearView& shape) const {
    return PackLinear(name, shape);
  }
  Result<PackedMatrix> PackHead(const std::string& name, const LinearView& shape) const {
    return PackLinear(name, shape);
  }
  Result<PackedMatrix> PackRouter(const std::string& name, const LinearView& shape) const {
    return PackLinear(name, shape);
  }
  Result<PackedExperts> PackExperts(const std::string& name,
                                    const std::vector<ExpertView>& shapes) const;

 private:
  const KernelTable& table_;
  const DecoderSpec& spec_;
  const WeightReader& reader_;
};

}  // namespace expertile::cpu
