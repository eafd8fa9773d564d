// mxint8 products: packing activations in MXINT8, and tiles of them times kMxint8 panels.
// Not a header of its own: included inside an instruction set's namespace and target region.
//
// Of a block of 32 k-values the dot of a row's codes with a column's is exact, as an integer; it
// becomes a float, is multiplied by the column's scale and, in a fused multiply-add, by the row's
// unit. Blocks are added in order. So every row count and instruction set has the same bits.

// A row's part of a block of a packed tile: [rows] of these. A panel's codes are 128 too large, as
// the dot instructions want one operand unsigned, so that dots begin at what that adds, taken off.
template <typename Code>
struct Mxint8RowBlock {
  float unit;     // of a product of codes: the row's scale / 64^2; 0 for a block of zeros
  int32_t start;  // -128 times the sum of the codes
  Code codes[kMxBlockSize];
};

// Dots where no instruction has them: of 16-bit integers, in which no sum of two overflows.
struct WideDots {
  using Code = int16_t;  // of every four k-values 0, 2, 1, 3

  // Eight or sixteen codes from `k` on, as integers.
  static void Store(IntVec codes, int k, Code* target) { StoreEvenOdd(target + k, codes); }

  static IntVec PairAt(const Code* codes) {
    int pair;
    std::memcpy(&pair, codes, sizeof(pair));
    return BroadcastInt(pair);
  }

  // Of one half of the columns of a panel's block: sixteen registers hold the sums. (They are an
  // array of this function's own, or the compiler keeps them in memory.)
  template <int kRows>
  static void RunHalf(const std::byte* groups, const Mxint8RowBlock<Code>* rows, IntVec* dots) {
    IntVec sums[kRows];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) sums[r] = BroadcastInt(rows[r].start);
    for (int k = 0; k < kMxBlockSize; k += 4, groups += 4 * kPanelColumns) {
      const IntVec codes = LoadInts(groups);
      const IntVec even = AndBits(codes, BroadcastInt(0x00ff00ff));
      const IntVec odd = AndBits(ShiftRight8(codes), BroadcastInt(0x00ff00ff));
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        sums[r] = AddInts(sums[r], DotPairs(even, PairAt(rows[r].codes + k)));
        sums[r] = AddInts(sums[r], DotPairs(odd, PairAt(rows[r].codes + k + 2)));
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) dots[r] = sums[r];
  }

  template <int kRows>
  static void Run(const std::byte* groups, const Mxint8RowBlock<Code>* rows, IntVec* left,
                  IntVec* right) {
    RunHalf<kRows>(groups, rows, left);
    RunHalf<kRows>(groups + 4 * kLanes, rows, right);
  }
};

template <typename Dots, int kRows>
void TileMxint8(const std::byte* a, const std::byte* b, int64_t depth, float* c, bool first,
                Prefetch prefetch) {
  using RowBlock = Mxint8RowBlock<typename Dots::Code>;
  for (; depth > 0; depth -= kMxBlockSize, first = false) {
    FetchAhead(prefetch);
    const auto* rows = reinterpret_cast<const RowBlock*>(a);
    IntVec left[kRows];
    IntVec right[kRows];
    Dots::template Run<kRows>(b + kPanelColumns, rows, left, right);
    const Vec scale_left = E8M0Values(LoadBytes(b));
    const Vec scale_right = E8M0Values(LoadBytes(b + kLanes));
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      float* sums = c + r * kPanelColumns;
      const Vec unit = Broadcast(rows[r].unit);
      const Vec before_left = first ? Zero() : Load(sums);
      const Vec before_right = first ? Zero() : Load(sums + kLanes);
      Store(sums, FMAdd(Mul(ToFloats(left[r]), scale_left), unit, before_left));
      Store(sums + kLanes, FMAdd(Mul(ToFloats(right[r]), scale_right), unit, before_right));
    }
    a += kRows * sizeof(RowBlock);
    b += kMxint8BlockBytes * kPanelColumns;
  }
}

