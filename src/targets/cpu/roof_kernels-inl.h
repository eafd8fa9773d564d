// Loops that do nothing but multiply-add registers, or nothing but read: the machine's roof.
// Not a header of its own: included inside an instruction set's namespace and target region.

inline constexpr int kPeakChains = 12;  // covers latency x issue rate and fits 16 registers

// Keeps the results of a measuring loop alive.
inline void Consume(Vec v) {
  volatile float sink;
  float lanes[kLanes];
  Store(lanes, v);
  sink = lanes[0];
  (void)sink;
}

inline int64_t PeakFloat32(int64_t repeats) {
  Vec sum[kPeakChains];
  for (int i = 0; i < kPeakChains; ++i) sum[i] = Broadcast(static_cast<float>(i));
  const Vec scale = Broadcast(0.999f);
  const Vec step = Broadcast(1e-3f);
  for (int64_t i = 0; i < repeats; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kPeakChains; ++j) sum[j] = FMAdd(sum[j], scale, step);
  }
  for (int i = 1; i < kPeakChains; ++i) sum[0] = Add(sum[0], sum[i]);
  Consume(sum[0]);
  return repeats * kPeakChains * kLanes * 2;
}

inline float ReadBytes(const std::byte* bytes, size_t num_bytes) {
  constexpr int kStreams = 4;
  Vec sum[kStreams] = {Zero(), Zero(), Zero(), Zero()};
  const float* p = reinterpret_cast<const float*>(bytes);
  for (const float* end = p + num_bytes / sizeof(float); p < end; p += kStreams * kLanes) {
#pragma GCC unroll 4
    for (int i = 0; i < kStreams; ++i) sum[i] = Add(sum[i], Load(p + i * kLanes));
  }
  float lanes[kLanes];
  Store(lanes, Add(Add(sum[0], sum[1]), Add(sum[2], sum[3])));
  return lanes[0];
}
