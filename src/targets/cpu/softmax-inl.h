// One key block of an online softmax over several rows.
// Not a header of its own: included inside an instruction set's namespace and target region.

// Sum of all lanes, in one fixed order.
inline float SumOf(Vec v) {
  float lanes[kLanes];
  Store(lanes, v);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

inline float LargestOf(Vec v) {
  float lanes[kLanes];
  Store(lanes, v);
  float largest = lanes[0];
  for (int i = 1; i < kLanes; ++i) largest = lanes[i] > largest ? lanes[i] : largest;
  return largest;
}

inline float ExpOf(float x) {
  float lanes[kLanes];
  Store(lanes, Exp(Broadcast(x)));
  return lanes[0];
}

// See KernelTable::softmax_block. A row without valid columns keeps its state and gets
// probabilities of zero.
inline void SoftmaxBlock(float* scores, int num_rows, const KeyRange* valid, float scale,
                         SoftmaxState* state, float* rescale) {
  // The lowest score of all, once scaled.
  const float lowest = scale > 0.0f ? -INFINITY : scale < 0.0f ? INFINITY : 0.0f;
  for (int r = 0; r < num_rows; ++r, scores += kPanelColumns) {
    rescale[r] = 1.0f;
    for (int j = 0; j < valid[r].begin; ++j) scores[j] = lowest;
    for (int j = valid[r].end; j < kPanelColumns; ++j) scores[j] = lowest;
    if (valid[r].begin >= valid[r].end) {
      for (int j = 0; j < kPanelColumns; ++j) scores[j] = 0.0f;
      continue;
    }
    const Vec left = Mul(Load(scores), Broadcast(scale));
    const Vec right = Mul(Load(scores + kLanes), Broadcast(scale));
    const float block_largest = LargestOf(Max(left, right));
    const float largest = block_largest > state[r].largest ? block_largest : state[r].largest;
    rescale[r] = state[r].largest == largest ? 1.0f : ExpOf(state[r].largest - largest);
    Store(scores, Exp(Sub(left, Broadcast(largest))));
    Store(scores + kLanes, Exp(Sub(right, Broadcast(largest))));
    // Exp never gives zero; a key that is not seen must.
    for (int j = 0; j < valid[r].begin; ++j) scores[j] = 0.0f;
    for (int j = valid[r].end; j < kPanelColumns; ++j) scores[j] = 0.0f;
    const float sum = SumOf(Add(Load(scores), Load(scores + kLanes)));
    state[r].sum = state[r].sum * rescale[r] + sum;
    state[r].largest = largest;
  }
}
