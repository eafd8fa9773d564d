// The tile kernels and the packing that feeds them, over the vector type of simd_*-inl.h.
// Not a header of its own: included inside an instruction set's namespace and target region.

inline constexpr int kPanelColumns =
    2 * kLanes;                         // NR: gate and up of kLanes columns, or plain columns
inline constexpr int kBlockDepth = 16;  // k-values per row in a block of a packed tile
// A float32 slice of a panel stays in the first-level cache with the tile that passes by (24 + 10.5
// of 32..48 KiB).
inline constexpr int64_t kSliceDepth = 24 * 1024 / (kPanelColumns * 4);

template <decltype(_MM_HINT_T0) kCache = _MM_HINT_T0>
void FetchLines(Prefetch& prefetch, int num_lines) {
  for (int line = 0; line < num_lines; ++line) {
    _mm_prefetch(reinterpret_cast<const char*>(prefetch.address), kCache);
    prefetch.address += 64;
  }
}
// A block's.
template <decltype(_MM_HINT_T0) kCache = _MM_HINT_T0>
void FetchAhead(Prefetch& prefetch) {
  FetchLines<kCache>(prefetch, prefetch.lines_per_block);
}

template <int kRows>
struct Accumulator {
  Vec left[kRows];
  Vec right[kRows];

  inline void Start(const float* c, bool first) {
    if (first) {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) left[r] = right[r] = Zero();
    } else {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        left[r] = Load(c + r * kPanelColumns);
        right[r] = Load(c + r * kPanelColumns + kLanes);
      }
    }
  }
  // Adds one k-value: column k of the tile (a points into row 0) times one row of the panel.
  inline void MultiplyAdd(const float* a, Vec b_left, Vec b_right) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec x = Broadcast(a[r * kBlockDepth]);
      left[r] = FMAdd(x, b_left, left[r]);
      right[r] = FMAdd(x, b_right, right[r]);
    }
  }
  inline void Finish(float* c) const {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      Store(c + r * kPanelColumns, left[r]);
      Store(c + r * kPanelColumns + kLanes, right[r]);
    }
  }
};

template <int kRows>
void TileFloat32(const std::byte* a_bytes, const std::byte* b_bytes, int64_t depth, float* c,
                 bool first, Prefetch prefetch) {
  const float* a = reinterpret_cast<const float*>(a_bytes);
  const float* b = reinterpret_cast<const float*>(b_bytes);
  Accumulator<kRows> sum;
  sum.Start(c, first);
  for (; depth > 0; depth -= kBlockDepth, a += kRows * kBlockDepth) {
    FetchAhead(prefetch);
    const int steps = depth < kBlockDepth ? static_cast<int>(depth) : kBlockDepth;
    for (int k = 0; k < steps; ++k, b += kPanelColumns) {
      sum.MultiplyAdd(a + k, Load(b), Load(b + kLanes));
    }
  }
  sum.Finish(c);
}

template <int kRows>
void TileBFloat16(const std::byte* a_bytes, const std::byte* b, int64_t depth, float* c, bool first,
                  Prefetch prefetch) {
  constexpr int kHalfBytes = kLanes * 4;
  const float* a = reinterpret_cast<const float*>(a_bytes);
  Accumulator<kRows> sum;
  sum.Start(c, first);
  for (; depth > 0; depth -= kBlockDepth, a += kRows * kBlockDepth) {
    FetchAhead(prefetch);
    const int steps = depth < kBlockDepth ? static_cast<int>(depth) : kBlockDepth;
    for (int k = 0; k < steps; k += 2, b += 2 * kHalfBytes) {
      sum.MultiplyAdd(a + k, ExpandFirst(b), ExpandFirst(b + kHalfBytes));
      sum.MultiplyAdd(a + k + 1, ExpandSecond(b), ExpandSecond(b + kHalfBytes));
    }
  }
  sum.Finish(c);
}

inline void ExpandPanel(const std::byte* pairs, int64_t depth, std::byte* out, Prefetch prefetch) {
  constexpr int kHalfBytes = kLanes * 4;
  float* panel = reinterpret_cast<float*>(out);
  for (int64_t k = 0; k < depth; k += 2, pairs += 2 * kHalfBytes, panel += 2 * kPanelColumns) {
    if (k % kMxBlockSize == 0) FetchAhead(prefetch);
    Store(panel, ExpandFirst(pairs));
    Store(panel + kLanes, ExpandFirst(pairs + kHalfBytes));
    Store(panel + kPanelColumns, ExpandSecond(pairs));
    Store(panel + kPanelColumns + kLanes, ExpandSecond(pairs + kHalfBytes));
  }
}

inline const float* SourceRow(const float* x, int64_t stride, const int32_t* rows, int r) {
  return x + (rows != nullptr ? rows[r] : r) * stride;
}

// kRound rounds to bfloat16 values, kept as floats.
template <bool kRound>
void PackTile(const float* x, int64_t stride, const int32_t* rows, int num_rows, int64_t depth,
              std::byte* tile_bytes) {
  float* tile = reinterpret_cast<float*>(tile_bytes);
  for (int r = 0; r < num_rows; ++r) {
    const float* source = SourceRow(x, stride, rows, r);
    for (int64_t k = 0; k < depth; k += kBlockDepth) {
      float* target = tile + k * num_rows + r * kBlockDepth;
      float tail[kBlockDepth] = {};
      const bool whole = depth - k >= kBlockDepth;
      if (!whole) std::memcpy(tail, source + k, static_cast<size_t>(depth - k) * sizeof(float));
      const float* block = whole ? source + k : tail;
      for (int lane = 0; lane < kBlockDepth; lane += kLanes) {
        const Vec v = Load(block + lane);
        Store(target + lane, kRound ? RoundToBFloat16(v) : v);
      }
    }
  }
}

// See GatherTileFunction; a row's part of a block of kDepthMultiple k-values takes kBlockBytes.
template <int kBlockBytes>
void GatherTile(const std::byte* packed, int64_t row_bytes, const int32_t* rows, int num_rows,
                int64_t depth, std::byte* tile) {
  for (int r = 0; r < num_rows; ++r) {
    const std::byte* source = packed + rows[r] * row_bytes;
    std::byte* target = tile + r * kBlockBytes;
    for (int64_t k = 0; k < depth; k += kDepthMultiple) {
      std::memcpy(target, source, kBlockBytes);
      source += kBlockBytes;
      target += num_rows * kBlockBytes;
    }
  }
}

template <template <int> class Kernel, typename Function = TileKernel, int... kRows>
constexpr std::array<Function, kMaxTileRows + 1> TilesByRows(std::integer_sequence<int, kRows...>) {
  std::array<Function, kMaxTileRows + 1> tiles = {};
  ((tiles[kRows + 1] = Kernel<kRows + 1>::kRun), ...);
  return tiles;
}
template <int kRows>
struct Float32Kernel {
  static constexpr TileKernel kRun = TileFloat32<kRows>;
};
template <int kRows>
struct BFloat16Kernel {
  static constexpr TileKernel kRun = TileBFloat16<kRows>;
};
