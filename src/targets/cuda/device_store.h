// DeviceStore: packed weights in the device's memory, written through two pinned pieces while the
// packer fills the other one. Not their layouts: weight_packing.h.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "targets/block_map.h"
#include "targets/cuda/device.h"
#include "targets/weight_store.h"

namespace expertile::cuda {

// What Find gives are addresses of the device.
class DeviceStore : public WeightStore {
 public:
  ~DeviceStore() override;

  Status BeginGroup(std::string_view) override { return {}; }
  Status Begin(const WeightBlock& block) override;
  Result<std::span<std::byte>> Piece(int64_t num_bytes) override;
  // All that was written is on the device.
  Status Finish();

  // Whether what Find gives is on the device before it is asked for.
  virtual bool is_filled() const { return true; }
  bool Has(std::string_view name) const override { return blocks_.Has(name); }
  Result<std::span<const std::byte>> Find(std::string_view name, std::string_view format,
                                          int64_t num_bytes) const override {
    return blocks_.Find(name, format, num_bytes);
  }
  Result<std::string> FormatOf(std::string_view name) const override {
    return blocks_.FormatOf(name);
  }

 private:
  struct Staging {
    PinnedMemory memory;
    cudaEvent_t copied = nullptr;  // null before its first copy
  };

  Status Prepare(Staging& staging, int64_t num_bytes);
  Status Flush();  // starts the copy of the piece that was filled last

  BlockMap<DeviceMemory> blocks_;
  BlockMap<DeviceMemory>::Stored* current_ = nullptr;
  std::optional<Stream> stream_;
  std::array<Staging, 2> staging_;
  int filling_ = 0;
  int64_t filled_ = 0;  // bytes of the piece that is being filled
};

// TargetRow::new_store.
std::shared_ptr<WeightStore> NewDeviceStore();

// The weights of `reader` on the device: itself if they are there, otherwise a store that they are
// copied to, block by block, when they are asked for.
class DeviceWeights {
 public:
  explicit DeviceWeights(std::shared_ptr<const WeightReader> reader);

  Result<std::string> FormatOf(const std::string& name) const { return reader_->FormatOf(name); }
  // The block's bytes on the device.
  Result<const std::byte*> Find(const std::string& name, const std::string& format,
                                int64_t num_bytes);
  // Everything asked for is there. The reader that keeps it alive.
  Result<std::shared_ptr<const WeightReader>> Finish();

 private:
  std::shared_ptr<const WeightReader> reader_;
  std::shared_ptr<DeviceStore> copies_;  // null: the reader's bytes are the device's
};

}  // namespace expertile::cuda
