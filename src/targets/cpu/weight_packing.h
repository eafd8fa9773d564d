// Packing a checkpoint's views into the CPU target's panels, piece by piece, and opening what was
// packed. Not the layouts themselves: packed_weights.h.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/worker_pool.h"
#include "model/weight.h"
#include "targets/block_writing.h"
#include "targets/cpu/packed_weights.h"
#include "targets/target.h"
#include "targets/weight_store.h"

namespace expertile::cpu {

// Writes every weight as panels, all workers at once, in pieces that do not grow with the model.
// In memory of several nodes an expert's lie on the node of a worker that its NSP belongs to, and
// other matrices are spread, as workers share them.
class WeightPacker : public Packer {
 public:
  WeightPacker(const KernelTable& table, const TargetOptions& options, WorkerPool& pool,
               WeightWriter& writer)
      : table_(table), options_(options), pool_(pool), writer_(writer) {}

  Status Pack(const std::string& name, const WeightView& view, WeightRole role) override;

 private:
  WeightFormat FormatOf(const MatrixView& view, WeightRole role) const;
  Status PackMatrix(const std::string& name, const LinearView& view, WeightFormat format);
  Status PackMlps(const std::string& name, std::span<const MlpView> mlps, WeightFormat format);

  const KernelTable& table_;
  const TargetOptions& options_;
  WorkerPool& pool_;
  WeightWriter& writer_;
};

// Finds every weight in a store and uses it in place.
class WeightOpener {
 public:
  WeightOpener(const KernelTable& table, const WeightReader& reader)
      : table_(table), reader_(reader) {}

  Status Open(const Weight& weight, std::vector<float>& slot) const;
  Status Open(const Weight& weight, MatrixView& slot) const;
  Status Open(const Weight& weight, PackedMatrix& slot) const;
  Status Open(const Weight& weight, PackedMlp& slot) const;
  Status Open(const Weight& weight, PackedExperts& slot) const;

 private:
  const KernelTable& table_;
  const WeightReader& reader_;
};

}  // namespace expertile::cpu
