#include "targets/cuda/weight_packing.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "formats/mxfp4.h"
#include "targets/cuda/step_inputs.h"
#include "targets/memory_store.h"

namespace expertile::cuda {
namespace {

std::vector<uint16_t> RandomBits(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint16_t> values(count);
  for (uint16_t& value : values) value = static_cast<uint16_t>(random() & 0xbfffu);  // finite
  return values;
}

MatrixView ViewOf(const std::vector<uint16_t>& values, int64_t rows, int64_t cols) {
  return {DType::kBF16, reinterpret_cast<const std::byte*>(values.data()), rows, cols, cols, 1,
          nullptr};
}

uint16_t At(std::span<const std::byte> tiles, const TileLayout& layout, int64_t column,
            int64_t depth) {
  uint16_t value = 0;
  const int64_t chunk = depth % kTileDepth / 8;
  std::memcpy(&value,
              tiles.data() + layout.ChunkOffset(column, depth / kTileDepth, chunk) + depth % 8 * 2,
              2);
  return value;
}

class TilePackerTest : public testing::Test {
 protected:
  std::span<const std::byte> Bytes(const std::string& name, const std::string& format,
                                   int64_t num_bytes) {
    return store_.Find(name, format, num_bytes).value();
  }

  WorkerPool pool_{2};
  MemoryStore store_;
  TilePacker packer_{pool_, store_};
};

TEST_F(TilePackerTest, EveryElementOfAMatrixAndZerosBesideThem) {
  constexpr int64_t kRows = 21;
  constexpr int64_t kCols = 100;
  const auto values = RandomBits(kRows * kCols, 1);
  ASSERT_TRUE(packer_.Pack("m", LinearView{ViewOf(values, kRows, kCols), std::nullopt},
                           WeightRole::kMatrix));
  const TileLayout layout{24, kCols};
  const auto tiles = Bytes("m", "bfloat16", layout.bytes());
  for (int64_t n = 0; n < layout.columns; ++n) {
    for (int64_t k = 0; k < layout.depth_tiles() * kTileDepth; ++k) {
      const bool is_there = n < kRows && k < kCols;
      ASSERT_EQ(At(tiles, layout, n, k), is_there ? values[n * kCols + k] : 0) << n << " " << k;
    }
  }
}

TEST_F(TilePackerTest, GatesAndUpsInBlocksOfEight) {
  constexpr int64_t kI = 70;
  constexpr int64_t kH = 72;
  const auto gate = RandomBits(kI * kH, 2);
  const auto up = RandomBits(kI * kH, 3);
  const auto down = RandomBits(kI * kH, 4);
  const std::vector<MlpView> mlps = {{{ViewOf(gate, kI, kH), std::nullopt},
                                      {ViewOf(up, kI, kH), std::nullopt},
                                      {ViewOf(down, kH, kI), std::nullopt}}};
  ASSERT_TRUE(packer_.Pack("e", mlps, WeightRole::kExperts));
  const TileLayout layout{GateUpColumns(kI), kH};
  EXPECT_EQ(layout.columns, 256);
  const auto tiles = Bytes("e.gate_up", "bfloat16", layout.bytes());
  for (int64_t i = 0; i < kI; ++i) {
    for (int64_t k = 0; k < kH; ++k) {
      ASSERT_EQ(At(tiles, layout, i / 8 * 16 + i % 8, k), gate[i * kH + k]);
      ASSERT_EQ(At(tiles, layout, i / 8 * 16 + 8 + i % 8, k), up[i * kH + k]);
    }
  }
  EXPECT_EQ(At(tiles, layout, 72 / 8 * 16, 0), 0);  // past the last gate
  const TileLayout down_layout{kH, kI};
  EXPECT_EQ(At(Bytes("e.down", "bfloat16", down_layout.bytes()), down_layout, 71, 69),
            down[71 * kI + 69]);
}

TEST_F(TilePackerTest, ARouterHasItsWeightsForBothTermsOfRows) {
  constexpr int64_t kRows = 8;
  constexpr int64_t kCols = 10;
  const std::vector<float> values(kRows * kCols, 1.0f + 0x1p-10f);  // no bfloat16
  const MatrixView view{
      DType::kF32, reinterpret_cast<const std::byte*>(values.data()), kRows, kCols, kCols, 1,
      nullptr};
  ASSERT_TRUE(packer_.Pack("r", LinearView{view, std::nullopt}, WeightRole::kRouter));
  const TileLayout layout{kRows, 3 * kTileDepth};
  const auto tiles = Bytes("r", "bfloat16x2", layout.bytes());
  for (const int64_t part : {0, 1}) {
    EXPECT_EQ(BFloat16ToFloat(At(tiles, layout, 3, part * kTileDepth + 9)), 1.0f);
  }
  EXPECT_EQ(BFloat16ToFloat(At(tiles, layout, 3, 2 * kTileDepth + 9)), 0x1p-10f);
}

// The device's SpreadCodes (mxfp4.cuh) on the host: bits of pair p as two halves of a word.
uint32_t SpreadPair(uint32_t word, int p) {
  constexpr uint32_t kMask = 0x81c081c0u;
  if (p < 3) return word << (3 * p) & kMask;
  return (word << 1 & 0x80008000u) | (word >> 5 & 0x01000100u) | (word >> 4 & 0x00c000c0u);
}

TEST(Mxfp4Word, SpreadsToTheValuesOfItsCodes) {
  std::mt19937 random(5);
  for (int i = 0; i < 10000; ++i) {
    const auto codes = static_cast<uint32_t>(random());
    uint32_t word = 0;
    for (int pair = 0; pair < 4; ++pair) {
      word |= SpreadMxfp4Codes(codes >> (8 * pair) & 255u, pair);
    }
    for (int e = 0; e < 8; ++e) {
      const uint32_t bits = SpreadPair(word, e / 2) >> (16 * (e % 2)) & 0xffffu;
      const float value = BFloat16ToFloat(static_cast<uint16_t>(bits)) * 0x1p126f;
      ASSERT_EQ(value, kMxfp4Values[codes >> (4 * e) & 15u]) << e << " of " << codes;
    }
  }
}

struct Mxfp4Matrix {
  int64_t rows;
  int64_t cols;
  std::vector<std::byte> codes = std::vector<std::byte>(rows * cols / 2);
  std::vector<std::byte> scales = std::vector<std::byte>(rows * cols / 32);

