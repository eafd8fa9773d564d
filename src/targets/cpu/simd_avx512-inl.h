// Sixteen-lane vectors for the kernel templates: AVX-512 F/BW/DQ/VL.
// Not a header of its own: included inside an instruction set's namespace and target region.

using Vec = __m512;
inline constexpr int kLanes = 16;
inline constexpr int kTileRows =
    14;  // 28 accumulators + 2 panel vectors + 1 broadcast of 32 registers

inline Vec Zero() { return _mm512_setzero_ps(); }
inline Vec Broadcast(float x) { return _mm512_set1_ps(x); }
inline Vec Load(const float* p) { return _mm512_loadu_ps(p); }
inline void Store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
inline Vec Add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
inline Vec Sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
inline Vec Mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
inline Vec Div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
inline Vec FMAdd(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
inline Vec FNMAdd(Vec a, Vec b, Vec c) { return _mm512_fnmadd_ps(a, b, c); }
// The second operand where either is NaN, as the instruction does.
inline Vec Min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
inline Vec Max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
inline Vec RoundToInteger(Vec v) { return _mm512_roundscale_ps(v, 8); }

// Float64 sums of the lanes of a Vec: lane i and lane i + 8 in one.
using Wide = __m512d;
inline Wide ZeroWide() { return _mm512_setzero_pd(); }
inline Wide LowHalf(Vec v) { return _mm512_cvtps_pd(_mm512_castps512_ps256(v)); }
inline Wide HighHalf(Vec v) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)); }
inline Wide AddWide(Wide sum, Vec v) {
  return _mm512_add_pd(_mm512_add_pd(sum, LowHalf(v)), HighHalf(v));
}
inline Wide AddSquares(Wide sum, Vec v) {
  const Wide low = LowHalf(v);
  const Wide high = HighHalf(v);
  return _mm512_fmadd_pd(high, high, _mm512_fmadd_pd(low, low, sum));
}
inline void StoreWide(double* p, Wide v) { _mm512_storeu_pd(p, v); }

// Lanes [begin, end) of v, of others elsewhere; begin and end may lie outside.
inline Vec SelectLanes(Vec v, int begin, int end, Vec others) {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __mmask16 from_begin = _mm512_cmpge_epi32_mask(lane, _mm512_set1_epi32(begin));
  const __mmask16 mask = _mm512_mask_cmplt_epi32_mask(from_begin, lane, _mm512_set1_epi32(end));
  return _mm512_mask_mov_ps(others, mask, v);
}

// Of all lanes, in one fixed order.
inline float SumOf(Vec v) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
inline float LargestOf(Vec v) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

// v * 2^n for integral n in [-126, 127], v a normal number near 1.
inline Vec ScaleByPowerOfTwo(Vec v, Vec n) {
  const __m512i exponent = _mm512_slli_epi32(_mm512_cvtps_epi32(n), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(v), exponent));
}

// The first / the second bfloat16 of each pair, exactly.
inline Vec ExpandFirst(const std::byte* pairs) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(pairs), 16));
}
inline Vec ExpandSecond(const std::byte* pairs) {
  const __m512i mask = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(pairs), mask));
}

// Rounds to the nearest bfloat16 (ties to even; NaN stays NaN), as a float.
inline Vec RoundToBFloat16(Vec v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  const __mmask16 is_nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  const __m512i mask = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_mask_mov_epi32(rounded, is_nan, quiet), mask));
}

