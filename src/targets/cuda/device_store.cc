#include "targets/cuda/device_store.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "targets/block_writing.h"

namespace expertile::cuda {

DeviceStore::~DeviceStore() {
  if (stream_) cudaStreamSynchronize(stream_->get());
  for (const Staging& staging : staging_) {
    if (staging.copied != nullptr) cudaEventDestroy(staging.copied);
  }
}

Status DeviceStore::Begin(const WeightBlock& block) {
  EXPERTILE_RETURN_IF_ERROR(Flush());
  if (!stream_) {
    EXPERTILE_ASSIGN(stream_, Stream::Create());
  }
  EXPERTILE_ASSIGN(DeviceMemory memory, DeviceMemory::Allocate(block.num_bytes, block.name + ":"));
  current_ = blocks_.Add(block, std::move(memory));
  return {};
}

Status DeviceStore::Prepare(Staging& staging, int64_t num_bytes) {
  if (staging.copied != nullptr) {
    EXPERTILE_RETURN_IF_ERROR(Check(cudaEventSynchronize(staging.copied), "copy of weights"));
  } else {
    EXPERTILE_RETURN_IF_ERROR(
        Check(cudaEventCreateWithFlags(&staging.copied, cudaEventDisableTiming), "event"));
  }
  if (staging.memory.size() < num_bytes) {
    staging.memory = {};
    EXPERTILE_ASSIGN(staging.memory, PinnedMemory::Allocate(std::max(num_bytes, kMaxPieceBytes)));
  }
  std::memset(staging.memory.data(), 0, static_cast<size_t>(num_bytes));
  return {};
}

Result<std::span<std::byte>> DeviceStore::Piece(int64_t num_bytes) {
  EXPERTILE_RETURN_IF_ERROR(Flush());
  EXPERTILE_DCHECK(current_ != nullptr &&
                   num_bytes <= current_->block.num_bytes - current_->written);
  filling_ ^= 1;
  Staging& staging = staging_[filling_];
  EXPERTILE_RETURN_IF_ERROR(Prepare(staging, num_bytes));
  filled_ = num_bytes;
  return std::span(staging.memory.data(), static_cast<size_t>(num_bytes));
}

Status DeviceStore::Flush() {
  if (filled_ == 0) return {};
  const Staging& staging = staging_[filling_];
  EXPERTILE_RETURN_IF_ERROR(
      Check(cudaMemcpyAsync(current_->memory.data() + current_->written, staging.memory.data(),
                            static_cast<size_t>(filled_), cudaMemcpyHostToDevice, stream_->get()),
            "copy of weights"));
  current_->written += filled_;
  filled_ = 0;
  return Check(cudaEventRecord(staging.copied, stream_->get()), "copy of weights");
}

Status DeviceStore::Finish() {
  EXPERTILE_RETURN_IF_ERROR(Flush());
  if (stream_) EXPERTILE_RETURN_IF_ERROR(stream_->Synchronize("copy of weights"));
  for (Staging& staging : staging_) staging.memory = {};
  return {};
}

std::shared_ptr<WeightStore> NewDeviceStore() { return std::make_shared<DeviceStore>(); }

DeviceWeights::DeviceWeights(std::shared_ptr<const WeightReader> reader)
    : reader_(std::move(reader)) {
  if (dynamic_cast<const DeviceStore*>(reader_.get()) != nullptr) return;
  copies_ = std::make_shared<DeviceStore>();
}

Result<const std::byte*> DeviceWeights::Find(const std::string& name, const std::string& format,
                                             int64_t num_bytes) {
  EXPERTILE_ASSIGN(std::span<const std::byte> bytes, reader_->Find(name, format, num_bytes));
  if (copies_ == nullptr) return bytes.data();
  EXPERTILE_RETURN_IF_ERROR(copies_->Begin({name, format, 0, num_bytes}));
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(bytes.size(), static_cast<size_t>(kMaxPieceBytes)));
    EXPERTILE_ASSIGN(const std::span<std::byte> piece,
                     copies_->Piece(static_cast<int64_t>(part.size())));
    std::memcpy(piece.data(), part.data(), part.size());
    bytes = bytes.subspan(part.size());
  }
  EXPERTILE_ASSIGN(const auto copied, copies_->Find(name, format, num_bytes));
  return copied.data();
}

Result<std::shared_ptr<const WeightReader>> DeviceWeights::Finish() {
  if (copies_ == nullptr) return reader_;
  EXPERTILE_RETURN_IF_ERROR(copies_->Finish());
  return copies_;
}

}  // namespace expertile::cuda
