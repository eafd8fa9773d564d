// Owned, 64-byte aligned, uninitialised storage for trivially copyable elements: activations and
// packed weights. Not a container: it never grows in place and never runs constructors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <type_traits>

namespace expertile {

inline constexpr size_t kCacheLine = 64;

template <typename T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  AlignedBuffer() = default;
  // Allocates `size` elements; data() is null when size is 0 or memory is not to be had.
  explicit AlignedBuffer(size_t size)
      : data_(static_cast<T*>(size == 0 ? nullptr
                                        : std::aligned_alloc(kCacheLine, PaddedBytes(size)))),
        size_(data_ ? size : 0) {}

  // Grows (dropping the contents) to at least `size` elements; never shrinks. False if out of
  // memory.
  bool Reserve(size_t size) {
    if (size > size_) *this = AlignedBuffer(size);
    return size <= size_;
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  size_t size() const { return size_; }
  std::span<T> span() { return {data_.get(), size_}; }
  std::span<const T> span() const { return {data_.get(), size_}; }
  T& operator[](size_t i) { return data_.get()[i]; }
  const T& operator[](size_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* pointer) const { std::free(pointer); }
  };
  static size_t PaddedBytes(size_t size) {
    return (size * sizeof(T) + kCacheLine - 1) / kCacheLine * kCacheLine;
  }

  std::unique_ptr<T[], Free> data_;
  size_t size_ = 0;
};

}  // namespace expertile
