// mxint8 products by AMX, as products of the bfloat16 values that MXINT8 values are.
// Not a header of its own: included inside the AMX namespace and target region.
//
// TDPBF16PS sums the products of its 32 k-values apart, from zero, and adds that sum to the
// accumulator. Of a block of 32 these are dots of codes times one power of two, below 2^24 units:
// exact in whatever order. The one rounding, of the addition, is that of the fused multiply-add in
// mxint8_tiles-inl.h: the bits are the same. TDPBSSD would take as many instructions, half filled,
// and leave the scaling of every block's dots to vectors.
//
// The instruction takes subnormals for zeros, and a block's sum may not overflow: so this is for
// scales within the bounds below, between which neither occurs. Blocks beyond are *wild*, and
// multiplied by vpdpbusd.

// Of weights 2^-50 to 2^20, as E8M0 codes; of rows 2^-64 to 2^100, as units (2^-12 of a scale). A
// product of codes is at least 2^-126, a block's sum below 2^127.
inline constexpr int kLeastTameScale = 127 - 50;
inline constexpr int kMostTameScale = 127 + 20;
inline constexpr float kLeastTameUnit = 0x1p-76f;
inline constexpr float kMostTameUnit = 0x1p88f;

using AmxRowCodes = Mxint8RowBlock<int8_t>;

// In a block of a packed tile, [rows] of 64 bytes, a row is 32 bfloat16 values or, if it is wild,
// this: a NaN, so that its sums become NaNs and are noticed, and its codes. A block with a NaN or
// an infinity is wild.
struct WildRow {
  uint16_t mark;
  AmxRowCodes codes;
};
inline constexpr uint16_t kWildMark = 0x7fc1;
static_assert(sizeof(WildRow) <= kAmxRowBytes);

inline void PutCodes(const AmxRowCodes& block, std::byte* row) {
  const bool is_tame =
      block.unit == 0.0f || (block.unit >= kLeastTameUnit && block.unit <= kMostTameUnit);
  if (!is_tame) {
    const WildRow wild = {kWildMark, block};
    std::memcpy(row, &wild, sizeof(wild));
    return;
  }
  const Vec step = Broadcast(block.unit / kMxint8Unit);  // of values
  const auto* codes = reinterpret_cast<const std::byte*>(block.codes);
  StoreBFloat16(row, Mul(LoadSignedBytes(codes), step));
  StoreBFloat16(row + 2 * kLanes, Mul(LoadSignedBytes(codes + kLanes), step));
}

// What PutCodes was given: encoding MXINT8 values gives their codes.
inline AmxRowCodes TakeCodes(const std::byte* row) {
  WildRow wild;
  std::memcpy(&wild, row, sizeof(wild));
  if (wild.mark == kWildMark) return wild.codes;
  float values[kMxBlockSize];
  for (int k = 0; k < kMxBlockSize; k += kLanes) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 2 * k));
    Store(values + k, AsBits(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16)));
  }
  EncodeRowBlock<VnniDots>(values, wild.codes);
  return wild.codes;
}

inline void PackAmxMxint8Tile(const float* x, int64_t stride, const int32_t* rows, int num_rows,
                              int64_t depth, std::byte* tile) {
  for (int r = 0; r < num_rows; ++r) {
    const float* source = SourceRow(x, stride, rows, r);
    for (int64_t k = 0; k < depth; k += kMxBlockSize) {
      float tail[kMxBlockSize];
      AmxRowCodes block;
      EncodeRowBlock<VnniDots>(ValuesOfBlock(source, k, depth, tail), block);
      PutCodes(block, tile + (k / kMxBlockSize * num_rows + r) * kAmxRowBytes);
    }
  }
}

// See GatherTileFunction: from rows packed as few rows are, as codes.
inline void GatherAmxMxint8Tile(const std::byte* packed, int64_t row_bytes, const int32_t* rows,
                                int num_rows, int64_t depth, std::byte* tile) {
  for (int r = 0; r < num_rows; ++r) {
    const auto* blocks = reinterpret_cast<const AmxRowCodes*>(packed + rows[r] * row_bytes);
    for (int64_t k = 0; k < depth; k += kMxBlockSize) {
      PutCodes(*blocks++, tile + (k / kMxBlockSize * num_rows + r) * kAmxRowBytes);
    }
  }
}

// One row of a tile of num_rows times a kMxint8 panel as it lies.
inline void AddCodes(const std::byte* row, int num_rows, const std::byte* panel, int64_t depth,
                     float* c, bool first) {
  for (; depth > 0; depth -= kMxBlockSize, first = false) {
    const AmxRowCodes codes = TakeCodes(row);
    TileMxint8<VnniDots, 1>(reinterpret_cast<const std::byte*>(&codes), panel, kMxBlockSize, c,
                            first, {});
    row += num_rows * kAmxRowBytes;
    panel += kMxint8BlockBytes * kPanelColumns;
  }
}

// An expanded panel: this, then pairs as in a kBFloat16 panel.
struct alignas(64) ExpandedMxint8 {
  const std::byte* panel;  // what was expanded
  bool is_wild;            // a scale of it is; the pairs are not used
};

