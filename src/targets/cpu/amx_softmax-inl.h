// Softmax over key panels for AMX, whose tiles leave the exponentials as the longest part of
// attention: in powers of two, to a precision between that of bfloat16 and of float32.
// Not a header of its own: included inside the AMX namespace and target region.

// 2^x for x <= 0 or NaN, within 2.6e-6 of it; x below -125 is taken for -125. x = n + r, then a
// polynomial in r, minimax over [-1/2, 1/2].
inline Vec PowerOfTwo(Vec x) {
  const Vec shift = Broadcast(0x1.8p23f);  // a sum with it has no bits below 1
  const Vec clamped = Max(Broadcast(-125.0f), x);
  const Vec n = Sub(Add(clamped, shift), shift);
  const Vec r = Sub(clamped, n);
  Vec p = Broadcast(9.570102207e-3f);
  p = FMAdd(p, r, Broadcast(5.591785908e-2f));
  p = FMAdd(p, r, Broadcast(2.402474433e-1f));
  p = FMAdd(p, r, Broadcast(6.931217909e-1f));
  p = FMAdd(p, r, Broadcast(9.999992847e-1f));
  return _mm512_scalef_ps(p, n);
}

// The keys of one panel that a row sees, a bit each.
inline uint32_t SeenOfPanel(KeyRange valid, int panel) {
  const int begin = valid.begin - panel * kPanelColumns;
  const int end = valid.end - panel * kPanelColumns;
  const uint32_t from_begin = begin > 0 ? ~0u << begin : ~0u;
  return from_begin & (end < kPanelColumns ? ~(~0u << end) : ~0u);
}
inline constexpr int64_t kSoftmaxRowBytes = 64;
inline constexpr int kSoftmaxRowsAtOnce = 4;
static_assert(kPanelColumns == 32 && kPairBlockDepth == kPanelColumns);

// Calls visit(panel, seen) for the panels of `valid`, which is not empty: the whole ones with all
// bits, a constant.
template <typename Visit>
inline void ForSeenPanels(KeyRange valid, Visit visit) {
  constexpr std::integral_constant<uint32_t, ~0u> kAll;
  int panel = valid.begin / kPanelColumns;
  const int last = (valid.end - 1) / kPanelColumns;
  const int end_of_whole = valid.end / kPanelColumns;
  if (valid.begin % kPanelColumns != 0 || panel >= end_of_whole) {
    visit(panel, SeenOfPanel(valid, panel));
    ++panel;
  }
  for (; panel < end_of_whole; ++panel) visit(panel, kAll);
  if (panel <= last) visit(panel, SeenOfPanel(valid, panel));
}

// The largest of a row's scores, each times `factor`; panel p of it at scores + p * stride.
inline float LargestScaled(const float* scores, int64_t stride, KeyRange valid, Vec factor) {
  Vec left = Broadcast(-INFINITY);
  Vec right = left;
  ForSeenPanels(valid, [&](int panel, auto seen) {
    const float* p = scores + panel * stride;
    const auto right_seen = static_cast<__mmask16>(seen >> kLanes);
    left = _mm512_mask_max_ps(left, static_cast<__mmask16>(seen), left, Mul(Load(p), factor));
    right = _mm512_mask_max_ps(right, right_seen, right, Mul(Load(p + kLanes), factor));
  });
  return LargestOf(Max(left, right));
}

// Writes 2^(score * factor - largest) of a row to its part of a packed tile's blocks, which are
// `block_bytes` apart, and returns their sum. A panel is a block.
inline float PutPowers(const float* scores, int64_t stride, KeyRange valid, Vec factor,
                       float largest, int64_t block_bytes, std::byte* target) {
  const Vec offset = Broadcast(-largest);
  Vec sum = Zero();
  ForSeenPanels(valid, [&](int panel, auto seen) {
    const float* p = scores + panel * stride;
    const auto power = [&](const float* half, uint32_t half_seen) {
      return _mm512_maskz_mov_ps(static_cast<__mmask16>(half_seen),
                                 PowerOfTwo(FMAdd(Load(half), factor, offset)));
    };
    const Vec left = power(p, seen);
    const Vec right = power(p + kLanes, seen >> kLanes);
    sum = Add(sum, Add(left, right));
    const auto pairs = (__m512i)_mm512_cvtne2ps_pbh(right, left);
    _mm512_storeu_si512(target + panel * block_bytes, pairs);
  });
  return SumOf(sum);
}

// The next `num_rows` (up to 4) rows of `work`. Their largest scores are found before exponentials
// are begun, which don't wait for them then.
inline void SoftmaxRows(SoftmaxWork& work, int num_rows) {
  constexpr float kLog2OfE = 1.44269504f;
  constexpr float kLogOf2 = 0.693147181f;
  const Vec factor = Broadcast(work.scale * kLog2OfE);
  const int64_t stride = static_cast<int64_t>(work.num_rows) * kPanelColumns;
  const int64_t block_bytes = work.num_rows * kSoftmaxRowBytes;
  const int first = work.next_row;
  work.next_row += num_rows;
  float largest[kSoftmaxRowsAtOnce];
  for (int r = first; r < work.next_row; ++r) {
    const KeyRange valid = work.valid[r];
    if (valid.begin >= valid.end) continue;
    largest[r - first] = LargestScaled(work.scores + r * kPanelColumns, stride, valid, factor);
  }
  for (int r = first; r < work.next_row; ++r) {
    const KeyRange valid = work.valid[r];
    std::byte* target = work.tile + r * kSoftmaxRowBytes;
    const bool is_empty = valid.begin >= valid.end;
    const int begin_seen = is_empty ? work.num_panels : valid.begin / kPanelColumns;
    const int end_seen = is_empty ? work.num_panels : (valid.end - 1) / kPanelColumns + 1;
    const auto clear = [&](int panel) {
      _mm512_storeu_si512(target + panel * block_bytes, _mm512_setzero_si512());
    };
    for (int panel = 0; panel < begin_seen; ++panel) clear(panel);
    for (int panel = end_seen; panel < work.num_panels; ++panel) clear(panel);
    work.states[r] = {-INFINITY, 0.0f};
    if (is_empty) continue;
    const float sum = PutPowers(work.scores + r * kPanelColumns, stride, valid, factor,
                                largest[r - first], block_bytes, target);
    work.states[r] = {largest[r - first] * kLogOf2, sum};
  }
}

// One row, for kernels that do it beside products: apart from their own code, which is made for
// every number of rows.
__attribute__((noinline)) inline void SoftmaxNextRow(SoftmaxWork& work) {
  if (work.next_row < work.num_rows) SoftmaxRows(work, 1);
}

inline void FinishSoftmax(SoftmaxWork& work) {
  while (work.next_row < work.num_rows) {
    const int left = work.num_rows - work.next_row;
    SoftmaxRows(work, left < kSoftmaxRowsAtOnce ? left : kSoftmaxRowsAtOnce);
  }
}

// See SoftmaxFunction.
inline void SoftmaxOfAmxPanels(const float* scores, int num_rows, int num_panels,
                               const KeyRange* valid, float scale, SoftmaxState* states,
                               std::byte* tile) {
  SoftmaxWork work = {scores, num_rows, num_panels, valid, scale, states, tile};
  FinishSoftmax(work);
}
