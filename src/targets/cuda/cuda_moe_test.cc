// The MoE block on the device against its definition in double on the same bfloat16 inputs: shapes
// at the edges and random ones. Skipped without a device.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "formats/mxfp4.h"
#include "targets/cuda/cuda_ops.h"
#include "targets/cuda/weight_packing.h"
#include "tests/golden.h"
#include "tests/tolerances.h"

namespace expertile::cuda {
namespace {

// Whom tokens choose.
enum class Popularity { kEven, kSkewed, kOneForAll };

struct Case {
  int64_t T;
  int E;
  int K;
  int64_t H;
  int64_t I;
  Popularity popularity = Popularity::kEven;
  MoeBlocking blocking = {};
  bool is_mxfp4 = false;  // H and I are multiples of 32 then
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << "T " << c.T << ", E " << c.E << ", K " << c.K << ", H " << c.H << ", I " << c.I
       << ", popularity " << static_cast<int>(c.popularity) << ", num_nsp " << c.blocking.num_nsp
       << ", chunk " << c.blocking.packed_chunk_size << (c.is_mxfp4 ? ", MXFP4" : "");
}

// Values that bfloat16 has, of about `scale`.
std::vector<uint16_t> RandomValues(int64_t count, float scale, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<uint16_t> values(count);
  for (uint16_t& value : values) value = FloatToBFloat16(normal(random));
  return values;
}

// [rows, cols], whose values are bfloat16's; with `scales` they are kept as MXFP4.
struct Matrix {
  int64_t rows;
  int64_t cols;
  std::vector<uint16_t> values = {};
  std::vector<std::byte> codes = {};
  std::vector<std::byte> scales = {};

  LinearView View() const {
    if (!scales.empty()) {
      return {{DType::kU8, codes.data(), rows, cols, cols, 1, scales.data()}, {}};
    }
    return {{DType::kBF16, reinterpret_cast<const std::byte*>(values.data()), rows, cols, cols, 1,
             nullptr},
            {}};
  }
};

// Blocks whose scales suit `size`, and a few that are as small as can be, or at and above the limit
// from which the device expands in two steps.
Matrix RandomMxfp4(int64_t rows, int64_t cols, float size, std::mt19937& random) {
  Matrix matrix{rows, cols};
  const int usual = 127 + static_cast<int>(std::floor(std::log2(size / 3.0f)));
  constexpr std::array kUnusual = {0, 1, 126, 127, 128, 129, 130};
  for (int64_t block = 0; block < rows * cols / kMxBlockSize; ++block) {
    const auto scale =
        static_cast<uint8_t>(random() % 64 == 0 ? kUnusual[random() % kUnusual.size()]
                                                : usual + static_cast<int>(random() % 3) - 1);
    std::array<std::byte, kMxfp4BlockBytes> codes;
    for (std::byte& code : codes) code = static_cast<std::byte>(random());
    std::array<float, kMxBlockSize> values;
    DecodeMxfp4Block(codes, scale, values);
    matrix.codes.insert(matrix.codes.end(), codes.begin(), codes.end());
    matrix.scales.push_back(std::byte{scale});
    for (const float value : values) matrix.values.push_back(FloatToBFloat16(value));
  }
  return matrix;
}

struct Expert {
  Matrix gate;  // [I,H]
  Matrix up;    // [I,H]
  Matrix down;  // [H,I]
};

double Dot(const uint16_t* a, std::span<const double> b) {
  double sum = 0.0;
  for (size_t i = 0; i < b.size(); ++i) sum += static_cast<double>(BFloat16ToFloat(a[i])) * b[i];
  return sum;
}

class Layer {
 public:
  explicit Layer(const Case& c) : case_(c), random_(static_cast<uint32_t>(c.T * 31 + c.E)) {
    const float scale = 1.0f / std::sqrt(static_cast<float>(c.H));
    for (int e = 0; e < c.E; ++e) {
      const auto matrix = [&](int64_t rows, int64_t cols) {
        return c.is_mxfp4 ? RandomMxfp4(rows, cols, scale, random_)
                          : Matrix{rows, cols, RandomValues(rows * cols, scale, random_)};
      };
      Matrix gate = matrix(c.I, c.H);
      Matrix up = matrix(c.I, c.H);
      experts_.push_back({std::move(gate), std::move(up), matrix(c.H, c.I)});
    }
    x_ = RandomValues(c.T * c.H, 1.0f, random_);
    std::uniform_real_distribution<float> uniform;
    for (int64_t a = 0; a < c.T * c.E; ++a) {
      const auto e = static_cast<int>(a % c.E);
      float logit = 3.0f * uniform(random_);
      if (c.popularity == Popularity::kSkewed) logit -= 0.5f * static_cast<float>(e);
      if (c.popularity == Popularity::kOneForAll && e == c.E / 2) logit = 20.0f;
      logits_.push_back(logit);
    }
  }

