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

inline IntVec DotVnni(IntVec sum, IntVec a, IntVec b) { return _mm512_dpbusd_epi32(sum, a, b); }
