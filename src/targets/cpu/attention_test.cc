#include "targets/cpu/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <tuple>

#include "targets/cpu/gemm.h"
#include "targets/cpu/isa.h"
#include "targets/cpu/tables_here.h"

namespace expertile::cpu {
namespace {

struct Arithmetic {
  TableHere here;
  ComputeType type;
  KvFormat format;
};

std::vector<Arithmetic> AllArithmetics() {
  std::vector<Arithmetic> all;
  for (const TableHere& here : TablesHere()) {
    all.push_back({here, ComputeType::kFloat32, KvFormat::kFloat32});
    all.push_back({here, ComputeType::kFloat32, KvFormat::kMxInt8});
    all.push_back({here, ComputeType::kBFloat16, KvFormat::kBFloat16});
    all.push_back({here, ComputeType::kBFloat16, KvFormat::kMxInt8});
    all.push_back({here, ComputeType::kFloat32, KvFormat::kBFloat16});
    all.push_back({here, ComputeType::kBFloat16, KvFormat::kFloat32});
  }
  return all;
}

struct Shape {
  int num_heads = 4;
  int num_kv_heads = 2;
  int64_t head_dim = 24;
  int64_t window = 0;
  bool has_sinks = false;
  std::vector<int64_t> contexts = {kSegmentSize + 75};  // of each sequence
};

// Sequences with keys, values and queries at all their positions.
class Subject {
 public:
  Subject(const Shape& shape, const Arithmetic& arithmetic)
      : shape_(shape), arithmetic_(arithmetic), table_(*arithmetic.here.table) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    const auto fill = [&](int64_t size) {
      std::vector<float> values(size);
      for (float& value : values) value = normal(random);
      return values;
    };
    int32_t num_blocks = 0;
    for (const int64_t context : shape.contexts) {
      blocks_.emplace_back(CeilDiv(context, kKvBlockSize));
      for (int32_t& block : blocks_.back()) block = num_blocks++;
      std::ranges::reverse(blocks_.back());  // blocks lie anywhere
      keys_.push_back(fill(context * kv_width()));
      values_.push_back(fill(context * kv_width()));
      queries_.push_back(fill(context * width()));
    }
    sinks_ = fill(shape.num_heads);
    cache_ = KvCache::Create({.num_blocks = num_blocks,
                              .num_kv_heads = shape.num_kv_heads,
                              .head_dim = shape.head_dim,
                              .panel_columns = table_.panel_columns,
                              .format = arithmetic.format})
                 .value();
    WriteAll();
  }

  void WriteAll() {
    for (size_t s = 0; s < shape_.contexts.size(); ++s) {
      for (int64_t p = 0; p < shape_.contexts[s]; ++p) Write(static_cast<int>(s), p);
    }
  }
  void SetKeysAndValues(int sequence, int64_t position, float value) {
    std::fill_n(keys_[sequence].begin() + position * kv_width(), kv_width(), value);
    std::fill_n(values_[sequence].begin() + position * kv_width(), kv_width(), value);
  }

  // The rows (sequence, position) of one step; [rows, heads D].
  std::vector<float> Run(const std::vector<std::pair<int, int64_t>>& rows, int num_workers) {
    std::vector<int32_t> sequences;
    std::vector<int32_t> positions;
    std::vector<float> query;
    for (const auto& [sequence, position] : rows) {
      sequences.push_back(sequence);
      positions.push_back(static_cast<int32_t>(position));
      const auto first = queries_[sequence].begin() + position * width();
      query.insert(query.end(), first, first + width());
    }
    const std::vector<BlockTable> tables(blocks_.begin(), blocks_.end());
    std::vector<float> mixed(query.size());
    WorkerPool pool(num_workers);
    auto attention = BlockAttention::Create(table_, arithmetic_.type, *cache_, num_workers).value();
    attention.Run({.window = shape_.window,
                   .scale = scale(),
                   .sinks = shape_.has_sinks ? sinks_.data() : nullptr,
                   .query = query.data(),
                   .num_heads = shape_.num_heads,
                   .sequences = sequences,
                   .positions = positions,
                   .block_tables = tables,
                   .mixed = mixed.data()},
                  *cache_, pool);
    return mixed;
  }

