// Element-wise work on one row: norms, rotary embedding, GELU. Sums are float64, lane by lane in a
// fixed order.
// Not a header of its own: included inside an instruction set's namespace and target region.

// `count` < kLanes values; zeros after them.
inline Vec LoadPart(const float* p, int64_t count) {
  float lanes[kLanes] = {};
  std::memcpy(lanes, p, static_cast<size_t>(count) * sizeof(float));
  return Load(lanes);
}

inline void StorePart(float* p, int64_t count, Vec v) {
  float lanes[kLanes];
  Store(lanes, v);
  std::memcpy(p, lanes, static_cast<size_t>(count) * sizeof(float));
}

// y[i] = f(i, x[i]...) for all vectors of a row of `size` values, where `load(p)` reads the lanes
// of p that belong to i.
template <typename F>
void MapRow(int64_t size, float* y, const F& f) {
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    Store(y + i, f([i](const float* p) { return Load(p + i); }));
  }
  if (i == size) return;
  const int64_t count = size - i;
  StorePart(y + i, count, f([i, count](const float* p) { return LoadPart(p + i, count); }));
}

// Total of kAdd over a row, in two interleaved sums of lanes.
template <Wide (*kAdd)(Wide, Vec)>
double SumRow(const float* x, int64_t size) {
  Wide sums[2] = {ZeroWide(), ZeroWide()};
  int64_t i = 0;
  for (int turn = 0; i + kLanes <= size; i += kLanes, turn ^= 1) {
    sums[turn] = kAdd(sums[turn], Load(x + i));
  }
  if (i < size) sums[0] = kAdd(sums[0], LoadPart(x + i, size - i));
  double lanes[2][kLanes / 2];
  StoreWide(lanes[0], sums[0]);
  StoreWide(lanes[1], sums[1]);
  double total = 0.0;
  for (int lane = 0; lane < kLanes / 2; ++lane) total += lanes[0][lane] + lanes[1][lane];
  return total;
}

// 1 / sqrt(mean of x^2 + epsilon).
inline Vec InverseRms(const float* x, int64_t size, float epsilon) {
  const double mean_square = SumRow<AddSquares>(x, size) / static_cast<double>(size);
  return Broadcast(static_cast<float>(1.0 / std::sqrt(mean_square + epsilon)));
}

// See RowKernels, for all that follow.
inline void RmsNorm(const float* x, const float* weight, int64_t size, float epsilon, float* y) {
  const Vec inverse = InverseRms(x, size, epsilon);
  MapRow(size, y, [&](auto load) { return Mul(Mul(load(x), inverse), load(weight)); });
}

inline void LayerNorm(const float* x, const float* weight, const float* bias, int64_t size,
                      float epsilon, float* y) {
  const double sum = SumRow<AddWide>(x, size);
  const Vec mean = Broadcast(static_cast<float>(sum / static_cast<double>(size)));
  MapRow(size, y, [&](auto load) { return Sub(load(x), mean); });
  const Vec inverse = InverseRms(y, size, epsilon);
  MapRow(size, y,
         [&](auto load) { return FMAdd(Mul(load(y), inverse), load(weight), load(bias)); });
}

// a * b - c * d, and a * b + c * d, each product rounded: what the reference computes.
inline void Rotate(float* head, const float* cos, const float* sin, int64_t half) {
  float* second = head + half;
  for (int64_t j = 0; j < half; j += kLanes) {
    const int64_t count = half - j < kLanes ? half - j : kLanes;
    const bool is_whole = count == kLanes;
    const auto load = [&](const float* p) {
      return is_whole ? Load(p + j) : LoadPart(p + j, count);
    };
    const auto store = [&](float* p, Vec v) {
      if (is_whole) {
        Store(p + j, v);
      } else {
        StorePart(p + j, count, v);
      }
    };
    const Vec x1 = load(head);
    const Vec x2 = load(second);
    const Vec c = load(cos);
    const Vec s = load(sin);
    store(head, Sub(Mul(x1, c), Mul(x2, s)));
    store(second, Add(Mul(x2, c), Mul(x1, s)));
  }
}

// x sigmoid(2 u), which is x / 2 (1 + tanh(u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
inline void GeluTanh(float* x, int64_t size) {
  MapRow(size, x, [&](auto load) {
    const Vec v = load(x);
    const Vec cubic = FMAdd(Mul(Mul(v, v), v), Broadcast(0.044715f), v);
    const Vec minus_2u = Mul(cubic, Broadcast(-1.5957691216057308f));
    return Div(v, Add(Broadcast(1.0f), Exp(minus_2u)));
  });
}

constexpr RowKernels kRowKernels = {RmsNorm, LayerNorm, Rotate, GeluTanh};
