#include "formats/kv_codec.h"

#include <algorithm>
#include <cstring>

#include "formats/mxint8.h"

namespace expertile {

std::string_view NameOf(KvFormat format) {
  switch (format) {
    case KvFormat::kFloat32:
      return "float32";
    case KvFormat::kBFloat16:
      return "bfloat16";
    case KvFormat::kMxInt8:
      return "mxint8";
  }
  return "";
}

KvCodec::KvCodec(KvFormat format, int64_t head_dim)
    : format_(format),
      dtype_(format == KvFormat::kFloat32    ? DType::kF32
             : format == KvFormat::kBFloat16 ? DType::kBF16
                                             : DType::kU8),
      head_dim_(head_dim),
      row_scales_(format == KvFormat::kMxInt8 ? (head_dim + kMxBlockSize - 1) / kMxBlockSize : 0) {}

void KvCodec::Encode(std::span<const float> values, int64_t row, std::span<std::byte> elements,
                     std::span<std::byte> scales) const {
  std::byte* target = elements.data() + row * row_bytes();
  if (format_ == KvFormat::kFloat32) {
    std::memcpy(target, values.data(), values.size_bytes());
  } else if (format_ == KvFormat::kBFloat16) {
    auto* rounded = reinterpret_cast<uint16_t*>(target);
    for (size_t i = 0; i < values.size(); ++i) rounded[i] = FloatToBFloat16(values[i]);
  } else {
    auto* codes = reinterpret_cast<int8_t*>(target);
    for (int64_t block = 0; block < row_scales_; ++block) {
      const int64_t first = block * kMxBlockSize;
      const auto size = static_cast<size_t>(std::min<int64_t>(kMxBlockSize, head_dim_ - first));
      scales[row * row_scales_ + block] =
          static_cast<std::byte>(EncodeMxint8(values.subspan(first, size), {codes + first, size}));
    }
  }
}

void KvCodec::Decode(std::span<const std::byte> elements, std::span<const std::byte> scales,
                     int64_t row, std::span<float> values) const {
  const std::byte* source = elements.data() + row * row_bytes();
  if (format_ == KvFormat::kFloat32) {
    std::memcpy(values.data(), source, values.size_bytes());
  } else if (format_ == KvFormat::kBFloat16) {
    for (size_t i = 0; i < values.size(); ++i) {
      uint16_t bits = 0;
      std::memcpy(&bits, source + i * sizeof(bits), sizeof(bits));
      values[i] = BFloat16ToFloat(bits);
    }
  } else {
    const auto* codes = reinterpret_cast<const int8_t*>(source);
    for (int64_t block = 0; block < row_scales_; ++block) {
      const int64_t first = block * kMxBlockSize;
      const auto size = static_cast<size_t>(std::min<int64_t>(kMxBlockSize, head_dim_ - first));
      DecodeMxint8({codes + first, size}, static_cast<uint8_t>(scales[row * row_scales_ + block]),
                   values.subspan(first, size));
    }
  }
}

}  // namespace expertile