  // The definition, in float64, on the keys and values that the cache holds; [heads D].
  std::vector<double> Expected(int sequence, int64_t position) const {
    const int64_t D = shape_.head_dim;
    const KeySpan seen = KeysSeen(position, shape_.window);
    std::vector<double> mixed(width());
    std::vector<float> key(D);
    std::vector<float> value(D);
    for (int head = 0; head < shape_.num_heads; ++head) {
      const int kv_head = head / (shape_.num_heads / shape_.num_kv_heads);
      double sum = shape_.has_sinks ? std::exp(static_cast<double>(sinks_[head])) : 0.0;
      for (int64_t p = seen.begin; p < seen.end; ++p) {
        cache_->Read(blocks_[sequence], kv_head, p, key, value);
        double score = 0.0;
        for (int64_t d = 0; d < D; ++d) {
          score += static_cast<double>(key[d]) *
                   static_cast<double>(queries_[sequence][position * width() + head * D + d]);
        }
        const double weight = std::exp(score * static_cast<double>(scale()));
        sum += weight;
        for (int64_t d = 0; d < D; ++d) {
          mixed[head * D + d] += weight * static_cast<double>(value[d]);
        }
      }
      for (int64_t d = 0; d < D; ++d) mixed[head * D + d] /= sum;
    }
    return mixed;
  }
  // Of all rows of a sequence.
  std::vector<std::pair<int, int64_t>> RowsOf(int sequence) const {
    std::vector<std::pair<int, int64_t>> rows;
    for (int64_t p = 0; p < shape_.contexts[sequence]; ++p) rows.emplace_back(sequence, p);
    return rows;
  }
  int64_t width() const { return shape_.num_heads * shape_.head_dim; }

 private:
  int64_t kv_width() const { return shape_.num_kv_heads * shape_.head_dim; }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(shape_.head_dim)); }
  void Write(int sequence, int64_t position) {
    for (int head = 0; head < shape_.num_kv_heads; ++head) {
      const auto row = [&](const std::vector<float>& rows) {
        return std::span(rows).subspan(position * kv_width() + head * shape_.head_dim,
                                       shape_.head_dim);
      };
      cache_->Write(blocks_[sequence], head, position, row(keys_[sequence]),
                    row(values_[sequence]));
    }
  }

  Shape shape_;
  Arithmetic arithmetic_;
  const KernelTable& table_;
  std::vector<std::vector<int32_t>> blocks_;
  std::vector<std::vector<float>> keys_;     // [context, kv heads, D]
  std::vector<std::vector<float>> values_;   // [context, kv heads, D]
  std::vector<std::vector<float>> queries_;  // [context, heads, D]
  std::vector<float> sinks_;
  std::optional<KvCache> cache_;
};

std::string NameOf(const Arithmetic& arithmetic) {
  return arithmetic.here.name +
         (arithmetic.type == ComputeType::kBFloat16 ? " bfloat16, cache " : " float32, cache ") +
         std::string(expertile::NameOf(arithmetic.format));
}

std::vector<Shape> Shapes() {
  return {
      {},
      {.num_heads = 3, .num_kv_heads = 3, .head_dim = 40, .window = 0, .has_sinks = true},
      {.num_heads = 8, .num_kv_heads = 1, .head_dim = 66, .window = 37, .has_sinks = true},
      {.num_heads = 4, .num_kv_heads = 2, .head_dim = 2, .window = 300},
      {.num_heads = 2, .num_kv_heads = 1, .head_dim = 128, .window = 1},
  };
}