// One byte per lane.
inline __m512i LoadBytes(const std::byte* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline __m512i ShiftRight4(__m512i v) { return _mm512_srli_epi32(v, 4); }

// The E2M1 element in the low four bits of each lane.
inline Vec Mxfp4Value(__m512i codes) {
  return _mm512_permutexvar_ps(codes, _mm512_loadu_ps(kMxfp4Values.data()));
}

inline __m512i ShiftRight2(__m512i v) { return _mm512_srli_epi32(v, 2); }
inline __m512i ShiftLeft4(__m512i v) { return _mm512_slli_epi32(v, 4); }
inline __m512i AndBits(__m512i a, __m512i b) { return _mm512_and_si512(a, b); }
inline __m512i OrBits(__m512i a, __m512i b) { return _mm512_or_si512(a, b); }

// The E2M3 element in the low six bits of each lane.
inline Vec Mxfp6Value(__m512i codes) {
  const Vec below_two = _mm512_setr_ps(0.0f, 0.125f, 0.25f, 0.375f, 0.5f, 0.625f, 0.75f, 0.875f,
                                       1.0f, 1.125f, 1.25f, 1.375f, 1.5f, 1.625f, 1.75f, 1.875f);
  const Vec from_two = _mm512_setr_ps(2.0f, 2.25f, 2.5f, 2.75f, 3.0f, 3.25f, 3.5f, 3.75f, 4.0f,
                                      4.5f, 5.0f, 5.5f, 6.0f, 6.5f, 7.0f, 7.5f);
  const __m512i sign = _mm512_slli_epi32(_mm512_and_si512(codes, _mm512_set1_epi32(32)), 26);
  return _mm512_or_ps(_mm512_permutex2var_ps(below_two, codes, from_two),
                      _mm512_castsi512_ps(sign));
}

// One signed byte per lane, as floats.
inline Vec LoadSignedBytes(const std::byte* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

// E8M0ToFloat of each lane: the codes 0 and 255 have a bit of the mantissa.
inline Vec E8M0Values(__m512i codes) {
  const __m512i next =
      _mm512_and_si512(_mm512_add_epi32(codes, _mm512_set1_epi32(1)), _mm512_set1_epi32(255));
  const __mmask16 is_special = _mm512_cmplt_epi32_mask(next, _mm512_set1_epi32(2));
  const __m512i bits = _mm512_slli_epi32(codes, 23);
  return _mm512_castsi512_ps(
      _mm512_mask_or_epi32(bits, is_special, bits, _mm512_set1_epi32(0x400000)));
}

// The upper halves of even and odd, pair by pair.
inline void StorePairs(std::byte* p, Vec even, Vec odd) {
  const __m512i mask = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  const __m512i pairs = _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(even), 16),
                                        _mm512_and_si512(_mm512_castps_si512(odd), mask));
  _mm512_storeu_si512(p, pairs);
}

// Sums of products of unsigned and signed bytes, four at a time, into 32-bit lanes.
using IntVec = __m512i;
inline constexpr int64_t kInt8OperationsPerDot = 2 * 64;
inline IntVec BroadcastInt(int x) { return _mm512_set1_epi32(x); }
inline Vec AsBits(IntVec v) { return _mm512_castsi512_ps(v); }
inline IntVec AsInts(Vec v) { return _mm512_castps_si512(v); }
inline Vec ToFloats(IntVec v) { return _mm512_cvtepi32_ps(v); }
inline IntVec ToInts(Vec v) { return _mm512_cvtps_epi32(v); }  // to nearest, ties to even
inline IntVec LoadInts(const std::byte* p) { return _mm512_loadu_si512(p); }
inline IntVec ShiftRight8(IntVec v) { return _mm512_srli_epi32(v, 8); }
inline IntVec AddInts(IntVec a, IntVec b) { return _mm512_add_epi32(a, b); }
inline IntVec MaxInts(IntVec a, IntVec b) { return _mm512_max_epi32(a, b); }
inline int LargestInt(IntVec v) { return _mm512_reduce_max_epi32(v); }
inline int SumOfInts(IntVec v) { return _mm512_reduce_add_epi32(v); }
// Sums of products of two signed 16-bit integers, in 32-bit lanes.
inline IntVec DotPairs(IntVec a, IntVec b) { return _mm512_madd_epi16(a, b); }
// The lanes as 16-bit integers, of every four those of even number before the odd.
inline void StoreEvenOdd(int16_t* p, IntVec v) {
  const __m512i order = _mm512_shuffle_epi32(v, static_cast<_MM_PERM_ENUM>(0xd8));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(order));
}
inline IntVec DotInt8(IntVec sum, IntVec a, IntVec b) {
  const __m512i pairs = _mm512_maddubs_epi16(a, b);
  return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}
