// Owned, 64-byte aligned, uninitialised storage for trivially copyable elements: activations and
// packed weights. Not a container: it never grows in place and never runs constructors.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <type_traits>

namespace expertile {

inline constexpr size_t kCacheLine = 64;

// For std::free; null when there is no memory. Large ones lie on huge pages where the system gives
// them on request: a kernel that walks rows of a megabyte otherwise waits for address translation.
inline void* AllocateAligned(size_t num_bytes) {
  constexpr size_t kHugePage = size_t{2} << 20;
  const size_t alignment = num_bytes < kHugePage / 2 ? kCacheLine : kHugePage;
  const size_t padded = (num_bytes + alignment - 1) / alignment * alignment;
  void* memory = padded < num_bytes ? nullptr : std::aligned_alloc(alignment, padded);
  if (memory != nullptr && alignment == kHugePage) (void)madvise(memory, padded, MADV_HUGEPAGE);
  return memory;
}

template <typename T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  AlignedBuffer() = default;
  // Allocates `size` elements; data() is null when size is 0 or memory is not to be had.
  explicit AlignedBuffer(size_t size)
      : data_(static_cast<T*>(size == 0 ? nullptr : AllocateAligned(size * sizeof(T)))),
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

  std::unique_ptr<T[], Free> data_;
  size_t size_ = 0;
};

}  // namespace expertile
