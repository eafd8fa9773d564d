// Dots of bytes for the vpdpbusd instruction, and its roof.
// Not a header of its own: included inside an instruction set's namespace and a target region with
// AVX-512 VNNI.

struct VnniDots {
  using Code = int8_t;

  static void Store(IntVec codes, int k, Code* target) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(target + k), _mm512_cvtepi32_epi8(codes));
  }

  // Unrolled, as the compiler else keeps the sums in memory.
  template <int kRows>
  static void Run(const std::byte* groups, const Mxint8RowBlock<Code>* rows, IntVec* left,
                  IntVec* right) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) left[r] = right[r] = BroadcastInt(rows[r].start);
#pragma GCC unroll 8
    for (int k = 0; k < kMxBlockSize; k += 4, groups += 4 * kPanelColumns) {
      const IntVec codes_left = LoadInts(groups);
      const IntVec codes_right = LoadInts(groups + 4 * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        int four;
        std::memcpy(&four, rows[r].codes + k, sizeof(four));
        left[r] = _mm512_dpbusd_epi32(left[r], codes_left, BroadcastInt(four));
        right[r] = _mm512_dpbusd_epi32(right[r], codes_right, BroadcastInt(four));
      }
    }
  }
};

inline int64_t PeakVnni(int64_t repeats) {
  IntVec sum[kPeakChains];
  for (int i = 0; i < kPeakChains; ++i) sum[i] = BroadcastInt(i);
  const IntVec a = BroadcastInt(static_cast<int>(repeats & 0x7f7f7f7f));
  const IntVec b = BroadcastInt(0x01010101);
  for (int64_t i = 0; i < repeats; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kPeakChains; ++j) sum[j] = _mm512_dpbusd_epi32(sum[j], a, b);
  }
  for (int i = 1; i < kPeakChains; ++i) Consume(AsBits(sum[i]));
  return repeats * kPeakChains * kInt8OperationsPerDot;
}
