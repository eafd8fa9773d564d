// PageMemory: a large zeroed block of memory, on huge pages where the system gives them.
// Not for small or short-lived buffers (base/aligned_buffer.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "expertile/result.h"

namespace expertile {

// Page-aligned. Movable; moves keep its address.
class PageMemory {
 public:
  PageMemory() = default;
  // Errors: kOutOfMemory. Pages are taken when they are first written.
  static Result<PageMemory> Allocate(int64_t num_bytes);
  std::byte* data() const { return data_.get(); }

 private:
  struct Unmap {
    int64_t num_bytes;
    void operator()(std::byte* data) const;
  };
  std::unique_ptr<std::byte, Unmap> data_;
};

}  // namespace expertile
