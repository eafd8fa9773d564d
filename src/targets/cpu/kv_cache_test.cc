#include "targets/cpu/kv_cache.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace expertile::cpu {
namespace {

class KvCacheTest : public testing::TestWithParam<KvFormat> {};

// What the cache holds is what its format makes of each row, wherever and however it is read.
TEST_P(KvCacheTest, BlocksAndRowsHoldTheEncodedValues) {
  constexpr int64_t kPositions = 37;
  for (const int64_t D : {8, 24, 32, 40, 128}) {
    auto cache = *KvCache::Create({.num_layers = 2,
                                   .num_sequences = 2,
                                   .num_kv_heads = 3,
                                   .ctx_len = 40,
                                   .head_dim = D,
                                   .block_columns = 16,
                                   .format = GetParam()});
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<std::vector<float>> keys(kPositions, std::vector<float>(D));
    auto values = keys;
    for (int64_t p = 0; p < kPositions; ++p) {
      for (float& value : keys[p]) value = normal(random);
      for (float& value : values[p]) value = normal(random);
      cache.Write(1, 1, 2, p, keys[p], values[p]);
    }
    const KvCodec codec(GetParam(), D);
    std::vector<float> scratch(cache.scratch_size());
    std::vector<float> key(D);
    std::vector<float> value(D);
    std::vector<std::byte> elements(codec.row_bytes());
    std::vector<std::byte> scales(codec.row_scales());
    const auto rounded = [&](std::vector<float> row) {
      codec.Encode(row, 0, elements, scales);
      codec.Decode(elements, scales, 0, row);
      return row;
    };
    for (int64_t p = 0; p < kPositions; ++p) {
      const auto expected_key = rounded(keys[p]);
      const auto expected_value = rounded(values[p]);
      cache.Read(1, 1, 2, p, key, value);
      EXPECT_EQ(key, expected_key);
      EXPECT_EQ(value, expected_value);
      const float* block = cache.KeyBlock(1, 1, 2, p / 16, scratch.data());
      for (int64_t d = 0; d < D; ++d) ASSERT_EQ(block[d * 16 + p % 16], expected_key[d]);
      block = cache.ValueBlock(1, 1, 2, p / 16, scratch.data());
      for (int64_t d = 0; d < D; ++d) {
        ASSERT_EQ(block[(d / 16 * 16 + p % 16) * 16 + d % 16], expected_value[d]);
      }
    }
    // Another cache of the format takes what this one gives, bit by bit.
    cache.Read(1, 1, 2, 5, key, value);
    cache.Write(0, 0, 0, 0, key, value);
    std::vector<float> again(D);
    cache.Read(0, 0, 0, 0, again, value);
    EXPECT_EQ(again, key);
  }
}

TEST_P(KvCacheTest, TellsBlocksThatMayHoldNonFiniteValues) {
  constexpr int64_t D = 8;
  constexpr int kColumns = 16;
  auto cache = *KvCache::Create({.num_layers = 2,
                                 .num_sequences = 2,
                                 .num_kv_heads = 2,
                                 .ctx_len = 40,
                                 .head_dim = D,
                                 .block_columns = kColumns,
                                 .format = GetParam()});
  const std::vector<float> ones(D, 1.0f);
  const auto write = [&](int64_t position, float last) {
    std::vector<float> value = ones;
    value.back() = last;
    cache.Write(1, 1, 1, position, ones, value);
    return cache.HasNonFiniteValues(1, 1, 1, position / kColumns);
  };
  EXPECT_FALSE(write(0, 1.0f));
  EXPECT_TRUE(write(1, std::numeric_limits<float>::quiet_NaN()));
  EXPECT_TRUE(write(2, 1.0f)) << "until the block begins anew";
  EXPECT_FALSE(write(kColumns, 1.0f));
  EXPECT_TRUE(write(kColumns + 1, -std::numeric_limits<float>::infinity()));
  EXPECT_FALSE(write(0, 1.0f));
  // The largest float rounds to an infinity in bfloat16 alone.
  const bool overflows = GetParam() == KvFormat::kBFloat16;
  EXPECT_EQ(write(1, std::numeric_limits<float>::max()), overflows);
  std::vector<float> key(D);
  std::vector<float> value(D);
  cache.Read(1, 1, 1, 1, key, value);
  EXPECT_EQ(std::isfinite(value.back()), !overflows);
  EXPECT_FALSE(cache.HasNonFiniteValues(0, 1, 1, 0) || cache.HasNonFiniteValues(1, 0, 1, 0) ||
               cache.HasNonFiniteValues(1, 1, 0, 0));
}

INSTANTIATE_TEST_SUITE_P(Formats, KvCacheTest,
                         testing::Values(KvFormat::kFloat32, KvFormat::kBFloat16,
                                         KvFormat::kMxInt8));

}  // namespace
}  // namespace expertile::cpu
