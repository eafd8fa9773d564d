// The CPU target's activations: float32 rows in buffers that are used again.
// Not weights (targets/cpu/packed_weights.h).
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"

namespace expertile::cpu {

// Buffers that tensors give back when they die; a step needs a handful, over and over. For one
// thread.
class BufferPool {
 public:
  // The smallest free buffer of at least `size` floats, else a new one; throws std::bad_alloc.
  AlignedBuffer<float> Take(size_t size) {
    auto best = free_.end();
    for (auto it = free_.begin(); it != free_.end(); ++it) {
      if (it->size() >= size && (best == free_.end() || it->size() < best->size())) best = it;
    }
    if (best == free_.end()) {
      AlignedBuffer<float> buffer(size);
      if (buffer.size() != size) throw std::bad_alloc();
      return buffer;
    }
    AlignedBuffer<float> buffer = std::move(*best);
    free_.erase(best);
    return buffer;
  }
  void Give(AlignedBuffer<float> buffer) { free_.push_back(std::move(buffer)); }

 private:
  std::vector<AlignedBuffer<float>> free_;
};

// [rows, width], row-major. Movable; gives its buffer back to the pool.
class Tensor {
 public:
  Tensor(std::shared_ptr<BufferPool> pool, int64_t rows, int64_t width)
      : pool_(std::move(pool)),
        buffer_(pool_->Take(std::max<int64_t>(1, rows * width))),
        rows_(rows),
        width_(width) {}
  Tensor(Tensor&&) noexcept = default;
  Tensor& operator=(Tensor&& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(buffer_, other.buffer_);
    std::swap(rows_, other.rows_);
    std::swap(width_, other.width_);
    return *this;
  }
  ~Tensor() {
    if (pool_ != nullptr) pool_->Give(std::move(buffer_));
  }

  int64_t rows() const { return rows_; }
  int64_t width() const { return width_; }
  float* data() { return buffer_.data(); }
  const float* data() const { return buffer_.data(); }
  std::span<float> Row(int64_t row) { return {data() + row * width_, static_cast<size_t>(width_)}; }
  std::span<const float> Row(int64_t row) const {
    return {data() + row * width_, static_cast<size_t>(width_)};
  }
  std::span<const float> values() const { return {data(), static_cast<size_t>(rows_ * width_)}; }

 private:
  std::shared_ptr<BufferPool> pool_;
  AlignedBuffer<float> buffer_;
  int64_t rows_;
  int64_t width_;
};

}  // namespace expertile::cpu
