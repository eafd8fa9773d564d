// Expanding slices of kMxfp6 panels to the panels that the tile kernels multiply with; exact.
// Not a header of its own: included inside an instruction set's namespace and target region.

inline IntVec Mxfp6Codes(IntVec low, IntVec high) { return OrBits(low, ShiftLeft4(high)); }

// Calls store(pair of k-values, half, even, odd) for the two halves of every pair's columns. A
// block holds the columns' scales, the low four bits of 16 pairs, the high two bits of 8
// quadruples.
template <typename StorePair>
inline void ExpandMxfp6(const std::byte* panel, int64_t depth, Prefetch prefetch, StorePair store) {
  for (int64_t k = 0; k < depth; k += kMxBlockSize) {
    FetchAhead<_MM_HINT_T1>(prefetch);
    Vec scale[2];
    ReadScales(panel, scale[0], scale[1]);
    const std::byte* low = panel + kPanelColumns;
    const std::byte* high = low + kMxfp6LowBytes * kPanelColumns;
    for (int pair = 0; pair < kMxBlockSize / 2; ++pair) {
      for (int half = 0; half < 2; ++half) {
        const IntVec lows = LoadBytes(low + pair * kPanelColumns + half * kLanes);
        IntVec highs = LoadBytes(high + pair / 2 * kPanelColumns + half * kLanes);
        if (pair % 2 == 1) highs = ShiftRight4(highs);
        const IntVec fifteen = BroadcastInt(15);
        const IntVec three = BroadcastInt(3);
        const IntVec even = Mxfp6Codes(AndBits(lows, fifteen), AndBits(highs, three));
        const IntVec odd = Mxfp6Codes(ShiftRight4(lows), AndBits(ShiftRight2(highs), three));
        store(k / 2 + pair, half, Mul(Mxfp6Value(even), scale[half]),
              Mul(Mxfp6Value(odd), scale[half]));
      }
    }
    panel += kMxfp6BlockBytes * kPanelColumns;
  }
}

// To a float32 panel [depth][NR].
inline void ExpandMxfp6ToFloat32(const std::byte* panel, int64_t depth, std::byte* out,
                                 Prefetch prefetch) {
  float* floats = reinterpret_cast<float*>(out);
  ExpandMxfp6(panel, depth, prefetch, [floats](int64_t pair, int half, Vec even, Vec odd) {
    float* target = floats + 2 * pair * kPanelColumns + half * kLanes;
    Store(target, even);
    Store(target + kPanelColumns, odd);
  });
}

// To a bfloat16 panel [depth/2][NR][2]: every MXFP6 value has at most four significant bits.
inline void ExpandMxfp6ToPairs(const std::byte* panel, int64_t depth, std::byte* out,
                               Prefetch prefetch) {
  ExpandMxfp6(panel, depth, prefetch, [out](int64_t pair, int half, Vec even, Vec odd) {
    StorePairs(out + (pair * kPanelColumns + half * kLanes) * 4, even, odd);
  });
}