double RelativeL2(std::span<const float> actual, std::span<const double> expected) {
  double difference = 0.0;
  double norm = 0.0;
  for (size_t i = 0; i < actual.size(); ++i) {
    difference += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(difference / norm);
}

TEST(BlockAttention, AgreesWithTheDefinition) {
  for (const Arithmetic& arithmetic : AllArithmetics()) {
    for (const Shape& shape : Shapes()) {
      Subject subject(shape, arithmetic);
      const auto mixed = subject.Run(subject.RowsOf(0), 2);
      const bool rounds =
          arithmetic.type == ComputeType::kBFloat16 && arithmetic.format != KvFormat::kFloat32;
      for (int64_t p = 0; p < shape.contexts[0]; ++p) {
        const auto row = std::span(mixed).subspan(p * subject.width(), subject.width());
        // Queries and probabilities are rounded by at most 2^-9 of themselves.
        ASSERT_LE(RelativeL2(row, subject.Expected(0, p)), rounds ? 1e-2 : 1e-5)
            << NameOf(arithmetic) << " D=" << shape.head_dim << " row " << p;
      }
    }
  }
}

// A row's bits are its own: alone, in chunks, with other sequences, on one worker or many.
TEST(BlockAttention, OneAnswer) {
  for (const Arithmetic& arithmetic : AllArithmetics()) {
    for (Shape shape : Shapes()) {
      shape.contexts = {2 * kSegmentSize + 75, 130, kSegmentSize};
      Subject subject(shape, arithmetic);
      const auto whole = subject.Run(subject.RowsOf(0), 1);
      const auto expect_row = [&](std::span<const float> mixed, int64_t row, int64_t position) {
        for (int64_t i = 0; i < subject.width(); ++i) {
          ASSERT_EQ(mixed[row * subject.width() + i], whole[position * subject.width() + i])
              << NameOf(arithmetic) << " D=" << shape.head_dim << " position " << position;
        }
      };
      for (const int num_workers : {1, 2, 5}) {
        const auto again = subject.Run(subject.RowsOf(0), num_workers);
        EXPECT_EQ(again, whole) << NameOf(arithmetic) << " D=" << shape.head_dim;
        // Decoding, at and around the segments' borders: segments go to different workers.
        for (const int64_t position :
             {int64_t{0}, kSegmentSize - 1, kSegmentSize, 2 * kSegmentSize + 74}) {
          expect_row(subject.Run({{0, position}}, num_workers), 0, position);
        }
        // A mixed step: one token of a sequence, a chunk of another, one of a third.
        std::vector<std::pair<int, int64_t>> rows = {{1, 129}};
        for (int64_t p = 100; p < 317; ++p) rows.emplace_back(0, p);
        rows.emplace_back(2, kSegmentSize - 1);
        const auto mixed = subject.Run(rows, num_workers);
        for (int64_t p = 100; p < 317; ++p) expect_row(mixed, p - 99, p);
      }
    }
  }
}

// What a row does not see leaves its bits as they are, NaN and infinity included.
TEST(BlockAttention, UnseenValuesLeaveNoTrace) {
  for (const Arithmetic& arithmetic : AllArithmetics()) {
    for (const int64_t window : {0, 37}) {
      const Shape shape = {.head_dim = 40, .window = window};
      Subject sound(shape, arithmetic);
      Subject damaged(shape, arithmetic);
      constexpr int64_t kDamaged = kSegmentSize + 9;
      damaged.SetKeysAndValues(0, kDamaged, std::numeric_limits<float>::quiet_NaN());
      damaged.SetKeysAndValues(0, 3, std::numeric_limits<float>::infinity());
      damaged.WriteAll();
      const auto expected = sound.Run(sound.RowsOf(0), 1);
      const auto sees = [&](int64_t row, int64_t position) {
        const KeySpan seen = KeysSeen(row, window);
        return seen.begin <= position && position < seen.end;
      };
      for (const int num_workers : {1, 3}) {
        const auto mixed = damaged.Run(damaged.RowsOf(0), num_workers);
        for (int64_t p = 0; p < shape.contexts[0]; ++p) {
          for (int64_t i = p * sound.width(); i < (p + 1) * sound.width(); ++i) {
            if (sees(p, kDamaged) || sees(p, 3)) {
              ASSERT_FALSE(std::isfinite(mixed[i])) << NameOf(arithmetic) << " row " << p;
            } else {
              ASSERT_EQ(mixed[i], expected[i]) << NameOf(arithmetic) << " row " << p;
            }
          }
        }
      }
    }
  }
}

// Every (pair, segment) that a row sees is in one piece.
TEST(AttentionPlan, CoversEveryPairAndSegmentOnce) {
  std::vector<int32_t> sequences;
  std::vector<int32_t> positions;
  const auto add = [&](int32_t sequence, int64_t first, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      sequences.push_back(sequence);
      positions.push_back(static_cast<int32_t>(first + i));
    }
  };
  add(0, 5000, 1);
  add(1, 100, 700);
  add(2, 0, 3);
  constexpr int64_t kGroup = 3;
  for (const int64_t window : {0, 200}) {
    for (const int num_workers : {1, 2, 16, 100}) {
      AttentionPlan plan;
      plan.Make({sequences, positions, window}, {2, kGroup, 14, num_workers}, true);
      std::map<std::tuple<int, int64_t, int64_t>, int> visits;  // kv head, pair, segment
      std::set<int64_t> parts;
      for (size_t i = 0; i < plan.pieces.size(); ++i) {
        const AttentionPiece& piece = plan.pieces[i];
        EXPECT_LE(piece.num_pairs, kMaxPiecePairs);
        if (i > 0) {
          EXPECT_LE(piece.cost, plan.pieces[i - 1].cost);
        }
        for (int64_t s = piece.first_segment; s < piece.end_segment; ++s) {
          for (int64_t p = 0; p < piece.num_pairs; ++p) {
            ++visits[{piece.kv_head, piece.first_row * kGroup + piece.first_pair + p, s}];
          }
          if (piece.first_part < 0) continue;
          EXPECT_LE(piece.num_pairs, 14);
          EXPECT_TRUE(parts.insert(piece.first_part + s - piece.first_segment).second);
        }
      }
      EXPECT_EQ(static_cast<int64_t>(parts.size()), plan.num_parts);
      int64_t num_merged = 0;
      for (const AttentionPiece& merge : plan.merges) {
        num_merged += merge.end_segment - merge.first_segment;
      }
      EXPECT_EQ(num_merged, plan.num_parts);
      if (num_workers == 1) {
        EXPECT_EQ(plan.num_parts, 0);
      }
      for (const auto& [key, count] : visits) EXPECT_EQ(count, 1);
      for (size_t t = 0; t < positions.size(); ++t) {
        const KeySpan seen = KeysSeen(positions[t], window);
        for (int64_t s = seen.begin / kSegmentSize; s * kSegmentSize < seen.end; ++s) {
          for (int64_t p = 0; p < kGroup; ++p) {
            for (int kv_head = 0; kv_head < 2; ++kv_head) {
              ASSERT_EQ(visits.count({kv_head, static_cast<int64_t>(t) * kGroup + p, s}), 1u);
            }
          }
        }
      }
    }
  }
}

// One token after a long context: its segments go to all workers.
TEST(AttentionPlan, SplitsALongContext) {
  const std::vector<int32_t> sequences = {0};
  const std::vector<int32_t> positions = {16383};
  AttentionPlan plan;
  plan.Make({sequences, positions, 0}, {4, 8, 14, 16}, true);
  EXPECT_GE(plan.pieces.size(), 64u);
  EXPECT_EQ(plan.merges.size(), 4u);
  EXPECT_EQ(plan.num_parts, 4 * 16384 / kSegmentSize);
  plan.Make({sequences, positions, 0}, {4, 8, 14, 16}, false);
  EXPECT_EQ(plan.pieces.size(), 4u);
  EXPECT_TRUE(plan.merges.empty());
}

}  // namespace
}  // namespace expertile::cpu
