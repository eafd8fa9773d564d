// Eight-lane vectors for the kernel templates: AVX2 and FMA.
// Not a header of its own: included inside an instruction set's namespace and target region.

using Vec = __m256;
inline constexpr int kLanes = 8;
inline constexpr int kTileRows =
    6;  // 12 accumulators + 2 panel vectors + 1 broadcast of 16 registers

inline Vec Zero() { return _mm256_setzero_ps(); }
inline Vec Broadcast(float x) { return _mm256_set1_ps(x); }
inline Vec Load(const float* p) { return _mm256_loadu_ps(p); }
inline void Store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
inline Vec Add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
inline Vec Sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
inline Vec Mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
inline Vec Div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
inline Vec FMAdd(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
inline Vec FNMAdd(Vec a, Vec b, Vec c) { return _mm256_fnmadd_ps(a, b, c); }
// The second operand where either is NaN, as the instruction does.
inline Vec Min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
inline Vec Max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
inline Vec RoundToInteger(Vec v) { return _mm256_round_ps(v, 8); }

// Float64 sums of the lanes of a Vec: lane i and lane i + 4 in one.
using Wide = __m256d;
inline Wide ZeroWide() { return _mm256_setzero_pd(); }
inline Wide LowHalf(Vec v) { return _mm256_cvtps_pd(_mm256_castps256_ps128(v)); }
inline Wide HighHalf(Vec v) { return _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)); }
inline Wide AddWide(Wide sum, Vec v) {
  return _mm256_add_pd(_mm256_add_pd(sum, LowHalf(v)), HighHalf(v));
}
inline Wide AddSquares(Wide sum, Vec v) {
  const Wide low = LowHalf(v);
  const Wide high = HighHalf(v);
  return _mm256_fmadd_pd(high, high, _mm256_fmadd_pd(low, low, sum));
}
inline void StoreWide(double* p, Wide v) { _mm256_storeu_pd(p, v); }

// Lanes [begin, end) of v, of others elsewhere; begin and end may lie outside.
inline Vec SelectLanes(Vec v, int begin, int end, Vec others) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i before = _mm256_cmpgt_epi32(_mm256_set1_epi32(begin), lane);
  const __m256i until = _mm256_cmpgt_epi32(_mm256_set1_epi32(end), lane);
  return _mm256_blendv_ps(others, v, _mm256_castsi256_ps(_mm256_andnot_si256(before, until)));
}

// Of all lanes, in one fixed order.
inline float SumOf(Vec v) {
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
inline float LargestOf(Vec v) {
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

// v * 2^n for integral n in [-126, 127], v a normal number near 1.
inline Vec ScaleByPowerOfTwo(Vec v, Vec n) {
  const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(v), exponent));
}

inline __m256i LoadBits(const std::byte* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

// The first / the second bfloat16 of each pair, exactly.
inline Vec ExpandFirst(const std::byte* pairs) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(LoadBits(pairs), 16));
}
inline Vec ExpandSecond(const std::byte* pairs) {
  const __m256i mask = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  return _mm256_castsi256_ps(_mm256_and_si256(LoadBits(pairs), mask));
}

// Rounds to the nearest bfloat16 (ties to even; NaN stays NaN), as a float.
inline Vec RoundToBFloat16(Vec v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i mask = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  return _mm256_castsi256_ps(_mm256_and_si256(_mm256_blendv_epi8(rounded, quiet, is_nan), mask));
}

// One byte per lane.
inline __m256i LoadBytes(const std::byte* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
inline __m256i ShiftRight4(__m256i v) { return _mm256_srli_epi32(v, 4); }

// The E2M1 element in the low four bits of each lane.
inline Vec Mxfp4Value(__m256i codes) {
  const Vec magnitudes = _mm256_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f);
  const __m256i sign = _mm256_slli_epi32(_mm256_and_si256(codes, _mm256_set1_epi32(8)), 28);
  return _mm256_or_ps(_mm256_permutevar8x32_ps(magnitudes, codes), _mm256_castsi256_ps(sign));
}

inline __m256i ShiftRight2(__m256i v) { return _mm256_srli_epi32(v, 2); }
inline __m256i ShiftLeft4(__m256i v) { return _mm256_slli_epi32(v, 4); }
inline __m256i AndBits(__m256i a, __m256i b) { return _mm256_and_si256(a, b); }
inline __m256i OrBits(__m256i a, __m256i b) { return _mm256_or_si256(a, b); }

