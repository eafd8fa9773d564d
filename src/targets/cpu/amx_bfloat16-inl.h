// bfloat16 tiles for AMX: up to 32 rows of a packed tile times a panel of bfloat16 pairs, 32
// k-values an instruction.
// Not a header of its own: included inside the AMX namespace and target region.

// A block of a packed tile, [rows][32], is an A operand as it lies; 16 pairs of a panel's rows,
// [16][NR][2], are two B operands side by side.
inline constexpr int kAmxTileRows = 16;                       // rows of a tile register
inline constexpr int kAmxMaxRows = 2 * kAmxTileRows;          // MR: two tile registers
inline constexpr int kAmxPairs = kPairBlockDepth / 2;         // pairs of k-values an instruction
inline constexpr int64_t kAmxRowBytes = 64;                   // of an A operand
inline constexpr int64_t kPanelRowBytes = kPanelColumns * 4;  // of a panel's pairs, and of c
// Sums stay in registers over a panel of up to this depth, which lies in the second-level cache.
inline constexpr int64_t kAmxSliceDepth = 4096;
// Rows of half a second-level cache, which two hardware threads may share, beside their panels.
inline constexpr int64_t kAmxBlockBytes = 768 << 10;
// A packed tile that stays in the first-level cache while panels pass.
inline constexpr int64_t kAmxNearBytes = 16 << 10;
static_assert(2 * kPairBlockDepth == kAmxRowBytes && kPanelRowBytes == 2 * kAmxRowBytes);

// What LDTILECFG reads.
struct alignas(64) TileConfiguration {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// The calling thread's shape of tiles since BeginTiles(); nothing (0) if others may have set it.
struct TileShape {
  int rows = 0;
  int pairs = 0;
  bool has_parts = false;  // see amx_exact-inl.h

  bool operator==(const TileShape&) const = default;
};
thread_local TileShape tile_shape;

// Calls set_all(set) for set(tile, rows, bytes of a row) unless tiles have this shape already. Sets
// all to zero.
template <typename SetAll>
inline void Reshape(const TileShape& shape, SetAll set_all) {
  if (tile_shape == shape) return;
  tile_shape = shape;
  TileConfiguration configuration;
  set_all([&](int tile, int num_rows, int num_bytes) {
    configuration.rows[tile] = static_cast<uint8_t>(num_rows);
    configuration.row_bytes[tile] = static_cast<uint16_t>(num_rows == 0 ? 0 : num_bytes);
  });
  // All of it, where GCC 12 says that the instruction reads eight bytes.
  __asm__ volatile("" : : "r"(&configuration) : "memory");
  _tile_loadconfig(&configuration);
}

// Registers: sums 0 to 3 (upper left, upper right, lower left, lower right), A 4 and 5 (upper,
// lower), B 6 and 7 (left, right).
inline void ShapeTiles(int rows, int pairs) {
  Reshape({rows, pairs}, [&](auto set) {
    const int upper = rows < kAmxTileRows ? rows : kAmxTileRows;
    for (const int half : {0, 1}) {
      const int half_rows = half == 0 ? upper : rows - upper;
      set(2 * half, half_rows, kAmxRowBytes);
      set(2 * half + 1, half_rows, kAmxRowBytes);
      set(4 + half, half_rows, 4 * pairs);
      set(6 + half, pairs, kAmxRowBytes);
    }
  });
}

inline void BeginTiles() { tile_shape = {}; }
inline void EndTiles() {
  tile_shape = {};
  _tile_release();
}

// Blocks of the runs, one after the other, for a packed tile of kRows rows.
template <int kRows>
struct BlockCursor {
  const std::byte* a;
  const PanelRun* run;
  const std::byte* b;
  int64_t left;  // k-values of the run from b on

