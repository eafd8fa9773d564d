// bfloat16 tiles for the vdpbf16ps instruction: pairs of activations times pairs of weights.
// Not a header of its own: included inside the AVX-512 BF16 namespace and target region.

inline constexpr int kPairBlockDepth = 2 * kBlockDepth;  // one cache line of bfloat16 per row

template <int kRows>
void TileDotBFloat16(const std::byte* a, const std::byte* b, int64_t depth, float* c, bool first,
                     Prefetch prefetch) {
  constexpr int kRowBytes = 2 * kPairBlockDepth;
  constexpr int kHalfBytes = kLanes * 4;
  Accumulator<kRows> sum;
  sum.Start(c, first);
  for (; depth > 0; depth -= kPairBlockDepth, a += kRows * kRowBytes) {
    FetchAhead(prefetch);
    const int num_bytes = 2 * (depth < kPairBlockDepth ? static_cast<int>(depth) : kPairBlockDepth);
    for (int offset = 0; offset < num_bytes; offset += 4, b += 2 * kHalfBytes) {
      const __m512bh left = (__m512bh)_mm512_loadu_si512(b);
      const __m512bh right = (__m512bh)_mm512_loadu_si512(b + kHalfBytes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        int pair;
        std::memcpy(&pair, a + r * kRowBytes + offset, sizeof(pair));
        const __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
        sum.left[r] = _mm512_dpbf16_ps(sum.left[r], x, left);
        sum.right[r] = _mm512_dpbf16_ps(sum.right[r], x, right);
      }
    }
  }
  sum.Finish(c);
}

template <int kRows>
struct DotBFloat16Kernel {
  static constexpr TileKernel kRun = TileDotBFloat16<kRows>;
};

// Sixteen floats rounded to the nearest bfloat16, ties to even. Subnormals become zeros, which the
// products take them for anyway.
inline void StoreBFloat16(std::byte* target, Vec v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(target), (__m256i)_mm512_cvtneps_pbh(v));
}

inline void PackPairTile(const float* x, int64_t stride, const int32_t* rows, int num_rows,
                         int64_t depth, std::byte* tile) {
  for (int r = 0; r < num_rows; ++r) {
    const float* source = SourceRow(x, stride, rows, r);
    for (int64_t k = 0; k < depth; k += kPairBlockDepth) {
      std::byte* target = tile + 2 * (k * num_rows + r * kPairBlockDepth);
      float tail[kPairBlockDepth] = {};
      const bool whole = depth - k >= kPairBlockDepth;
      if (!whole) std::memcpy(tail, source + k, static_cast<size_t>(depth - k) * sizeof(float));
      const float* block = whole ? source + k : tail;
      StoreBFloat16(target, Load(block));
      StoreBFloat16(target + 2 * kLanes, Load(block + kLanes));
    }
  }
}

inline void GateToPairTile(const float* c, int num_rows, const float* bias,
                           const GatedMlpSpec& spec, int64_t column, std::byte* tile) {
  const Vec bias_gate = bias != nullptr ? Load(bias) : Zero();
  const Vec bias_up = bias != nullptr ? Load(bias + kLanes) : Zero();
  const int64_t block = column / kPairBlockDepth * kPairBlockDepth;
  std::byte* target = tile + 2 * (block * num_rows + column % kPairBlockDepth);
  for (int r = 0; r < num_rows; ++r) {
    const Vec v = GatedRow(c + r * kPanelColumns, bias_gate, bias_up, spec);
    StoreBFloat16(target + 2 * r * kPairBlockDepth, v);
  }
}

// A packed tile for SoftmaxOfPanels.
struct PairTile {
  static void Put(std::byte* tile, int num_rows, int row, unsigned column, Vec v) {
    const unsigned block = column / kPairBlockDepth;
    std::byte* target =
        tile + 2 * ((block * num_rows + row) * kPairBlockDepth + column % kPairBlockDepth);
    StoreBFloat16(target, v);
  }
};

inline int64_t PeakDotBFloat16(int64_t repeats) {
  Vec sum[kPeakChains];
  for (int i = 0; i < kPeakChains; ++i) sum[i] = Broadcast(static_cast<float>(i));
  const __m512bh a = (__m512bh)_mm512_set1_epi16(0x3f80);
  const __m512bh b = (__m512bh)_mm512_set1_epi16(0x3c00);
  for (int64_t i = 0; i < repeats; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kPeakChains; ++j) sum[j] = _mm512_dpbf16_ps(sum[j], a, b);
  }
  for (int i = 1; i < kPeakChains; ++i) sum[0] = Add(sum[0], sum[i]);
  Consume(sum[0]);
  return repeats * kPeakChains * kLanes * 2 * 2;
}

constexpr GemmKernels kDotKernels = {.activation_size = 2,
                                     .block_depth = kPairBlockDepth,
                                     .max_tile_rows = kTileRows,
                                     .slice_depth = kSliceDepth,
                                     .weights_rows = 8,
                                     .pack = PackPairTile,
                                     .gather = GatherTile<2 * kPairBlockDepth>,
                                     .gate = GateToPairTile,
                                     .softmax = SoftmaxOfPanels<PairTile>,
                                     .bfloat16 = TilesByRows<DotBFloat16Kernel>(kRowCounts),
                                     .expand_mxfp4 = ExpandMxfp4ToPairs,
                                     .expand_mxfp6 = ExpandMxfp6ToPairs,
                                     .expand_mxint8_keys = ExpandMxint8Keys<ToPairs>,
                                     .expand_mxint8_values = ExpandMxint8Values<ToPairs>};
