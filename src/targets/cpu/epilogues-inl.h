// What happens to finished accumulators: gated activation, row store, weighted combine.
// Not a header of its own: included inside an instruction set's namespace and target region.

// e^x for x in [-87.3, 88.0] (clamped), within 2 units in the last place: x = n ln2 + r, then a
// polynomial in r. Only fused and single operations, so that every lane and instruction set agree.
inline Vec Exp(Vec x) {
  const Vec clamped = Min(Broadcast(88.0f), Max(Broadcast(-87.3f), x));
  const Vec n = RoundToInteger(Mul(clamped, Broadcast(1.44269504f)));
  Vec r = FNMAdd(n, Broadcast(0.693359375f), clamped);
  r = FNMAdd(n, Broadcast(-2.12194440e-4f), r);
  Vec p = Broadcast(1.9875691500e-4f);
  p = FMAdd(p, r, Broadcast(1.3981999507e-3f));
  p = FMAdd(p, r, Broadcast(8.3334519073e-3f));
  p = FMAdd(p, r, Broadcast(4.1665795894e-2f));
  p = FMAdd(p, r, Broadcast(1.6666665459e-1f));
  p = FMAdd(p, r, Broadcast(5.0000001201e-1f));
  p = FMAdd(p, Mul(r, r), Add(r, Broadcast(1.0f)));
  return ScaleByPowerOfTwo(p, n);
}

// x * sigmoid(alpha * x); NaN stays NaN.
inline Vec Swish(Vec x, Vec minus_alpha) {
  return Div(x, Add(Broadcast(1.0f), Exp(Mul(x, minus_alpha))));
}

inline Vec GatedActivationOf(Vec gate, Vec up, const GatedMlpSpec& spec) {
  if (spec.activation == GatedActivation::kSilu) return Mul(Swish(gate, Broadcast(-1.0f)), up);
  const Vec limit = Broadcast(spec.limit);
  const Vec clamped_gate = Min(limit, gate);
  const Vec clamped_up = Max(Broadcast(-spec.limit), Min(limit, up));
  return Mul(Add(clamped_up, Broadcast(1.0f)), Swish(clamped_gate, Broadcast(-spec.alpha)));
}

inline Vec GatedRow(const float* c, Vec bias_gate, Vec bias_up, const GatedMlpSpec& spec) {
  return GatedActivationOf(Add(Load(c), bias_gate), Add(Load(c + kLanes), bias_up), spec);
}

template <bool kRound>
void GateToTile(const float* c, int num_rows, const float* bias, const GatedMlpSpec& spec,
                int64_t column, std::byte* tile_bytes) {
  const Vec bias_gate = bias != nullptr ? Load(bias) : Zero();
  const Vec bias_up = bias != nullptr ? Load(bias + kLanes) : Zero();
  float* tile = reinterpret_cast<float*>(tile_bytes) +
                column / kBlockDepth * kBlockDepth * num_rows + column % kBlockDepth;
  for (int r = 0; r < num_rows; ++r) {
    const Vec v = GatedRow(c + r * kPanelColumns, bias_gate, bias_up, spec);
    Store(tile + r * kBlockDepth, kRound ? RoundToBFloat16(v) : v);
  }
}

inline void StoreRows(const float* c, int num_rows, const float* bias, int num_columns,
                      const int32_t* rows, int64_t stride, float* out) {
  const Vec bias_left = bias != nullptr ? Load(bias) : Zero();
  const Vec bias_right = bias != nullptr ? Load(bias + kLanes) : Zero();
  for (int r = 0; r < num_rows; ++r, c += kPanelColumns) {
    float* target = out + (rows != nullptr ? rows[r] : r) * stride;
    float tail[kPanelColumns];
    float* whole = num_columns == kPanelColumns ? target : tail;
    Store(whole, Add(Load(c), bias_left));
    Store(whole + kLanes, Add(Load(c + kLanes), bias_right));
    if (whole == tail) {
      std::memcpy(target, tail, static_cast<size_t>(num_columns) * sizeof(float));
    }
  }
}

inline void Combine(const float* y, const float* weights, int num_rows, int64_t size, float* out) {
  int64_t h = 0;
  for (; h + kLanes <= size; h += kLanes) {
    Vec sum = Zero();
    for (int k = 0; k < num_rows; ++k)
      sum = FMAdd(Broadcast(weights[k]), Load(y + k * size + h), sum);
    Store(out + h, sum);
  }
  for (; h < size; ++h) {
    float sum = 0.0f;
    for (int k = 0; k < num_rows; ++k) sum = std::fma(weights[k], y[k * size + h], sum);
    out[h] = sum;
  }
}
