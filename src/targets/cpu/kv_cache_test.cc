#include "targets/cpu/kv_cache.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace expertile::cpu {
namespace {

class KvCacheTest : public testing::TestWithParam<KvFormat> {};

// What the cache holds is what its format makes of each row, wherever and however it is read.
TEST_P(KvCacheTest, BlocksAndRowsHoldTheEncodedValues) {
  constexpr int64_t kPositions = kKvBlockSize + 37;
  for (const int64_t D : {8, 24, 32, 40, 128}) {
    auto cache = *KvCache::Create({.num_blocks = 4,
                                   .num_kv_heads = 3,
                                   .head_dim = D,
                                   .panel_columns = 16,
                                   .format = GetParam()});
    const std::vector<int32_t> blocks = {3, 1};  // of a sequence
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<std::vector<float>> keys(kPositions, std::vector<float>(D));
    auto values = keys;
    for (int64_t p = 0; p < kPositions; ++p) {
      for (float& value : keys[p]) value = normal(random);
      for (float& value : values[p]) value = normal(random);
      cache.Write(blocks, 2, p, keys[p], values[p]);
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
      cache.Read(blocks, 2, p, key, value);
      EXPECT_EQ(key, expected_key);
      EXPECT_EQ(value, expected_value);
      const float* block = cache.KeyPanel(blocks, 2, p / 16, scratch.data());
      for (int64_t d = 0; d < D; ++d) ASSERT_EQ(block[d * 16 + p % 16], expected_key[d]);
      block = cache.ValuePanels(blocks, 2, p / 16, scratch.data());
      for (int64_t d = 0; d < D; ++d) {
        ASSERT_EQ(block[(d / 16 * 16 + p % 16) * 16 + d % 16], expected_value[d]);
      }
    }
    // Another cache of the format takes what this one gives, bit by bit.
    const std::vector<int32_t> other = {0};
    cache.Read(blocks, 2, 5, key, value);
    cache.Write(other, 0, 0, key, value);
    std::vector<float> again(D);
    cache.Read(other, 0, 0, again, value);
    EXPECT_EQ(again, key);
    // A copied block holds the same.
    cache.CopyBlock(3, 2);
    const std::vector<int32_t> copied = {2};
    cache.Read(copied, 2, 5, again, value);
    EXPECT_EQ(again, key);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, KvCacheTest,
                         testing::Values(KvFormat::kFloat32, KvFormat::kBFloat16,
                                         KvFormat::kMxInt8));

}  // namespace
}  // namespace expertile::cpu
