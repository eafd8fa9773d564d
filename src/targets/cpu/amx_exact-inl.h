// Float32 activations times bfloat16 weights by AMX: an activation's 24 bits are those of three
// bfloat16 values, whose sum it is, so that every product is exact.
// Not a header of its own: included inside the AMX namespace and target region.

// A block of a packed tile is [part][rows][32]: the highest bits, the middle ones, the lowest.
inline constexpr int kExactParts = 3;

// The upper 16 bits of the lanes, whose lower bits are dropped.
inline void StoreUpperHalves(std::byte* target, Vec v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(target),
                      _mm512_cvtepi32_epi16(_mm512_srli_epi32(AsInts(v), 16)));
}

// A NaN or an infinity has a part that is NaN. Parts below 2^-126 are taken for zeros.
inline void PackParts(const float* x, int64_t stride, const int32_t* rows, int num_rows,
                      int64_t depth, std::byte* tile) {
  const IntVec upper = BroadcastInt(static_cast<int>(0xffff0000u));
  const int64_t part_bytes = num_rows * kAmxRowBytes;
  for (int r = 0; r < num_rows; ++r) {
    const float* source = SourceRow(x, stride, rows, r);
    for (int64_t k = 0; k < depth; k += kPairBlockDepth) {
      float tail[kPairBlockDepth] = {};
      const bool whole = depth - k >= kPairBlockDepth;
      if (!whole) std::memcpy(tail, source + k, static_cast<size_t>(depth - k) * sizeof(float));
      const float* block = whole ? source + k : tail;
      std::byte* target = tile + k / kPairBlockDepth * kExactParts * part_bytes + r * kAmxRowBytes;
      for (int lane = 0; lane < kPairBlockDepth; lane += kLanes) {
        const Vec v = Load(block + lane);
        const Vec high = AsBits(AndBits(AsInts(v), upper));
        const Vec below = Sub(v, high);
        const Vec middle = AsBits(AndBits(AsInts(below), upper));
        StoreUpperHalves(target + 2 * lane, high);
        StoreUpperHalves(target + part_bytes + 2 * lane, middle);
        StoreUpperHalves(target + 2 * part_bytes + 2 * lane, Sub(below, middle));
      }
    }
  }
}

// Registers: sums 0 to 5 (left and right of each part), A 6, B 7.
inline void ShapeParts(int rows, int pairs) {
  Reshape({rows, pairs, /*has_parts=*/true}, [&](auto set) {
    for (int sum = 0; sum < 2 * kExactParts; ++sum) set(sum, rows, kAmxRowBytes);
    set(6, rows, 4 * pairs);
    set(7, pairs, kAmxRowBytes);
  });
}

// Adds blocks of `pairs` pairs each to sums [part][rows][NR], or begins them.
template <int kRows>
void AddPartBlocks(const std::byte* a, const std::byte* b, int64_t num_blocks, int pairs,
                   float* sums, bool first, Prefetch& prefetch) {
  constexpr int64_t kPartBytes = kRows * kAmxRowBytes;
  float* middle = sums + kRows * kPanelColumns;
  float* low = middle + kRows * kPanelColumns;
  ShapeParts(kRows, pairs);
  if (first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
  } else {
    _tile_loadd(0, sums, kPanelRowBytes);
    _tile_loadd(1, sums + kLanes, kPanelRowBytes);
    _tile_loadd(2, middle, kPanelRowBytes);
    _tile_loadd(3, middle + kLanes, kPanelRowBytes);
    _tile_loadd(4, low, kPanelRowBytes);
    _tile_loadd(5, low + kLanes, kPanelRowBytes);
  }
  for (int64_t block = 0; block < num_blocks; ++block) {
    FetchAhead<_MM_HINT_T1>(prefetch);
    _tile_loadd(7, b, kPanelRowBytes);
    _tile_loadd(6, a, kAmxRowBytes);
    _tile_dpbf16ps(0, 6, 7);
    _tile_loadd(6, a + kPartBytes, kAmxRowBytes);
    _tile_dpbf16ps(2, 6, 7);
    _tile_loadd(6, a + 2 * kPartBytes, kAmxRowBytes);
    _tile_dpbf16ps(4, 6, 7);
    _tile_loadd(7, b + kAmxRowBytes, kPanelRowBytes);
    _tile_dpbf16ps(5, 6, 7);
    _tile_loadd(6, a + kPartBytes, kAmxRowBytes);
    _tile_dpbf16ps(3, 6, 7);
    _tile_loadd(6, a, kAmxRowBytes);
    _tile_dpbf16ps(1, 6, 7);
    a += kExactParts * kPartBytes;
    b += kAmxPairs * kPanelRowBytes;
  }
  _tile_stored(0, sums, kPanelRowBytes);
  _tile_stored(1, sums + kLanes, kPanelRowBytes);
  _tile_stored(2, middle, kPanelRowBytes);
  _tile_stored(3, middle + kLanes, kPanelRowBytes);
  _tile_stored(4, low, kPanelRowBytes);
  _tile_stored(5, low + kLanes, kPanelRowBytes);
}

// The parts' sums are added at the end, the lowest first.
template <int kRows>
void TileOfParts(const std::byte* a, const std::byte* b, int64_t depth, float* c, bool first,
                 Prefetch prefetch) {
  constexpr int kValues = kRows * kPanelColumns;
  alignas(64) float sums[kExactParts * kValues];
  const int64_t num_blocks = depth / kPairBlockDepth;
  const int rest = static_cast<int>(depth % kPairBlockDepth);
  if (num_blocks > 0) {
    AddPartBlocks<kRows>(a, b, num_blocks, kAmxPairs, sums, /*first=*/true, prefetch);
  }
  if (rest != 0) {
    AddPartBlocks<kRows>(a + num_blocks * kExactParts * kRows * kAmxRowBytes,
                         b + num_blocks * kAmxPairs * kPanelRowBytes, 1, rest / 2, sums,
                         /*first=*/num_blocks == 0, prefetch);
  }
  for (int i = 0; i < kValues; i += kLanes) {
    const Vec lower = Add(Load(sums + 2 * kValues + i), Load(sums + kValues + i));
    const Vec sum = Add(lower, Load(sums + i));
    Store(c + i, first ? sum : Add(Load(c + i), sum));
  }
}

template <int kRows>
struct PartsKernel {
  static constexpr TileKernel kRun = TileOfParts<kRows>;
};

constexpr GemmKernels AmxExactKernels() {
  GemmKernels kernels;
  kernels.activation_size = 2 * kExactParts;
  kernels.block_depth = kPairBlockDepth;
  kernels.max_tile_rows = kAmxTileRows;
  kernels.tile_unit = kAmxTileRows;
  kernels.slice_depth = kAmxSliceDepth;
  kernels.weights_rows = 64;
  kernels.pack = PackParts;
  kernels.bfloat16 = TilesByRows<PartsKernel>(std::make_integer_sequence<int, kAmxTileRows>());
  kernels.begin = BeginTiles;
  kernels.end = EndTiles;
  return kernels;
}
