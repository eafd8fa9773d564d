#include "targets/cpu/kv_cache.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "targets/cpu/gemm.h"
#include "targets/cpu/isa.h"

namespace expertile::cpu {
namespace {

class KvCacheTest : public testing::TestWithParam<KvFormat> {
 protected:
  static std::vector<std::vector<float>> RandomRows(int64_t n, int64_t D, int seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<std::vector<float>> rows(n, std::vector<float>(D));
    for (auto& row : rows) {
      for (float& value : row) value = normal(random);
    }
    return rows;
  }
  // A row as the format holds it.
  static std::vector<float> Held(std::vector<float> row) {
    const KvCodec codec(GetParam(), static_cast<int64_t>(row.size()));
    std::vector<std::byte> elements(codec.row_bytes());
    std::vector<std::byte> scales(codec.row_scales());
    codec.Encode(row, 0, elements, scales);
    codec.Decode(elements, scales, 0, row);
    return row;
  }
  static KvCache CacheOf(int64_t D, int columns) {
    return *KvCache::Create({.num_blocks = 4,
                             .num_kv_heads = 3,
                             .head_dim = D,
                             .panel_columns = columns,
                             .format = GetParam()});
  }
};

// What the cache holds is what its format makes of each row, whatever the width and the panels.
TEST_P(KvCacheTest, ReadsTheEncodedValues) {
  constexpr int64_t kPositions = kKvBlockSize + 37;
  const std::vector<int32_t> blocks = {3, 1};  // of a sequence
  for (const int columns : {16, 32}) {
    for (const int64_t D : {2, 8, 24, 32, 40, 66, 128}) {
      KvCache cache = CacheOf(D, columns);
      const auto keys = RandomRows(kPositions, D, 1);
      const auto values = RandomRows(kPositions, D, 2);
      for (int64_t p = 0; p < kPositions; ++p) cache.Write(blocks, 2, p, keys[p], values[p]);
      std::vector<float> key(D);
      std::vector<float> value(D);
      for (int64_t p = 0; p < kPositions; ++p) {
        cache.Read(blocks, 2, p, key, value);
        EXPECT_EQ(key, Held(keys[p]));
        EXPECT_EQ(value, Held(values[p]));
      }
      // Another cache of the format takes what this one gives, bit by bit.
      const std::vector<int32_t> other = {0};
      std::vector<float> again(D);
      cache.Read(blocks, 2, 5, key, value);
      cache.Write(other, 0, 0, key, value);
      cache.Read(other, 0, 0, again, value);
      EXPECT_EQ(again, key);
      // A copied block holds the same.
      cache.CopyBlock(3, 2);
      const std::vector<int32_t> copied = {2};
      cache.Read(copied, 2, 5, again, value);
      EXPECT_EQ(again, key);
    }
  }
}

// A panel of n k-values as [n][NR] floats.
std::vector<float> Floats(const std::byte* panel, int64_t n, int columns, bool is_pairs) {
  std::vector<float> floats(n * columns);
  for (int64_t i = 0; i < n * columns; ++i) {
    const int64_t k = i / columns;
    if (is_pairs) {
      uint16_t bits = 0;
      std::memcpy(&bits, panel + 2 * ((k / 2 * columns + i % columns) * 2 + k % 2), sizeof(bits));
      floats[i] = BFloat16ToFloat(bits);
    } else {
      std::memcpy(&floats[i], panel + i * 4, sizeof(float));
    }
  }
  return floats;
}

// The panels are those that the tile kernels read; MXINT8 when an instruction set's kernel has
// expanded them, to either kind of panel.
TEST_P(KvCacheTest, PanelsHoldTheEncodedValues) {
  constexpr int64_t kPositions = kKvBlockSize + 37;
  const std::vector<int32_t> blocks = {3, 1};
  for (const Isa isa : SupportedIsas()) {
    const KernelTable& table = KernelsFor(isa);
    const int NR = table.panel_columns;
    for (const ComputeType type : {ComputeType::kFloat32, ComputeType::kBFloat16}) {
      const GemmKernels& kernels = table.gemm(type);
      const bool expands = GetParam() == KvFormat::kMxInt8;
      const bool is_pairs =
          expands ? kernels.float32[1] == nullptr : GetParam() == KvFormat::kBFloat16;
      for (const int64_t D : {2, 8, 24, 40, 66, 128}) {
        KvCache cache = CacheOf(D, NR);
        const auto keys = RandomRows(kPositions, D, 3);
        const auto values = RandomRows(kPositions, D, 4);
        for (int64_t p = 0; p < kPositions; ++p) cache.Write(blocks, 1, p, keys[p], values[p]);
        AlignedBuffer<std::byte> expanded((D + kKvBlockSize) * NR * 4);
        for (int64_t p = 0; p < kPositions; ++p) {
          const auto key = Held(keys[p]);
          const std::byte* panel = cache.KeyPanel(blocks, 1, p / NR);
          if (expands) {
            kernels.expand_mxint8_keys(panel, cache.KeyScales(blocks, 1, p / NR), D,
                                       expanded.data());
            panel = expanded.data();
          }
          const auto key_panel = Floats(panel, D, NR, is_pairs);
          for (int64_t d = 0; d < D; ++d) ASSERT_EQ(key_panel[d * NR + p % NR], key[d]);
        }
        for (int64_t n = 0; n < cache.num_value_panels(); ++n) {
          for (int64_t block = 0; block < 2; ++block) {
            const std::byte* panel = cache.ValuePanel(blocks, 1, block, n);
            if (expands) {
              kernels.expand_mxint8_values(panel, cache.ValueScales(blocks, 1, block, n),
                                           kKvBlockSize, expanded.data());
              panel = expanded.data();
            }
            const auto value_panel = Floats(panel, kKvBlockSize, NR, is_pairs);
            for (int64_t i = 0; i < kKvBlockSize * NR; ++i) {
              const int64_t p = block * kKvBlockSize + i / NR;
              const int64_t d = n * NR + i % NR;
              const float expected = p < kPositions && d < D ? Held(values[p])[d] : 0.0f;
              ASSERT_EQ(value_panel[i], expected) << NameOf(isa) << " D=" << D << " p=" << p;
            }
          }
        }
      }
    }
  }
}

TEST_P(KvCacheTest, TellsBlocksThatMayHoldNonFiniteValues) {
  constexpr int64_t D = 8;
  KvCache cache = CacheOf(D, 16);
  const std::vector<int32_t> blocks = {1, 3};
  const std::vector<int32_t> other = {0};
  const std::vector<int32_t> copied = {2};
  const std::vector<float> ones(D, 1.0f);
  const auto write = [&](int64_t position, float last) {
    std::vector<float> value = ones;
    value.back() = last;
    cache.Write(blocks, 1, position, ones, value);
    return cache.HasNonFiniteValues(blocks, 1, position / kKvBlockSize);
  };
  EXPECT_FALSE(write(0, 1.0f));
  EXPECT_TRUE(write(1, std::numeric_limits<float>::quiet_NaN()));
  EXPECT_TRUE(write(2, 1.0f)) << "until the block begins anew";
  EXPECT_FALSE(write(kKvBlockSize, 1.0f));
  EXPECT_TRUE(write(kKvBlockSize + 1, -std::numeric_limits<float>::infinity()));
  EXPECT_FALSE(write(0, 1.0f));
  // The largest float rounds to an infinity in bfloat16 alone.
  const bool overflows = GetParam() == KvFormat::kBFloat16;
  EXPECT_EQ(write(1, std::numeric_limits<float>::max()), overflows);
  std::vector<float> key(D);
  std::vector<float> value(D);
  cache.Read(blocks, 1, 1, key, value);
  EXPECT_EQ(std::isfinite(value.back()), !overflows);
  EXPECT_FALSE(cache.HasNonFiniteValues(other, 1, 0) || cache.HasNonFiniteValues(blocks, 0, 0));
  cache.CopyBlock(3, 2);
  EXPECT_TRUE(cache.HasNonFiniteValues(copied, 1, 0));
}

// Every code under the scales at either end: what the codec decodes, bit for bit.
TEST(Mxint8Kernels, ExpandEveryCode) {
  for (const Isa isa : SupportedIsas()) {
    const KernelTable& table = KernelsFor(isa);
    const int NR = table.panel_columns;
    constexpr int64_t kDepth = 256;
    std::vector<std::byte> codes(kDepth * NR);
    for (int64_t i = 0; i < kDepth * NR; ++i) codes[i] = static_cast<std::byte>(i / NR);
    for (const int scale : {0, 1, 6, 7, 127, 200, 254, 255}) {
      const std::vector<std::byte> scales(std::max<int64_t>(kDepth, kDepth / 32 * NR),
                                          static_cast<std::byte>(scale));
      AlignedBuffer<std::byte> keys(kDepth * NR * 4);
      AlignedBuffer<std::byte> values(kDepth * NR * 4);
      table.float32.expand_mxint8_keys(codes.data(), scales.data(), kDepth, keys.data());
      table.float32.expand_mxint8_values(codes.data(), scales.data(), kDepth, values.data());
      for (int64_t i = 0; i < kDepth * NR; ++i) {
        const auto code = static_cast<int8_t>(i / NR);
        const float expected =
            static_cast<float>(code) / 64.0f * E8M0ToFloat(static_cast<uint8_t>(scale));
        for (const std::byte* panel : {keys.data(), values.data()}) {
          float value = 0.0f;
          std::memcpy(&value, panel + 4 * i, sizeof(value));
          ASSERT_TRUE(value == expected || (std::isnan(value) && std::isnan(expected)))
              << NameOf(isa) << " code " << int{code} << " scale " << scale;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, KvCacheTest,
                         testing::Values(KvFormat::kFloat32, KvFormat::kBFloat16,
                                         KvFormat::kMxInt8));

}  // namespace
}  // namespace expertile::cpu