// The E2M3 element in the low six bits of each lane: eighths as integers, 8 + m shifted by e - 1,
// or m where e is 0.
inline Vec Mxfp6Value(__m256i codes) {
  const __m256i mantissa = _mm256_and_si256(codes, _mm256_set1_epi32(7));
  const __m256i exponent = _mm256_and_si256(_mm256_srli_epi32(codes, 3), _mm256_set1_epi32(3));
  const __m256i is_subnormal = _mm256_cmpeq_epi32(exponent, _mm256_setzero_si256());
  const __m256i leading = _mm256_andnot_si256(is_subnormal, _mm256_set1_epi32(8));
  const __m256i shift =
      _mm256_max_epi32(_mm256_sub_epi32(exponent, _mm256_set1_epi32(1)), _mm256_setzero_si256());
  const __m256i eighths = _mm256_sllv_epi32(_mm256_or_si256(mantissa, leading), shift);
  const Vec magnitude = _mm256_mul_ps(_mm256_cvtepi32_ps(eighths), _mm256_set1_ps(0.125f));
  const __m256i sign = _mm256_slli_epi32(_mm256_and_si256(codes, _mm256_set1_epi32(32)), 26);
  return _mm256_or_ps(magnitude, _mm256_castsi256_ps(sign));
}

// One signed byte per lane, as floats.
inline Vec LoadSignedBytes(const std::byte* p) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

// E8M0ToFloat of each lane: the codes 0 and 255 have a bit of the mantissa.
inline Vec E8M0Values(__m256i codes) {
  const __m256i next =
      _mm256_and_si256(_mm256_add_epi32(codes, _mm256_set1_epi32(1)), _mm256_set1_epi32(255));
  const __m256i is_special = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), next);
  const __m256i mantissa = _mm256_and_si256(is_special, _mm256_set1_epi32(0x400000));
  return _mm256_castsi256_ps(_mm256_or_si256(_mm256_slli_epi32(codes, 23), mantissa));
}

// The upper halves of even and odd, pair by pair.
inline void StorePairs(std::byte* p, Vec even, Vec odd) {
  const __m256i mask = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  const __m256i pairs = _mm256_or_si256(_mm256_srli_epi32(_mm256_castps_si256(even), 16),
                                        _mm256_and_si256(_mm256_castps_si256(odd), mask));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), pairs);
}

// Sums of products of unsigned and signed bytes, four at a time, into 32-bit lanes.
using IntVec = __m256i;
inline constexpr int64_t kInt8OperationsPerDot = 2 * 32;
inline IntVec BroadcastInt(int x) { return _mm256_set1_epi32(x); }
inline Vec AsBits(IntVec v) { return _mm256_castsi256_ps(v); }
inline IntVec AsInts(Vec v) { return _mm256_castps_si256(v); }
inline Vec ToFloats(IntVec v) { return _mm256_cvtepi32_ps(v); }
inline IntVec ToInts(Vec v) { return _mm256_cvtps_epi32(v); }  // to nearest, ties to even
inline IntVec LoadInts(const std::byte* p) { return LoadBits(p); }
inline IntVec ShiftRight8(IntVec v) { return _mm256_srli_epi32(v, 8); }
inline IntVec AddInts(IntVec a, IntVec b) { return _mm256_add_epi32(a, b); }
inline IntVec MaxInts(IntVec a, IntVec b) { return _mm256_max_epi32(a, b); }
inline int LargestInt(IntVec v) {
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}
inline int SumOfInts(IntVec v) {
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}
// Sums of products of two signed 16-bit integers, in 32-bit lanes.
inline IntVec DotPairs(IntVec a, IntVec b) { return _mm256_madd_epi16(a, b); }
// The lanes as 16-bit integers, of every four those of even number before the odd.
inline void StoreEvenOdd(int16_t* p, IntVec v) {
  const __m256i order = _mm256_shuffle_epi32(v, 0xd8);
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(order, order), 0xd8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
}
inline IntVec DotInt8(IntVec sum, IntVec a, IntVec b) {
  const __m256i pairs = _mm256_maddubs_epi16(a, b);
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