inline void ExpandMxint8ToPairs(const std::byte* panel, int64_t depth, std::byte* out,
                                Prefetch prefetch) {
  std::byte* pairs = out + sizeof(ExpandedMxint8);
  // A byte in the lowest bits of 2^23 is that much more.
  const IntVec low_byte = BroadcastInt(0xff);
  const IntVec exponent = BroadcastInt(0x4b000000);
  const Vec offset = Broadcast(-(0x1p23f + 128.0f));
  __mmask16 wild = 0;
  const std::byte* block = panel;
  for (int64_t k = 0; k < depth; k += kMxBlockSize) {
    FetchAhead<_MM_HINT_T1>(prefetch);
    for (int half = 0; half < kPanelColumns; half += kLanes) {
      const IntVec scales = LoadBytes(block + half);
      wild |= _mm512_cmpgt_epu32_mask(_mm512_sub_epi32(scales, BroadcastInt(kLeastTameScale)),
                                      BroadcastInt(kMostTameScale - kLeastTameScale));
      const Vec step = Mul(E8M0Values(scales), Broadcast(kMxint8Unit));
      const Vec step_offset = Mul(offset, step);
      // Of code + 128 in a lane's lowest byte.
      const auto value = [&](IntVec codes) {
        return FMAdd(AsBits(OrBits(AndBits(codes, low_byte), exponent)), step, step_offset);
      };
      const std::byte* groups = block + kPanelColumns + 4 * half;
      std::byte* target = pairs + 4 * half;
      for (int group = 0; group < kMxBlockSize / 4; ++group) {
        const IntVec codes = LoadInts(groups);
        StorePairs(target, value(codes), value(ShiftRight8(codes)));
        StorePairs(target + kPanelRowBytes, value(_mm512_srli_epi32(codes, 16)),
                   value(_mm512_srli_epi32(codes, 24)));
        groups += 4 * kPanelColumns;
        target += 2 * kPanelRowBytes;
      }
    }
    block += kMxint8BlockBytes * kPanelColumns;
    pairs += kAmxPairs * kPanelRowBytes;
  }
  const ExpandedMxint8 header = {panel, wild != 0};
  std::memcpy(out, &header, sizeof(header));
}

// Sums as they were before a tile kernel added to them.
template <int kRows>
struct SumsBefore {
  float sums[kRows * kPanelColumns];

  // Whether one is subnormal, which the instruction would take for a zero.
  bool Save(const float* c) {
    constexpr int kSubnormal = 0x20;  // what VFPCLASSPS looks for
    __mmask16 found = 0;
    for (int i = 0; i < kRows * kPanelColumns; i += kLanes) {
      const Vec v = Load(c + i);
      found |= _mm512_fpclass_ps_mask(v, kSubnormal);
      Store(sums + i, v);
    }
    return found != 0;
  }
};

template <int kRows>
void TileExpandedMxint8(const std::byte* a, const std::byte* b, int64_t depth, float* c, bool first,
                        Prefetch prefetch) {
  ExpandedMxint8 header;
  std::memcpy(&header, b, sizeof(header));
  SumsBefore<kRows> before;
  bool is_wild = header.is_wild;
  if (!first) is_wild = before.Save(c) || is_wild;
  if (!is_wild) {
    const PanelRun run = {b + sizeof(header), depth};  // of whole blocks, zeros at the end
    AddBlocks<kRows>(a, {&run, 1}, kAmxPairs, c, first, prefetch);
  }
  for (int r = 0; r < kRows; ++r) {
    float* sums = c + r * kPanelColumns;
    if (!is_wild && !std::isnan(sums[0])) continue;
    if (!first && !is_wild) {
      std::memcpy(sums, before.sums + r * kPanelColumns, kPanelColumns * sizeof(float));
    }
    AddCodes(a + r * kAmxRowBytes, kRows, header.panel, depth, sums, first);
  }
}

template <int kRows>
struct AmxMxint8Kernel {
  static constexpr TileKernel kRun = TileExpandedMxint8<kRows>;
};

// Expanding a panel takes as long as the dots of some thirty rows, and tiles half as long as dots.
inline constexpr int kFewMxint8Rows = 40;

inline constexpr GemmKernels kFewRows = Mxint8Kernels<VnniDots>::kAll;
static_assert(sizeof(AmxRowCodes) <= kAmxRowBytes);

constexpr GemmKernels AmxMxint8Kernels() {
  GemmKernels kernels = AmxKernels();
  kernels.few = &kFewRows;
  kernels.few_rows = kFewMxint8Rows;
  kernels.pack = PackAmxMxint8Tile;
  kernels.gather = GatherAmxMxint8Tile;
  kernels.gate = GateToRows;
  kernels.staged_columns = kMxBlockSize;
  kernels.softmax = nullptr;
  kernels.bfloat16 = {};
  kernels.bfloat16_runs = {};
  kernels.bfloat16_scores = {};
  kernels.finish_softmax = nullptr;
  kernels.mxint8 = TilesByRows<AmxMxint8Kernel>(std::make_integer_sequence<int, kAmxMaxRows>());
  kernels.expand_mxint8 = ExpandMxint8ToPairs;
  return kernels;
}
