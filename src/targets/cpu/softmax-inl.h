// Softmax over the keys of some panels, and what its parts become: a row's weighted sums.
// Not a header of its own: included inside an instruction set's namespace and target region.

// A packed tile of floats, rounded to bfloat16 values if kRound.
template <bool kRound>
struct FloatTile {
  static void Put(std::byte* tile, int num_rows, int row, unsigned column, Vec v) {
    float* target = reinterpret_cast<float*>(tile) +
                    (column / kBlockDepth * num_rows + row) * kBlockDepth + column % kBlockDepth;
    Store(target, kRound ? RoundToBFloat16(v) : v);
  }
};

// One row of SoftmaxOfPanels: panel p of it at scores + p * stride; `valid` is not empty.
template <typename Tile>
inline SoftmaxState SoftmaxRow(const float* scores, int64_t stride, int num_rows, int row,
                               KeyRange valid, float scale, std::byte* tile) {
  const Vec factor = Broadcast(scale);
  const int first = valid.begin / kPanelColumns;
  const int last = (valid.end - 1) / kPanelColumns;
  // `v` of half a panel, with `other` for keys that are not seen.
  const auto seen = [&](Vec v, int panel, int half, Vec other) {
    const int column = panel * kPanelColumns + half * kLanes;
    if (column >= valid.begin && column + kLanes <= valid.end) return v;
    return SelectLanes(v, valid.begin - column, valid.end - column, other);
  };
  Vec largest_lanes = Broadcast(-INFINITY);
  for (int panel = first; panel <= last; ++panel) {
    for (int half = 0; half < 2; ++half) {
      const Vec scaled = Mul(Load(scores + panel * stride + half * kLanes), factor);
      largest_lanes = Max(largest_lanes, seen(scaled, panel, half, Broadcast(-INFINITY)));
    }
  }
  const Vec largest = Broadcast(LargestOf(largest_lanes));
  Vec sum = Zero();
  for (int panel = first; panel <= last; ++panel) {
    Vec halves[2];
    for (int half = 0; half < 2; ++half) {
      const Vec scaled = Mul(Load(scores + panel * stride + half * kLanes), factor);
      // Exp never gives zero; a key that is not seen must.
      halves[half] = seen(Exp(Sub(scaled, largest)), panel, half, Zero());
      const auto column = static_cast<unsigned>(panel * kPanelColumns + half * kLanes);
      Tile::Put(tile, num_rows, row, column, halves[half]);
    }
    sum = Add(sum, Add(halves[0], halves[1]));
  }
  return {LargestOf(largest_lanes), SumOf(sum)};
}

// See SoftmaxFunction.
template <typename Tile>
void SoftmaxOfPanels(const float* scores, int num_rows, int num_panels, const KeyRange* valid,
                     float scale, SoftmaxState* states, std::byte* tile) {
  const int64_t stride = static_cast<int64_t>(num_rows) * kPanelColumns;
  for (int r = 0; r < num_rows; ++r, scores += kPanelColumns) {
    const bool is_empty = valid[r].begin >= valid[r].end;
    states[r] = is_empty ? SoftmaxState{-INFINITY, 0.0f}
                         : SoftmaxRow<Tile>(scores, stride, num_rows, r, valid[r], scale, tile);
    for (int column = 0; column < num_panels * kPanelColumns; column += kPanelColumns) {
      if (!is_empty && column + kPanelColumns > valid[r].begin && column < valid[r].end) continue;
      Tile::Put(tile, num_rows, r, column, Zero());
      Tile::Put(tile, num_rows, r, column + kLanes, Zero());
    }
  }
}

// See KernelTable::merge_softmax. A part's sums have 0 added, and so no negative zeros: the
// products of keys that a row does not see may have changed a zero's sign.
inline void MergeSoftmax(const float* part, const SoftmaxState* part_states, int num_rows,
                         int num_panels, float* sums, SoftmaxState* states) {
  float keep[kMaxTileRows] = {};
  float add[kMaxTileRows] = {};
  for (int r = 0; r < num_rows; ++r) {
    const float before = states[r].largest;
    const float after = part_states[r].largest > before ? part_states[r].largest : before;
    keep[r] = before - after;
    add[r] = part_states[r].largest - after;
    if (part_states[r].sum != 0.0f) states[r].largest = after;
  }
  for (int r = 0; r < num_rows; r += kLanes) {
    Store(keep + r, Exp(Load(keep + r)));
    Store(add + r, Exp(Load(add + r)));
  }
  for (int r = 0; r < num_rows; ++r) {
    if (part_states[r].sum == 0.0f) continue;
    states[r].sum = std::fma(part_states[r].sum, add[r], states[r].sum * keep[r]);
    for (int panel = 0; panel < num_panels; ++panel) {
      const int64_t offset = (static_cast<int64_t>(panel) * num_rows + r) * kPanelColumns;
      for (int half = 0; half < kPanelColumns; half += kLanes) {
        const Vec added = Add(Load(part + offset + half), Zero());
        float* target = sums + offset + half;
        Store(target, FMAdd(added, Broadcast(add[r]), Mul(Load(target), Broadcast(keep[r]))));
      }
    }
  }
}

// See KernelTable::store_softmax.
inline void StoreSoftmax(const float* sums, const SoftmaxState* states, int num_rows, int64_t size,
                         const int32_t* rows, float* out) {
  for (int r = 0; r < num_rows; ++r) {
    const Vec sum = Broadcast(states[r].sum);
    float* target = out + rows[r] * size;
    for (int64_t column = 0; column < size; column += kLanes) {
      const float* source =
          sums + (column / kPanelColumns * num_rows + r) * kPanelColumns + column % kPanelColumns;
      const Vec v = Div(Load(source), sum);
      if (size - column >= kLanes) {
        Store(target + column, v);
      } else {
        float tail[kLanes];
        Store(tail, v);
        std::memcpy(target + column, tail, static_cast<size_t>(size - column) * sizeof(float));
      }
    }
  }
}