// EncodeMxint8 of formats/mxint8.h: its codes, and a unit for its scale.
template <typename Dots>
void EncodeRowBlock(const float* values, Mxint8RowBlock<typename Dots::Code>& block) {
  IntVec magnitudes = BroadcastInt(0);
  for (int k = 0; k < kMxBlockSize; k += kLanes) {
    magnitudes = MaxInts(magnitudes, AndBits(AsInts(Load(values + k)), BroadcastInt(0x7fffffff)));
  }
  // The largest magnitude's exponent is the scale; that of an infinity or a NaN is the NaN.
  const int largest = LargestInt(magnitudes);
  const int scale = largest >> 23;
  const bool is_finite = scale != kE8M0NaN;
  block.unit =
      largest == 0 ? 0.0f : E8M0ToFloat(static_cast<uint8_t>(scale)) * (kMxint8Unit * kMxint8Unit);
  // 2^(127 - scale), which is exact to multiply by; in two steps, as not all of 64 times it are.
  const Vec inverse = Broadcast(is_finite ? E8M0ToFloat(static_cast<uint8_t>(254 - scale)) : 0.0f);
  IntVec sum = BroadcastInt(0);
  for (int k = 0; k < kMxBlockSize; k += kLanes) {
    const Vec scaled = Mul(Mul(Load(values + k), inverse), Broadcast(64.0f));
    const Vec clamped = Min(Broadcast(127.0f), Max(Broadcast(-127.0f), scaled));
    const IntVec codes = is_finite ? ToInts(clamped) : BroadcastInt(0);
    sum = AddInts(sum, codes);
    Dots::Store(codes, k, block.codes);
  }
  block.start = -128 * SumOfInts(sum);
}

// The values of a row's block from `k` on: as they lie or, of a last block in part, in `tail` with
// zeros behind them.
inline const float* ValuesOfBlock(const float* row, int64_t k, int64_t depth,
                                  float (&tail)[kMxBlockSize]) {
  if (depth - k >= kMxBlockSize) return row + k;
  for (float& value : tail) value = 0.0f;
  std::memcpy(tail, row + k, static_cast<size_t>(depth - k) * sizeof(float));
  return tail;
}

template <typename Dots>
void PackMxint8Tile(const float* x, int64_t stride, const int32_t* rows, int num_rows,
                    int64_t depth, std::byte* tile) {
  using RowBlock = Mxint8RowBlock<typename Dots::Code>;
  auto* blocks = reinterpret_cast<RowBlock*>(tile);
  for (int r = 0; r < num_rows; ++r) {
    const float* source = SourceRow(x, stride, rows, r);
    for (int64_t k = 0; k < depth; k += kMxBlockSize) {
      float tail[kMxBlockSize];
      EncodeRowBlock<Dots>(ValuesOfBlock(source, k, depth, tail),
                           blocks[k / kMxBlockSize * num_rows + r]);
    }
  }
}

// Gate outputs as floats [num_rows][kMxBlockSize], at `column` of their block.
inline void GateToRows(const float* c, int num_rows, const float* bias, const GatedMlpSpec& spec,
                       int64_t column, std::byte* staged) {
  const Vec bias_gate = bias != nullptr ? Load(bias) : Zero();
  const Vec bias_up = bias != nullptr ? Load(bias + kLanes) : Zero();
  float* target = reinterpret_cast<float*>(staged) + column % kMxBlockSize;
  for (int r = 0; r < num_rows; ++r) {
    Store(target + r * kMxBlockSize, GatedRow(c + r * kPanelColumns, bias_gate, bias_up, spec));
  }
}

// As many k-values of a panel as take what a float32 slice does.
inline constexpr int64_t kMxint8SliceDepth =
    24 * 1024 / (kPanelColumns * kMxint8BlockBytes) * kMxBlockSize;

template <typename Dots>
struct Mxint8Kernels {
  template <int kRows>
  struct Kernel {
    static constexpr TileKernel kRun = TileMxint8<Dots, kRows>;
  };
  static constexpr GemmKernels kAll = {
      .activation_size = sizeof(typename Dots::Code),
      .header_bytes = offsetof(Mxint8RowBlock<typename Dots::Code>, codes),
      .block_depth = kMxBlockSize,
      .max_tile_rows = kTileRows,
      .slice_depth = kMxint8SliceDepth,
      .weights_rows = 12,
      .pack = PackMxint8Tile<Dots>,
      .gather = GatherTile<sizeof(Mxint8RowBlock<typename Dots::Code>)>,
      .gate = GateToRows,
      .staged_columns = kMxBlockSize,
      .mxint8 = TilesByRows<Kernel>(std::make_integer_sequence<int, kTileRows>())};
};

// As PeakFloat32, of a dot of bytes. Here, and not with the other roofs: a dot is inlined in its
// own target region alone.
template <IntVec (*kDot)(IntVec sum, IntVec a, IntVec b)>
int64_t PeakInt8(int64_t repeats) {
  IntVec sum[kPeakChains];
  for (int i = 0; i < kPeakChains; ++i) sum[i] = BroadcastInt(i);
  const IntVec a = BroadcastInt(static_cast<int>(repeats & 0x7f7f7f7f));
  const IntVec b = BroadcastInt(0x01010101);
  for (int64_t i = 0; i < repeats; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kPeakChains; ++j) sum[j] = kDot(sum[j], a, b);
  }
  for (int i = 1; i < kPeakChains; ++i) Consume(AsBits(sum[i]));
  return repeats * kPeakChains * kInt8OperationsPerDot;
}
