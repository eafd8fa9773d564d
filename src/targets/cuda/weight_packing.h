// Packing weights into the CUDA target's tiles on the host, and finding them on the device.
// Not the copying: device_store.h.
#pragma once

#include <span>
#include <string>

#include "base/worker_pool.h"
#include "model/weight.h"
#include "targets/block_writing.h"
#include "targets/cuda/device_store.h"
#include "targets/cuda/kernels/tile_layout.h"
#include "targets/cuda/weights.h"

namespace expertile::cuda {

// The name of one of the blocks of a MLP, or of several: gate and up, or down.
std::string PartName(const std::string& name, bool is_down);

// Writes the blocks of each weight: tiles of bfloat16, or of MXFP4 codes where a checkpoint has
// them, biases as floats in the order of a product's columns.
class TilePacker : public Packer {
 public:
  TilePacker(WorkerPool& pool, WeightWriter& writer) : pool_(pool), writer_(writer) {}

  Status Pack(const std::string& name, const WeightView& view, WeightRole role) override;

 private:
  Status PackMatrix(const std::string& name, const LinearView& view);
  Status PackExactMatrix(const std::string& name, const LinearView& view);
  Status PackMlps(const std::string& name, std::span<const MlpView> mlps);
  Status PackRoundedMlps(const std::string& name, std::span<const MlpView> mlps, bool is_down);
  Status PackMxfp4Mlps(const std::string& name, std::span<const MlpView> mlps, bool is_down);
  Status PackBiases(const std::string& name, std::span<const MlpView> mlps);

  WorkerPool& pool_;
  WeightWriter& writer_;
};

// The bytes of a checkpoint's weights as they are packed, to a thousandth or so.
int64_t PackedBytes(const DecoderSpec& spec, bool has_mxfp4_experts);

class TileOpener {
 public:
  explicit TileOpener(DeviceWeights& weights) : weights_(weights) {}

  Status Open(const Weight& weight, DeviceVector& slot);
  Status Open(const Weight& weight, DeviceTable& slot);
  Status Open(const Weight& weight, DeviceLinear& slot);
  Status Open(const Weight& weight, DeviceMlp& slot);
  Status Open(const Weight& weight, DeviceExperts& slot);

 private:
  Status OpenBias(const std::string& name, int64_t count, const float*& slot);
  Status OpenTiles(const std::string& name, const TileLayout& layout, int64_t count, bool has_bias,
                   TiledWeights& slot);

  DeviceWeights& weights_;
};

}  // namespace expertile::cuda