  BlockCursor(const std::byte* tile, PanelRuns runs)
      : a(tile), run(runs.data()), b(run->panel), left(run->depth) {}
  void Advance() {
    a += kRows * kAmxRowBytes;
    b += kAmxPairs * kPanelRowBytes;
    left -= kPairBlockDepth;
    if (left > 0) return;
    ++run;
    b = run->panel;
    left = run->depth;
  }
};

// The lines of a tile register's rows that follow each other, into the first-level cache.
inline void FetchTile(const std::byte* rows) {
  constexpr int64_t kTileBytes = kAmxTileRows * kAmxRowBytes;
  for (int64_t offset = 0; offset < kTileBytes; offset += kAmxRowBytes) {
    _mm_prefetch(reinterpret_cast<const char*>(rows + offset), _MM_HINT_T0);
  }
}

template <int kRows>
inline void StartSums(const float* c, bool first) {
  constexpr bool kHasLower = kRows > kAmxTileRows;
  const float* lower = c + kAmxTileRows * kPanelColumns;
  if (first) {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (kHasLower) {
      _tile_zero(2);
      _tile_zero(3);
    }
  } else {
    _tile_loadd(0, c, kPanelRowBytes);
    _tile_loadd(1, c + kLanes, kPanelRowBytes);
    if constexpr (kHasLower) {
      _tile_loadd(2, lower, kPanelRowBytes);
      _tile_loadd(3, lower + kLanes, kPanelRowBytes);
    }
  }
}

template <int kRows>
inline void StoreSums(float* c) {
  _tile_stored(0, c, kPanelRowBytes);
  _tile_stored(1, c + kLanes, kPanelRowBytes);
  if constexpr (kRows > kAmxTileRows) {
    float* lower = c + kAmxTileRows * kPanelColumns;
    _tile_stored(2, lower, kPanelRowBytes);
    _tile_stored(3, lower + kLanes, kPanelRowBytes);
  }
}

struct Nothing {
  void operator()() const {}
};

// Adds the runs' blocks of `pairs` pairs each. A register is loaded for the next block as soon as
// its last product of this one is under way, and between the products the lines of the block after
// that are fetched into the first-level cache: two hardware threads that share a core's tiles wait
// for each other's loads otherwise. Lines of the next panel go to the second-level cache, where
// panels and tiles come from. Calls beside() once for each block, between products.
template <int kRows, typename Beside = Nothing>
void AddBlocks(const std::byte* a, PanelRuns runs, int pairs, float* c, bool first,
               Prefetch& prefetch, Beside beside = {}) {
  constexpr bool kHasLower = kRows > kAmxTileRows;
  constexpr int64_t kTileBytes = kAmxTileRows * kAmxRowBytes;
  constexpr int64_t kBlockBytes = kAmxPairs * kPanelRowBytes;
  int64_t num_blocks = 0;
  for (const PanelRun& run : runs) {
    num_blocks += (run.depth + kPairBlockDepth - 1) / kPairBlockDepth;
  }
  // A short tile is still there from the panel before.
  const bool fetches_rows = num_blocks * kRows * kAmxRowBytes > kAmxNearBytes;
  const int quarter = prefetch.lines_per_block / 4;
  const int last_quarter = prefetch.lines_per_block - 3 * quarter;
  ShapeTiles(kRows, pairs);
  StartSums<kRows>(c, first);
  BlockCursor<kRows> block(a, runs);
  _tile_loadd(4, block.a, kAmxRowBytes);
  _tile_loadd(6, block.b, kPanelRowBytes);
  _tile_loadd(7, block.b + kAmxRowBytes, kPanelRowBytes);
  if constexpr (kHasLower) _tile_loadd(5, block.a + kTileBytes, kAmxRowBytes);
  for (; num_blocks > 1; --num_blocks) {
    block.Advance();
    if (fetches_rows) FetchTile(block.a + kRows * kAmxRowBytes);
    FetchLines<_MM_HINT_T1>(prefetch, quarter);
    _tile_dpbf16ps(0, 4, 6);
    if (kHasLower && fetches_rows) FetchTile(block.a + kRows * kAmxRowBytes + kTileBytes);
    FetchLines<_MM_HINT_T1>(prefetch, quarter);
    _tile_dpbf16ps(1, 4, 7);
    beside();
    _tile_loadd(4, block.a, kAmxRowBytes);
    FetchTile(block.b + kBlockBytes);
    FetchLines<_MM_HINT_T1>(prefetch, quarter);
    if constexpr (kHasLower) _tile_dpbf16ps(3, 5, 7);
    _tile_loadd(7, block.b + kAmxRowBytes, kPanelRowBytes);
    FetchTile(block.b + kBlockBytes + kTileBytes);
    if constexpr (kHasLower) _tile_dpbf16ps(2, 5, 6);
    _tile_loadd(6, block.b, kPanelRowBytes);
    if constexpr (kHasLower) _tile_loadd(5, block.a + kTileBytes, kAmxRowBytes);
    FetchLines<_MM_HINT_T1>(prefetch, last_quarter);
  }
  FetchAhead<_MM_HINT_T1>(prefetch);
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(1, 4, 7);
  beside();
  if constexpr (kHasLower) {
    _tile_dpbf16ps(3, 5, 7);
    _tile_dpbf16ps(2, 5, 6);
  }
  StoreSums<kRows>(c);
}

template <int kRows, typename Beside>
void TileBeside(const std::byte* a, const std::byte* b, int64_t depth, float* c, bool first,
                Prefetch prefetch, Beside beside) {
  const int64_t rest = depth % kPairBlockDepth;
  const int64_t whole = depth - rest;
  if (whole > 0) {
    const PanelRun run = {b, whole};
    AddBlocks<kRows>(a, {&run, 1}, kAmxPairs, c, first, prefetch, beside);
  }
  if (rest == 0) return;
  const PanelRun run = {b + whole / 2 * kPanelRowBytes, rest};
  AddBlocks<kRows>(a + whole / kPairBlockDepth * kRows * kAmxRowBytes, {&run, 1},
                   static_cast<int>(rest / 2), c, first && whole == 0, prefetch, beside);
}

template <int kRows>
void TileAmxBFloat16(const std::byte* a, const std::byte* b, int64_t depth, float* c, bool first,
                     Prefetch prefetch) {
  TileBeside<kRows>(a, b, depth, c, first, prefetch, Nothing());
}

// A block's products take about as long as a row's exponentials.
template <int kRows>
void ScoresAmxBFloat16(const std::byte* a, const std::byte* b, int64_t depth, float* c,
                       Prefetch prefetch, SoftmaxWork& work) {
  TileBeside<kRows>(a, b, depth, c, /*first=*/true, prefetch, [&] { SoftmaxNextRow(work); });
}

// Sums stay in registers from run to run.
template <int kRows>
void RunsAmxBFloat16(const std::byte* a, PanelRuns runs, float* c, Prefetch prefetch) {
  int64_t whole = 0;  // of the runs but the last
  for (const PanelRun& run : runs.first(runs.size() - 1)) whole += run.depth;
  const int64_t rest = runs.back().depth % kPairBlockDepth;
  if (rest == 0) return AddBlocks<kRows>(a, runs, kAmxPairs, c, /*first=*/true, prefetch);
  if (whole > 0) {
    AddBlocks<kRows>(a, runs.first(runs.size() - 1), kAmxPairs, c, /*first=*/true, prefetch);
  }
  TileAmxBFloat16<kRows>(a + whole / kPairBlockDepth * kRows * kAmxRowBytes, runs.back().panel,
                         runs.back().depth, c, /*first=*/whole == 0, prefetch);
}

template <int kRows>
struct AmxBFloat16Kernel {
  static constexpr TileKernel kRun = TileAmxBFloat16<kRows>;
};
template <int kRows>
struct AmxScoresKernel {
  static constexpr ScoresKernel kRun = ScoresAmxBFloat16<kRows>;
};
template <int kRows>
struct AmxRunsKernel {
  static constexpr RunsKernel kRun = RunsAmxBFloat16<kRows>;
};

// Register-resident products of 16 rows, `kMultiply` being one instruction; of operands that are
// not zeros, with which the processor takes less power and so runs at a higher clock.
template <typename Multiply>
int64_t PeakOfTiles(int64_t repeats, Multiply multiply) {
  alignas(64) std::byte operands[kAmxTileRows * kAmxRowBytes];
  uint32_t state = 1;
  for (std::byte& operand : operands) {
    state = state * 1664525u + 1013904223u;
    operand = static_cast<std::byte>((state >> 24) & 0x3f);  // finite in every type
  }
  BeginTiles();
  ShapeTiles(2 * kAmxTileRows, kAmxPairs);
  _tile_loadd(4, operands, kAmxRowBytes);
  _tile_loadd(5, operands, kAmxRowBytes);
  _tile_loadd(6, operands, kAmxRowBytes);
  _tile_loadd(7, operands, kAmxRowBytes);
  repeats /= 8;  // an instruction takes longer than a multiply-add of vectors
  for (int64_t i = 0; i < repeats; ++i) multiply();
  _tile_stored(0, operands, kAmxRowBytes);
  EndTiles();
  return repeats * 4 * 2 * kAmxTileRows * kAmxTileRows;
}

inline int64_t PeakAmxBFloat16(int64_t repeats) {
  return kPairBlockDepth * PeakOfTiles(repeats, [] {
           _tile_dpbf16ps(0, 4, 6);
           _tile_dpbf16ps(1, 4, 7);
           _tile_dpbf16ps(2, 5, 6);
           _tile_dpbf16ps(3, 5, 7);
         });
}

inline int64_t PeakAmxInt8(int64_t repeats) {
  return kAmxRowBytes * PeakOfTiles(repeats, [] {
           _tile_dpbssd(0, 4, 6);
           _tile_dpbssd(1, 4, 7);
           _tile_dpbssd(2, 5, 6);
           _tile_dpbssd(3, 5, 7);
         });
}

// What the dot instruction's kernels read, multiplied by tiles.
constexpr GemmKernels AmxKernels() {
  GemmKernels kernels = kDotKernels;
  kernels.max_tile_rows = kAmxMaxRows;
  kernels.tile_unit = kAmxTileRows;
  kernels.slice_depth = kAmxSliceDepth;
  kernels.block_bytes = kAmxBlockBytes;
  kernels.weights_rows = 64;
  kernels.softmax = SoftmaxOfAmxPanels;
  kernels.finish_softmax = FinishSoftmax;
  kernels.bfloat16 = TilesByRows<AmxBFloat16Kernel>(std::make_integer_sequence<int, kAmxMaxRows>());
  kernels.bfloat16_runs =
      TilesByRows<AmxRunsKernel, RunsKernel>(std::make_integer_sequence<int, kAmxMaxRows>());
  kernels.bfloat16_scores =
      TilesByRows<AmxScoresKernel, ScoresKernel>(std::make_integer_sequence<int, kAmxMaxRows>());
  kernels.begin = BeginTiles;
  kernels.end = EndTiles;
  return kernels;
}