  void Fill(uint32_t seed) {
    std::mt19937 random(seed);
    for (std::byte& code : codes) code = static_cast<std::byte>(random());
    for (std::byte& scale : scales) scale = static_cast<std::byte>(random());
  }
  LinearView View() const {
    return {{DType::kU8, codes.data(), rows, cols, cols, 1, scales.data()}, std::nullopt};
  }
  uint32_t CodeAt(int64_t row, int64_t col) const {
    return static_cast<uint32_t>(codes[(row * cols + col) / 2]) >> (4 * (col % 2)) & 15u;
  }
};

// Each thread's words and scales as operands of 16 by 16 have them: pairs of columns g and g + 8,
// then of the depth 8 further on, in four steps of 16.
TEST_F(TilePackerTest, Mxfp4CodesLieWhereTheThreadsThatMultiplyReadThem) {
  Mxfp4Matrix gate{72, 96};
  Mxfp4Matrix up{72, 96};
  Mxfp4Matrix down{96, 96};
  gate.Fill(6);
  up.Fill(7);
  down.Fill(8);
  const std::vector<MlpView> mlps = {{gate.View(), up.View(), down.View()}};
  ASSERT_TRUE(packer_.Pack("e", mlps, WeightRole::kExperts));
  const TileLayout layout{96, 96};
  const auto words = Bytes("e.down", "mxfp4", layout.code_bytes());
  const auto scales = Bytes("e.down.scales", kMxfp4ScaleFormat, layout.scale_bytes());
  EXPECT_EQ(layout.code_bytes(), 2 * 96 * 32);
  for (int64_t tile = 0; tile < 2; ++tile) {
    for (int64_t group = 0; group < 6; ++group) {
      for (int64_t thread = 0; thread < 32; ++thread) {
        for (int64_t step = 0; step < 4; ++step) {
          uint32_t word = 0;
          std::memcpy(&word, &words[((tile * 6 + group) * 32 + thread) * 16 + step * 4], 4);
          for (int pair = 0; pair < 4; ++pair) {
            const int64_t column = group * 16 + thread / 4 + pair % 2 * 8;
            const int64_t depth = tile * 64 + step * 16 + thread % 4 * 2 + pair / 2 * 8;
            const uint32_t bits = SpreadPair(word, pair);
            for (int64_t half = 0; half < 2; ++half) {
              const float value =
                  BFloat16ToFloat(static_cast<uint16_t>(bits >> (16 * half))) * 0x1p126f;
              const bool is_there = depth < down.cols;
              ASSERT_EQ(value, is_there ? kMxfp4Values[down.CodeAt(column, depth + half)] : 0.0f);
            }
            if (depth >= down.cols) continue;
            const int64_t byte = (tile * 6 + group) * 32 + thread / 4 * 4 + pair % 2 * 2 + step / 2;
            ASSERT_EQ(scales[byte], down.scales[column * 3 + depth / 32]);
          }
        }
      }
    }
  }
}

TEST(TilesOfRuns, CoverEveryPairOfEverySequenceOnce) {
  const std::vector<int32_t> sequences = {0, 0, 0, 1, 2, 2};
  const std::vector<int32_t> positions = {7, 8, 9, 0, 64, 65};
  const std::vector<int32_t> table_offsets = {5, 9, 10};
  const auto tiles = TilesOf(sequences, positions, table_offsets, 30, 64);
  std::vector<std::pair<int, int>> covered;  // first row of a run, pairs
  for (const AttentionTile& tile : tiles) {
    EXPECT_LE(tile.num_pairs, 64);
    if (tile.first_pair == 0) covered.emplace_back(tile.first_row, 0);
    EXPECT_EQ(covered.back().second, tile.first_pair);
    EXPECT_EQ(tile.first_position, positions[tile.first_row + tile.first_pair / 30]);
    covered.back().second += tile.num_pairs;
    EXPECT_EQ(tile.last_position, positions[tile.first_row + (covered.back().second - 1) / 30]);
    EXPECT_EQ(tile.first_block, table_offsets[sequences[tile.first_row]]);
  }
  EXPECT_EQ(covered, (std::vector<std::pair<int, int>>{{0, 90}, {3, 30}, {4, 60}}));
}

}  // namespace
}  // namespace expertile::cuda
