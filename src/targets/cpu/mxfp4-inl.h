// Expanding slices of kMxfp4 panels to the panels that the tile kernels multiply with; exact.
// Not a header of its own: included inside an instruction set's namespace and target region.

// The scales of a block's columns as factors.
inline void ReadScales(const std::byte* codes, Vec& left, Vec& right) {
  left = E8M0Values(LoadBytes(codes));
  right = E8M0Values(LoadBytes(codes + kLanes));
}

// Calls store(pair of k-values, half, even, odd) for the two halves of every pair's columns.
template <typename StorePair>
inline void ExpandMxfp4(const std::byte* panel, int64_t depth, Prefetch prefetch, StorePair store) {
  for (int64_t k = 0; k < depth; k += kMxBlockSize) {
    FetchAhead<_MM_HINT_T1>(prefetch);
    Vec scale[2];
    ReadScales(panel, scale[0], scale[1]);
    panel += kPanelColumns;
    for (int pair = 0; pair < kMxfp4BlockBytes; ++pair, panel += kPanelColumns) {
      for (int half = 0; half < 2; ++half) {
        const IntVec codes = LoadBytes(panel + half * kLanes);
        const Vec even = Mul(Mxfp4Value(codes), scale[half]);
        const Vec odd = Mul(Mxfp4Value(ShiftRight4(codes)), scale[half]);
        store(k / 2 + pair, half, even, odd);
      }
    }
  }
}

// To a float32 panel [depth][NR].
inline void ExpandMxfp4ToFloat32(const std::byte* panel, int64_t depth, std::byte* out,
                                 Prefetch prefetch) {
  float* floats = reinterpret_cast<float*>(out);
  ExpandMxfp4(panel, depth, prefetch, [floats](int64_t pair, int half, Vec even, Vec odd) {
    float* target = floats + 2 * pair * kPanelColumns + half * kLanes;
    Store(target, even);
    Store(target + kPanelColumns, odd);
  });
}

// To a bfloat16 panel [depth/2][NR][2]: every MXFP4 value has at most two significant bits.
inline void ExpandMxfp4ToPairs(const std::byte* panel, int64_t depth, std::byte* out,
                               Prefetch prefetch) {
  ExpandMxfp4(panel, depth, prefetch, [out](int64_t pair, int half, Vec even, Vec odd) {
    StorePairs(out + (pair * kPanelColumns + half * kLanes) * 4, even, odd);
  });
}
