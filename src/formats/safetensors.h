// Reading safetensors files through a memory map, with every header field checked at open.
// Not for checkpoints of several files (formats/checkpoint_tensors.h), nor for writing
// (formats/safetensors_writer.h).
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/tensor.h"
#include "expertile/result.h"

namespace expertile {

// The format: 8 bytes of little-endian header size, a JSON header, then the tensors' data. As in
// the official implementation (github.com/huggingface/safetensors), a header has at most this many
// bytes.
inline constexpr uint64_t kMaxSafetensorsHeaderSize = 100'000'000;
// The header's field that is no tensor but a map of strings to strings.
inline constexpr std::string_view kSafetensorsMetadataKey = "__metadata__";

using TensorMap = std::map<std::string, TensorView, std::less<>>;
using StringMap = std::map<std::string, std::string, std::less<>>;

// A tensor whose dtype is none of ours: it lies where it says, and cannot be read.
struct UnreadableTensor {
  std::string dtype;  // as the file spells it
  std::span<const std::byte> bytes;
};
using UnreadableMap = std::map<std::string, UnreadableTensor, std::less<>>;

// The refusal of one that is needed: "NAME: dtype F8_E4M3, expected one of F32, BF16, …".
tl::unexpected<Error> CannotRead(std::string_view name, const UnreadableTensor& tensor);

// The tensors of one file. The views lie in the map, so they live as long as this object does,
// moves included. Only the header is read at open. What is guaranteed of an open file: the tensors
// cover its data exactly, without overlaps, holes or bytes to spare, so a truncated file does not
// open. What is not: that a tensor's data is aligned, or that every dtype is known.
class SafetensorsFile {
 public:
  static Result<SafetensorsFile> Open(const std::filesystem::path& path);
  // The same over bytes that outlive the result; `source` names them in errors.
  static Result<SafetensorsFile> Parse(std::span<const std::byte> bytes, std::string_view source);

  const TensorView* Find(std::string_view name) const;                  // null if there is none
  const UnreadableTensor* FindUnreadable(std::string_view name) const;  // null if there is none
  const TensorMap& tensors() const { return tensors_; }
  const UnreadableMap& unreadable() const { return unreadable_; }
  const StringMap& metadata() const { return metadata_; }
  void ReleasePages() const {
    if (file_) file_->ReleasePages();
  }

 private:
  SafetensorsFile() = default;

  std::optional<MappedFile> file_;  // none where somebody else owns the bytes
  TensorMap tensors_;
  UnreadableMap unreadable_;
  StringMap metadata_;
};

}  // namespace expertile
