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
    const uint32_t word = PackMxfp4Word(codes);
    for (int e = 0; e < 8; ++e) {
      const uint32_t bits = SpreadPair(word, e / 2) >> (16 * (e % 2)) & 0xffffu;
      const float value = BFloat16ToFloat(static_cast<uint16_t>(bits)) * 0x1p126f;
      ASSERT_EQ(value, kMxfp4Values[codes >> (4 * e) & 15u]) << e << " of " << codes;
    }
  }
}

TEST(TilesOfRuns, CoverEveryPairOfEverySequenceOnce) {
  const std::vector<int32_t> sequences = {0, 0, 0, 1, 2, 2};
  const auto tiles = TilesOf(sequences, 30, 64);
  std::vector<std::pair<int, int>> covered;  // first row of a run, pairs
  for (const AttentionTile& tile : tiles) {
    EXPECT_LE(tile.num_pairs, 64);
    if (tile.first_pair == 0) covered.emplace_back(tile.first_row, 0);
    EXPECT_EQ(covered.back().second, tile.first_pair);
    covered.back().second += tile.num_pairs;
  }
  EXPECT_EQ(covered, (std::vector<std::pair<int, int>>{{0, 90}, {3, 30}, {4, 60}}));
}

}  // namespace
}  // namespace expertile::cuda
