// PageMemory: a zeroed block of memory that lives long, on huge pages where it fills them and the
// system gives them. Not for short-lived buffers (base/aligned_buffer.h).
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
  std::byte* data() const { return data_; }

 private:
  struct Unmap {
    int64_t num_bytes;
    void operator()(std::byte* mapped) const;
  };
  std::unique_ptr<std::byte, Unmap> mapped_;
  std::byte* data_ = nullptr;  // in mapped_
};

}  // namespace expertile
