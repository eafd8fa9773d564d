// Expanding panels of MXINT8 codes, of keys and of values, to those that the tile kernels multiply
// with; exact: a code has seven significant bits.
// Not a header of its own: included inside an instruction set's namespace and target region.

// A float32 panel [depth][NR].
struct ToFloat32 {
  static void Put(std::byte* out, int64_t pair, int half, Vec even, Vec odd) {
    float* target = reinterpret_cast<float*>(out) + 2 * pair * kPanelColumns + half * kLanes;
    Store(target, even);
    Store(target + kPanelColumns, odd);
  }
};

// A bfloat16 panel [depth/2][NR][2].
struct ToPairs {
  static void Put(std::byte* out, int64_t pair, int half, Vec even, Vec odd) {
    StorePairs(out + (pair * kPanelColumns + half * kLanes) * 4, even, odd);
  }
};

inline constexpr float kMxint8Unit = 1.0f / 64;

// Codes come from memory as fast as they are expanded only if they are asked for this early.
inline void FetchCodes(const std::byte* codes) {
  constexpr int64_t kBytesAhead = 2048;
  _mm_prefetch(reinterpret_cast<const char*>(codes + kBytesAhead), _MM_HINT_T0);
}

template <typename Target>
void ExpandMxint8Keys(const std::byte* codes, const std::byte* scales, int64_t depth,
                      std::byte* out) {
  for (int64_t first = 0; first < depth; first += kMxBlockSize, scales += kPanelColumns) {
    const int64_t end = first + kMxBlockSize < depth ? first + kMxBlockSize : depth;
    for (int half = 0; half < 2; ++half) {
      const Vec unit = Mul(E8M0Values(LoadBytes(scales + half * kLanes)), Broadcast(kMxint8Unit));
      for (int64_t k = first; k < end; k += 2) {
        const std::byte* row = codes + k * kPanelColumns + half * kLanes;
        if (half == 0) FetchCodes(row);
        Target::Put(out, k / 2, half, Mul(LoadSignedBytes(row), unit),
                    Mul(LoadSignedBytes(row + kPanelColumns), unit));
      }
    }
  }
}

template <typename Target>
void ExpandMxint8Values(const std::byte* codes, const std::byte* scales, int64_t depth,
                        std::byte* out) {
  const auto unit = [scales](int64_t k) {
    return Broadcast(E8M0ToFloat(static_cast<uint8_t>(scales[k])) * kMxint8Unit);
  };
  for (int64_t k = 0; k < depth; k += 2, codes += 2 * kPanelColumns) {
    FetchCodes(codes);
    const Vec even = unit(k);
    const Vec odd = unit(k + 1);
    for (int half = 0; half < 2; ++half) {
      const std::byte* row = codes + half * kLanes;
      Target::Put(out, k / 2, half, Mul(LoadSignedBytes(row), even),
                  Mul(LoadSignedBytes(row + kPanelColumns), odd));
    }
  }
}
