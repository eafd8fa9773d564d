// The choice of experts, the index and the list of row tiles that the device makes, against
// SelectExperts and dispatch/. Skipped without a device.
#include "targets/cuda/kernels/routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "dispatch/chunk_plan.h"
#include "targets/cuda/device.h"
#include "targets/router.h"

namespace expertile::cuda {
namespace {

enum class Logits { kMixed, kEqual, kOneForAll };

struct Case {
  int64_t T;
  int E;
  int K;
  int num_nsp = 1;
  int64_t chunk = 0;  // 0: no limit
  int tile_rows = 128;
  bool has_even_tiles = false;
  RouterScore score = RouterScore::kSoftmaxThenTopK;
  Logits logits = Logits::kMixed;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << "T " << c.T << ", E " << c.E << ", K " << c.K << ", num_nsp " << c.num_nsp << ", chunk "
       << c.chunk << ", tile rows " << c.tile_rows << (c.has_even_tiles ? ", even" : "")
       << ", score " << static_cast<int>(c.score) << ", logits " << static_cast<int>(c.logits);
}

// Eighths, so that they are equal or far apart; some tokens have logits without a softmax.
std::vector<float> MakeLogits(const Case& c) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  std::mt19937 random(static_cast<uint32_t>(c.T * 7 + c.E));
  std::vector<float> logits(c.T * c.E);
  for (int64_t a = 0; a < c.T * c.E; ++a) {
    const auto e = static_cast<int>(a % c.E);
    logits[a] = static_cast<float>(static_cast<int>(random() % 65) - 32) / 8.0f;
    if (c.logits == Logits::kEqual) logits[a] = e % 2 == 0 ? 0.0f : -0.0f;
    if (c.logits == Logits::kOneForAll && e == c.E / 2) logits[a] = 20.0f;
  }
  if (c.logits != Logits::kMixed) return logits;
  for (int64_t t = 0; t < c.T; t += 3) {
    const auto e = static_cast<int64_t>(random() % c.E);
    const float values[] = {NAN, kInf, -kInf, -NAN};
    logits[t * c.E + e] = values[t / 3 % 4];
    if (t % 7 == 0) std::fill_n(&logits[t * c.E], c.E, t % 2 == 0 ? -kInf : NAN);
  }
  return logits;
}

// What the device made.
struct Made {
  std::vector<int32_t> ids;
  std::vector<float> weights;
  std::vector<int32_t> assignments;
  std::vector<int32_t> offsets;
  std::vector<RowTile> row_tiles;
  std::vector<int32_t> nsp_offsets;
  std::vector<int32_t> claims;
  std::vector<unsigned long long> nsp_rows;
};

// Device memory of vectors' sizes, filled with a value that is no answer.
class Arrays {
 public:
  template <typename T>
  T* New(int64_t count) {
    const int64_t num_bytes = std::max<int64_t>(count, 1) * static_cast<int64_t>(sizeof(T));
    auto memory = DeviceMemory::Allocate(num_bytes, "a test");
    EXPECT_TRUE(memory);
    EXPECT_EQ(cudaMemset(memory->data(), 0x5a, num_bytes), cudaSuccess);
    memory_.push_back(std::move(*memory));
    return memory_.back().As<T>();
  }
  template <typename T>
  static std::vector<T> Fetched(const T* data, int64_t count) {
    std::vector<T> values(count);
    EXPECT_EQ(cudaMemcpy(values.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost),
              cudaSuccess);
    return values;
  }