  Result<std::vector<float>> OnDevice() { return OnDevice(case_.T); }
  // Of the first T tokens.
  Result<std::vector<float>> OnDevice(int64_t T) {
    const auto store = std::make_shared<DeviceStore>();
    EXPERTILE_RETURN_IF_ERROR(Pack(*store));
    DeviceWeights weights(store);
    DeviceExperts experts;
    const Weight weight{"experts", "", WeightRole::kExperts, case_.I, case_.H, false, case_.E};
    EXPERTILE_RETURN_IF_ERROR(TileOpener(weights).Open(weight, experts));
    DecoderSpec spec;
    spec.hidden_size = case_.H;
    spec.moe.num_experts = case_.E;
    spec.moe.intermediate_size = case_.I;
    spec.moe.router.experts_per_token = case_.K;
    spec.moe.router.normalize = true;
    EXPERTILE_ASSIGN(const DeviceProperties device, FindDevice());
    TargetOptions options;
    options.blocking = case_.blocking;
    options.max_step_tokens = T;
    EXPERTILE_ASSIGN(CudaOps ops, CudaOps::Create(spec, {options, device, case_.is_mxfp4}));
    EXPERTILE_RETURN_IF_ERROR(ops.Begin(Step()));
    std::vector<float> floats;
    for (int64_t i = 0; i < T * case_.H; ++i) floats.push_back(BFloat16ToFloat(x_[i]));
    const Tensor x = ops.FromHost(floats, case_.H);
    const Tensor logits = ops.FromHost(std::span(logits_).first(T * case_.E), case_.E);
    const auto routing =
        ops.ChooseExperts(logits.floats(), logits.stride, T, case_.E, spec.moe.router);
    std::vector<float> y(floats.size());
    EXPERTILE_RETURN_IF_ERROR(ops.Fetch(ops.Moe(x, routing, experts, spec.moe.gated), y));
    return y;
  }

  std::vector<float> ByDefinition() const {
    std::vector<float> y(x_.size());
    for (int64_t t = 0; t < case_.T; ++t) AddToken(t, y.data() + t * case_.H);
    return y;
  }

 private:
  Status Pack(DeviceStore& store) const {
    std::vector<MlpView> views;
    for (const Expert& expert : experts_) {
      views.push_back({expert.gate.View(), expert.up.View(), expert.down.View()});
    }
    WorkerPool pool(2);
    EXPERTILE_RETURN_IF_ERROR(TilePacker(pool, store).Pack("experts", views, WeightRole::kExperts));
    return store.Finish();
  }

  void AddToken(int64_t t, float* y) const {
    const float* logits = logits_.data() + t * case_.E;
    std::vector<int> order(case_.E);
    std::iota(order.begin(), order.end(), 0);
    std::ranges::partial_sort(order, order.begin() + case_.K, std::greater<>(),
                              [&](int e) { return logits[e]; });
    double sum = 0.0;
    for (int k = 0; k < case_.K; ++k) sum += std::exp(logits[order[k]] - logits[order[0]]);
    std::vector<double> x;
    for (int64_t h = 0; h < case_.H; ++h) x.push_back(BFloat16ToFloat(x_[t * case_.H + h]));
    std::vector<double> out(case_.H, 0.0);
    for (int k = 0; k < case_.K; ++k) {
      const Expert& expert = experts_[order[k]];
      std::vector<double> activated;
      for (int64_t i = 0; i < case_.I; ++i) {
        const double gate = Dot(expert.gate.values.data() + i * case_.H, x);
        activated.push_back(gate / (1.0 + std::exp(-gate)) *
                            Dot(expert.up.values.data() + i * case_.H, x));
      }
      const double weight = std::exp(logits[order[k]] - logits[order[0]]) / sum;
      for (int64_t h = 0; h < case_.H; ++h) {
        out[h] += weight * Dot(expert.down.values.data() + h * case_.I, activated);
      }
    }
    for (int64_t h = 0; h < case_.H; ++h) y[h] = static_cast<float>(out[h]);
  }

