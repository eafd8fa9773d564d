// The number formats that checkpoint tensors come in, and exact scalar conversion between them.
// Not for block formats (formats/mx.h) or fast bulk conversion (targets).
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>

namespace expertile {

enum class DType : uint8_t { kF32, kBF16, kF16, kF64, kI64, kI32, kI16, kI8, kU8, kBool };

struct DTypeRow {
  DType dtype;
  std::string_view name;       // as safetensors spells it
  std::string_view long_name;  // as options and people spell it
  int size;                    // bytes per element
};

inline constexpr std::array<DTypeRow, 10> kDTypes = {{
    {DType::kF32, "F32", "float32", 4},
    {DType::kBF16, "BF16", "bfloat16", 2},
    {DType::kF16, "F16", "float16", 2},
    {DType::kF64, "F64", "float64", 8},
    {DType::kI64, "I64", "int64", 8},
    {DType::kI32, "I32", "int32", 4},
    {DType::kI16, "I16", "int16", 2},
    {DType::kI8, "I8", "int8", 1},
    {DType::kU8, "U8", "uint8", 1},
    {DType::kBool, "BOOL", "bool", 1},
}};

constexpr const DTypeRow& RowOf(DType dtype) { return kDTypes[static_cast<size_t>(dtype)]; }
constexpr int SizeOf(DType dtype) { return RowOf(dtype).size; }
constexpr std::string_view NameOf(DType dtype) { return RowOf(dtype).name; }
constexpr std::string_view LongNameOf(DType dtype) { return RowOf(dtype).long_name; }

constexpr std::optional<DType> DTypeFromName(std::string_view name) {
  for (const DTypeRow& row : kDTypes) {
    if (row.name == name) return row.dtype;
  }
  return std::nullopt;
}

constexpr float BFloat16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// Round to nearest even; NaN stays NaN (quiet), overflow becomes infinity.
constexpr uint16_t FloatToBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// IEEE binary16, subnormals and NaN included; every half is exact in float.
constexpr float HalfToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu;
  const uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

}  // namespace expertile