 private:
  std::vector<DeviceMemory> memory_;
};

// As a session does in prefill: few tokens are decode.
bool CountsRows(const Case& c) { return c.T > 8; }

Made OnDevice(const Case& c, const std::vector<float>& logits) {
  Arrays arrays;
  auto* given = arrays.New<float>(c.T * c.E);
  EXPECT_EQ(cudaMemcpy(given, logits.data(), logits.size() * sizeof(float), cudaMemcpyHostToDevice),
            cudaSuccess);
  const RouteArgs route{.logits = given,
                        .logits_stride = c.E,
                        .num_tokens = c.T,
                        .num_experts = c.E,
                        .experts_per_token = c.K,
                        .score = c.score,
                        .normalize = true,
                        .ids = arrays.New<int32_t>(c.T * c.K),
                        .weights = arrays.New<float>(c.T * c.K)};
  const int64_t marks = NumTokenBlocks(c.T) * c.E;
  const int64_t most_tiles = MaxRowTiles(c.T * c.K, c.E, c.chunk, c.tile_rows);
  const PlanArgs plan{
      .num_nsp = c.num_nsp,
      .packed_chunk_size = c.chunk,
      .tile_rows = c.tile_rows,
      .has_even_tiles = c.has_even_tiles,
      .marks = arrays.New<uint32_t>(marks),
      .before = arrays.New<int32_t>(marks),
      .counts = arrays.New<int32_t>(c.E),
      .assignments = arrays.New<int32_t>(c.T * c.K),
      .offsets = arrays.New<int32_t>(c.E + 1),
      .row_tiles = arrays.New<RowTile>(most_tiles),
      .nsp_offsets = arrays.New<int32_t>(c.num_nsp + 1),
      .claims = arrays.New<int32_t>(2 * c.num_nsp),
      .nsp_rows = CountsRows(c) ? arrays.New<unsigned long long>(c.num_nsp) : nullptr};
  if (CountsRows(c)) {
    EXPECT_EQ(cudaMemset(plan.nsp_rows, 0, c.num_nsp * sizeof(*plan.nsp_rows)), cudaSuccess);
  }
  EXPECT_EQ(LaunchRouting(route, plan, nullptr), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  Made made{Arrays::Fetched(route.ids, c.T * c.K),
            Arrays::Fetched(route.weights, c.T * c.K),
            Arrays::Fetched(plan.assignments, c.T * c.K),
            Arrays::Fetched(plan.offsets, c.E + 1),
            {},
            Arrays::Fetched(plan.nsp_offsets, c.num_nsp + 1),
            Arrays::Fetched(plan.claims, 2 * c.num_nsp),
            {}};
  if (CountsRows(c)) made.nsp_rows = Arrays::Fetched(plan.nsp_rows, c.num_nsp);
  EXPECT_LE(made.nsp_offsets.back(), most_tiles);
  made.row_tiles =
      Arrays::Fetched(plan.row_tiles, std::min<int64_t>(made.nsp_offsets.back(), most_tiles));
  return made;
}

void ExpectChoice(const Case& c, std::vector<float> logits, const Made& made) {
  const RouterSpec spec{.experts_per_token = c.K, .score = c.score, .normalize = true};
  std::vector<int32_t> ids(c.K);
  std::vector<float> weights(c.K);
  for (int64_t t = 0; t < c.T; ++t) {
    SelectExperts(std::span(logits).subspan(t * c.E, c.E), spec, ids, weights);
    for (int k = 0; k < c.K; ++k) {
      ASSERT_EQ(made.ids[t * c.K + k], ids[k]) << "token " << t << ", choice " << k;
      const float weight = made.weights[t * c.K + k];
      ASSERT_EQ(std::isnan(weight), std::isnan(weights[k])) << t;
      if (!std::isnan(weight)) {
        ASSERT_NEAR(weight, weights[k], 1e-5f) << t;
      }
    }
  }
}

// A chunk's rows lie in tiles of at most tile_rows rows one after another, and so do those in
// tiles, each chunk's from a multiple of 8 on.
void ExpectTiles(const Case& c, const MatchedIndex& matched, const Made& made) {
  const auto placement = Placement::Create(c.E, c.num_nsp);
  ASSERT_TRUE(placement);
  ChunkPlan chunks;
  BuildChunkPlan(matched, *placement, c.chunk == 0 ? c.T : c.chunk, chunks);
  std::vector<std::pair<int, int>> stored;
  size_t tile = 0;
  for (int n = 0; n < c.num_nsp; ++n) {
    EXPECT_EQ(made.nsp_offsets[n], static_cast<int>(tile));
    unsigned long long rows = 0;
    for (int i = chunks.nsp_offsets[n]; i < chunks.nsp_offsets[n + 1]; ++i) {
      const Chunk& chunk = chunks.chunks[i];
      const int count = chunk.end - chunk.begin;
      for (int tiles = (count + c.tile_rows - 1) / c.tile_rows, begin = chunk.begin; tiles > 0;
           --tiles, ++tile) {
        ASSERT_LT(tile, made.row_tiles.size());
        const RowTile& made_tile = made.row_tiles[tile];
        EXPECT_EQ(made_tile.expert, chunk.expert);
        ASSERT_EQ(made_tile.begin, begin);
        ASSERT_GT(made_tile.end, begin);
        EXPECT_LE(made_tile.end - begin, c.tile_rows);
        EXPECT_EQ(made_tile.stored % 8, 0);
        stored.emplace_back(made_tile.stored, made_tile.end - begin);
        begin = made_tile.end;
        if (tiles == 1) {
          EXPECT_EQ(made_tile.end, chunk.end);
        }
      }
      rows += count;
    }
    if (CountsRows(c)) {
      EXPECT_EQ(made.nsp_rows[n], rows);
    }
  }
  EXPECT_EQ(made.row_tiles.size(), tile);
  std::ranges::sort(stored);
  int end = 0;
  for (const auto& [begin, count] : stored) {
    EXPECT_GE(begin, end);
    end = begin + count;
  }
  EXPECT_LE(end, MaxStoredRows(c.T * c.K, c.E, c.chunk));
}

class CudaRoutingTest : public testing::TestWithParam<Case> {};

TEST_P(CudaRoutingTest, IsTheHosts) {
  if (const auto device = FindDevice(); !device) GTEST_SKIP() << device.error().message;
  const Case& c = GetParam();
  const std::vector<float> logits = MakeLogits(c);
  const Made made = OnDevice(c, logits);
  ExpectChoice(c, logits, made);
  if (HasFatalFailure()) return;
  MatchedIndex matched;
  BuildMatchedIndex({c.T, c.K, made.ids}, c.E, matched);
  EXPECT_EQ(made.offsets, matched.offsets);
  EXPECT_EQ(made.assignments, matched.assignments);
  EXPECT_TRUE(std::ranges::all_of(made.claims, [](int32_t claim) { return claim == 0; }));
  ExpectTiles(c, matched, made);
}

// Each number of tokens from which on another kernel does it, and one more and fewer.
std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const int64_t T : {1, 7, 8, 9, 31, 32, 33, 100, 2047, 2048, 2049, 5000}) {
    for (const int E : {1, 5, 40, 128}) {
      cases.push_back({T, E, std::min(E, 8)});
      cases.push_back(
          {T, E, E == 40 ? 40 : 1, std::min(E, 3), 50, 64, true, RouterScore::kTopKThenSoftmax});
    }
  }
  for (const int64_t T : {3, 33, 2100}) {
    cases.push_back({T, 1024, 6, 1024, 1});
    cases.push_back({T, 300, 300 / 4, 7, 9, 8});
    cases.push_back({T, 256, 2, 255, 16});
    cases.push_back({T, 64, 4, 1, 0, 128, false, RouterScore::kTopKThenSoftmax, Logits::kEqual});
    cases.push_back(
        {T, 64, 4, 5, 100, 64, false, RouterScore::kSoftmaxThenTopK, Logits::kOneForAll});
  }
  cases.push_back({40, 520, 512});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Shapes, CudaRoutingTest, testing::ValuesIn(Cases()));

}  // namespace
}  // namespace expertile::cuda