  Case case_;
  std::mt19937 random_;
  std::vector<Expert> experts_;
  std::vector<uint16_t> x_;    // [T,H]
  std::vector<float> logits_;  // [T,E]
};

class CudaMoeTest : public testing::TestWithParam<Case> {};

TEST_P(CudaMoeTest, IsItsDefinition) {
  if (const auto device = FindDevice(); !device) GTEST_SKIP() << device.error().message;
  Layer layer(GetParam());
  const auto y = layer.OnDevice();
  ASSERT_TRUE(y) << y.error().message;
  EXPECT_LE(RelativeL2(*y, layer.ByDefinition()), tolerances::kBFloat16MoeRelativeL2);
}

// From tiles of single warps to the largest.
TEST(CudaMoe, BitsDoNotDependOnHowManyTokensThereAre) {
  if (const auto device = FindDevice(); !device) GTEST_SKIP() << device.error().message;
  Layer layer({1000, 4, 2, 328, 264, Popularity::kSkewed});
  const auto all = layer.OnDevice();
  ASSERT_TRUE(all) << all.error().message;
  for (const int64_t T : {1, 9, 60, 130, 300, 700}) {
    const auto some = layer.OnDevice(T);
    ASSERT_TRUE(some) << some.error().message;
    EXPECT_TRUE(std::ranges::equal(*some, std::span(*all).first(some->size()))) << T;
  }
}

// Few rows are another kernel's.
TEST_P(CudaMoeTest, ATokensBitsDoNotDependOnOthers) {
  if (const auto device = FindDevice(); !device) GTEST_SKIP() << device.error().message;
  Layer layer(GetParam());
  const auto all = layer.OnDevice();
  ASSERT_TRUE(all) << all.error().message;
  const auto few = layer.OnDevice(std::min<int64_t>(GetParam().T, 2));
  ASSERT_TRUE(few) << few.error().message;
  EXPECT_TRUE(std::ranges::equal(*few, std::span(*all).first(few->size())));
}

std::vector<Case> Edges() {
  using enum Popularity;
  return {{1, 1, 1, 64, 64},                            // one of everything
          {200, 1, 1, 128, 64},                         // E = 1
          {77, 6, 6, 64, 32},                           // K = E
          {1, 16, 4, 192, 96},                          // gathered
          {300, 8, 1, 128, 64, kOneForAll},             // all tokens on one expert
          {300, 8, 3, 128, 64, kOneForAll, {3, 64}},    // of K
          {5, 64, 2, 64, 64},                           // most experts are empty
          {5, 64, 2, 64, 64, kEven, {64, 1}},           // an NSP for each, of single rows
          {63, 4, 2, 72, 40},                           // no size a multiple of a tile's
          {65, 4, 2, 200, 56, kSkewed, {2, 7}},         // a row more than a tile
          {129, 5, 2, 64, 8, kSkewed, {5, 256}},        // the same of the large tile
          {63, 4, 2, 76, 42},                           // no size a multiple of 8
          {700, 3, 2, 300, 42, kSkewed, {2, 200}},      // the same of many rows
          {257, 3, 2, 320, 264, kSkewed, {1, 100000}},  // a chunk longer than all
          // Many rows an expert.
          {515, 2, 1, 72, 40},                       // a row more than whole tiles
          {640, 2, 2, 136, 264, kSkewed},            // of 640 rows, and of all
          {300, 2, 1, 64, 64, kEven, {2, 5}},        // chunks of five
          {900, 4, 2, 264, 520, kSkewed, {3, 333}},  // NSPs, chunks that are no whole tiles
          {1030, 3, 1, 8, 8, kOneForAll, {1, 0}},    // one step a tile
          {1500, 2, 2, 264, 880},                    // more tiles than multiprocessors
          {2100, 70, 2, 16, 8, kSkewed},             // more words of marks than a block counts
          {40, 300, 2, 8, 8},                        // more experts than a block's threads
          // Rows that are packed before gate and up (PacksRows).
          {900, 2, 1, 72, 1032},
          {1100, 2, 2, 840, 1024, kSkewed, {2, 500}}};
}

std::vector<Case> Mxfp4() {
  using enum Popularity;
  std::vector<Case> cases = {{1, 1, 1, 64, 64},                           // one of everything
                             {1, 16, 4, 192, 96},                         // gathered
                             {5, 64, 2, 64, 64},                          // most experts are empty
                             {40, 1, 1, 32, 32},                          // half of 64 of the depth
                             {200, 1, 1, 416, 352},                       // more than one tile
                             {300, 8, 1, 128, 64, kOneForAll},            // more rows than a tile's
                             {300, 8, 3, 128, 64, kOneForAll, {3, 64}},   // chunks
                             {700, 3, 2, 160, 96, kSkewed},               // tiles of even rows
                             {1200, 4, 2, 704, 320, kSkewed, {2, 1000}},  // many steps
                             {513, 2, 1, 96, 32, kEven, {1, 256}},
                             {600, 4, 2, 96, 544, kSkewed},  // packed before gate and up
                             {520, 3, 2, 832, 512, kEven, {3, 256}}};
  for (const int64_t T : {15, 16, 17, 33, 64, 97, 128, 129, 255, 256, 257}) {
    cases.push_back({T, 1, 1, 64, 96});  // every number of rows that a step multiplies, or nearly
  }
  for (Case& c : cases) c.is_mxfp4 = true;
  return cases;
}

std::vector<Case> Random() {
  std::mt19937 random(5);
  const auto below = [&](int64_t bound) { return static_cast<int64_t>(random() % bound); };
  std::vector<Case> cases;
  for (int i = 0; i < 16; ++i) {
    const auto E = static_cast<int>(1 + below(24));
    const auto K = static_cast<int>(1 + below(std::min(E, 8)));
    const auto N = static_cast<int>(below(E + 1));
    cases.push_back({1 + below(i % 4 == 0 ? 700 : 90),
                     E,
                     K,
                     8 * (1 + below(40)),
                     8 * (1 + below(30)),
                     static_cast<Popularity>(below(3)),
                     {N, 1 + below(130)}});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Edges, CudaMoeTest, testing::ValuesIn(Edges()));
INSTANTIATE_TEST_SUITE_P(Mxfp4, CudaMoeTest, testing::ValuesIn(Mxfp4()));
INSTANTIATE_TEST_SUITE_P(Random, CudaMoeTest, testing::ValuesIn(Random()));

}  // namespace
}  // namespace expertile::cuda
