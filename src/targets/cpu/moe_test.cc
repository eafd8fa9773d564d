#include "targets/cpu/moe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>
#include <vector>

#include "targets/cpu/plain_product.h"
#include "targets/cpu/tables_here.h"
#include "targets/target.h"
#include "tests/sanitized.h"

namespace expertile::cpu {
namespace {

// Experts with biases are of GPT-OSS's kind.
GatedMlpSpec MlpOf(const ExpertsShape& shape) {
  if (!shape.has_bias) return {};
  return {GatedActivation::kClampedSwiGlu, 7.0f, 1.702f};
}

struct Layer {
  ExpertsShape shape;
  int experts_per_token;
  std::vector<PlainMatrix> gate, up, down;                        // by expert
  std::vector<std::vector<float>> gate_bias, up_bias, down_bias;  // by expert

  Layer(const ExpertsShape& experts, int k) : shape(experts), experts_per_token(k) {
    for (int e = 0; e < shape.num_experts; ++e) {
      const uint64_t seed = 100 + 10 * static_cast<uint64_t>(e);
      gate.push_back(Rounded(RandomMatrix(shape.intermediate_size, shape.hidden_size, seed, 0.2f)));
      up.push_back(
          Rounded(RandomMatrix(shape.intermediate_size, shape.hidden_size, seed + 1, 0.2f)));
      down.push_back(
          Rounded(RandomMatrix(shape.hidden_size, shape.intermediate_size, seed + 2, 0.2f)));
      const int64_t has_bias = shape.has_bias ? 1 : 0;
      gate_bias.push_back(RandomMatrix(has_bias, shape.intermediate_size, seed + 3).values);
      up_bias.push_back(RandomMatrix(has_bias, shape.intermediate_size, seed + 4).values);
      down_bias.push_back(RandomMatrix(has_bias, shape.hidden_size, seed + 5).values);
    }
  }

  PackedExperts Pack(const KernelTable& table, WeightFormat format) const {
    ExpertsShape packed_shape = shape;
    packed_shape.format = format;
    PackedExperts experts = *PackedExperts::Create(table, packed_shape);
    for (int e = 0; e < shape.num_experts; ++e) {
      const auto i = static_cast<size_t>(e);
      experts.Pack(e, {gate[i], up[i], down[i]});
      experts.PackBias(e, {gate_bias[i], up_bias[i], down_bias[i]});
    }
    return experts;
  }
};

struct Tokens {
  PlainMatrix x;               // [T, H]
  std::vector<int32_t> ids;    // [T, K]
  std::vector<float> weights;  // [T, K]
};

// Token t chooses K neighbouring experts; small experts are chosen more often.
Tokens RandomTokens(const Layer& layer, int64_t num_tokens) {
  Tokens tokens = {RandomMatrix(num_tokens, layer.shape.hidden_size, 7), {}, {}};
  std::mt19937_64 random(5);
  for (int64_t t = 0; t < num_tokens; ++t) {
    const int limit =
        static_cast<int>(random() % static_cast<uint64_t>(layer.shape.num_experts)) + 1;
    const int first = static_cast<int>(random() % static_cast<uint64_t>(limit));
    for (int k = 0; k < layer.experts_per_token; ++k) {
      tokens.ids.push_back((first + k) % layer.shape.num_experts);
      tokens.weights.push_back(0.1f + 0.2f * static_cast<float>(k));
    }
  }
  return tokens;
}

std::vector<float> RunMoe(const KernelTable& table, ComputeType type, const PackedExperts& experts,
                          const Tokens& tokens, MoeBlocking blocking, int num_workers,
                          MoeStats* stats = nullptr) {
  const int64_t num_tokens = tokens.x.rows;
  const int k = static_cast<int>(static_cast<int64_t>(tokens.ids.size()) / num_tokens);
  WorkerPool pool(num_workers);
  auto block = MoeBlock::Create(
      table, type,
      {num_tokens, k, tokens.x.columns, experts.shape().intermediate_size,
       blocking.packed_chunk_size},
      *Placement::CreateIfBlocked(experts.shape().num_experts, blocking.num_nsp), num_workers);
  EXPECT_TRUE(block.has_value());
  std::vector<float> out(tokens.x.values.size(), std::numeric_limits<float>::quiet_NaN());
  const Status status =
      block->Run({tokens.x.values.data(), tokens.ids, tokens.weights, num_tokens, k}, experts,
                 MlpOf(experts.shape()), pool, out.data(), stats);
  EXPECT_TRUE(status.has_value()) << status.error().message;
  return out;
}

// The definition, in double precision after each product.
std::vector<double> PlainMoe(const Layer& layer, const Tokens& tokens) {
  const int64_t hidden = layer.shape.hidden_size;
  std::vector<double> out(tokens.x.values.size(), 0.0);
  for (size_t i = 0; i < tokens.ids.size(); ++i) {
    if (tokens.ids[i] < 0) continue;
    const auto e = static_cast<size_t>(tokens.ids[i]);
    const int64_t t = static_cast<int64_t>(i) / layer.experts_per_token;
    const PlainMatrix x = {1, hidden, {tokens.x.Row(t), tokens.x.Row(t) + hidden}};
    const PlainMatrix gate = FusedProduct(x, layer.gate[e], layer.gate_bias[e]);
    const PlainMatrix up = FusedProduct(x, layer.up[e], layer.up_bias[e]);
    PlainMatrix activated = gate;
    for (size_t j = 0; j < activated.values.size(); ++j) {
      activated.values[j] =
          static_cast<float>(PlainGated(gate.values[j], up.values[j], MlpOf(layer.shape)));
    }
    const PlainMatrix y = FusedProduct(activated, layer.down[e], layer.down_bias[e]);
    for (int64_t h = 0; h < hidden; ++h) {
      out[static_cast<size_t>(t * hidden + h)] +=
          static_cast<double>(tokens.weights[i]) * y.values[static_cast<size_t>(h)];
    }
  }
  return out;
}

double RelativeError(const std::vector<float>& out, const std::vector<double>& expected) {
  double difference = 0.0;
  double norm = 0.0;
  for (size_t i = 0; i < out.size(); ++i) {
    difference += (out[i] - expected[i]) * (out[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(difference / norm);
}

const ExpertsShape kShape = {7, 70, 45, WeightFormat::kFloat32, false};
const ExpertsShape kBiasedShape = {7, 70, 45, WeightFormat::kFloat32, true};

class MoeRun : public testing::TestWithParam<TableHere> {
 protected:
  const KernelTable& table() const { return *GetParam().table; }
};
INSTANTIATE_TEST_SUITE_P(EveryIsa, MoeRun, testing::ValuesIn(TablesHere()), NameOfTable);

TEST_P(MoeRun, IsTheWeightedSumOfTheChosenExperts) {
  for (const ExpertsShape& shape : {kShape, kBiasedShape}) {
    const Layer layer(shape, 3);
    for (const int64_t num_tokens : {1, 5, 60}) {
      const Tokens tokens = RandomTokens(layer, num_tokens);
      const std::vector<double> expected = PlainMoe(layer, tokens);
      const PackedExperts experts = layer.Pack(table(), WeightFormat::kFloat32);
      EXPECT_LT(RelativeError(RunMoe(table(), ComputeType::kFloat32, experts, tokens, {3, 16}, 2),
                              expected),
                2e-6);
      const PackedExperts halves = layer.Pack(table(), WeightFormat::kBFloat16);
      EXPECT_LT(RelativeError(RunMoe(table(), ComputeType::kBFloat16, halves, tokens, {3, 16}, 2),
                              expected),
                8e-3);
      const PackedExperts codes = layer.Pack(table(), WeightFormat::kMxint8);
      EXPECT_LT(RelativeError(RunMoe(table(), ComputeType::kBFloat16, codes, tokens, {3, 16}, 2),
                              expected),
                3e-2);
    }
  }
}

constexpr std::pair<ComputeType, WeightFormat> kNumbers[] = {
    {ComputeType::kFloat32, WeightFormat::kBFloat16},
    {ComputeType::kBFloat16, WeightFormat::kBFloat16},
    {ComputeType::kBFloat16, WeightFormat::kMxint8}};

// DESIGN.md 4.1: one answer, whatever the blocking, chunk size, workers or batch neighbours.
TEST_P(MoeRun, OneAnswer) {
  for (const auto& [type, format] : kNumbers) {
    const Layer layer(kBiasedShape, 3);
    const Tokens tokens = RandomTokens(layer, kIsSanitized ? 44 : 80);
    const PackedExperts experts = layer.Pack(table(), format);
    const std::vector<float> expected = RunMoe(table(), type, experts, tokens, {0, 256}, 1);
    for (const int num_nsp : {0, 1, 2, 3, 6, 7}) {
      for (const int64_t chunk : {1, 3, 16, 256}) {
        for (const int num_workers : {1, 3}) {
          EXPECT_EQ(RunMoe(table(), type, experts, tokens, {num_nsp, chunk}, num_workers), expected)
              << "num_nsp " << num_nsp << " P " << chunk << " workers " << num_workers;
        }
      }
    }
    for (const int64_t prefix : {1, 2, 8, 9, 41}) {  // fewer neighbours: decode and blocked paths
      Tokens some = tokens;
      some.x.rows = prefix;
      some.x.values.resize(static_cast<size_t>(prefix * 70));
      some.ids.resize(static_cast<size_t>(prefix * 3));
      some.weights.resize(static_cast<size_t>(prefix * 3));
      const std::vector<float> begin(expected.begin(), expected.begin() + prefix * 70);
      EXPECT_EQ(RunMoe(table(), type, experts, some, {2, 16}, 2), begin) << prefix << " tokens";
    }
  }
}

// Every token on expert e of `experts` in its turn, K in a row.
Tokens TokensOn(const Layer& layer, int64_t num_tokens, const std::vector<int32_t>& experts) {
  Tokens tokens = RandomTokens(layer, num_tokens);
  for (size_t a = 0; a < tokens.ids.size(); ++a) tokens.ids[a] = experts[a % experts.size()];
  return tokens;
}

// A few hundred rows are shared by columns, more by rows: whichever worker does what, equal bits.
TEST_P(MoeRun, OneAnswerWhenRoutingIsSkewed) {
  const ExpertsShape shape = {8, 70, 45, WeightFormat::kBFloat16, true};
  const Layer one(shape, 1);
  const Layer two(shape, 2);
  const std::vector<Tokens> routings = {
      TokensOn(one, 60, {5}),                               // one expert has all tokens
      TokensOn(one, 700, {0, 0, 0, 4, 0, 0, 0, 0}),         // two experts, the one hot
      TokensOn(two, 50, {0, 4}),                            // one NSP of 1, 2 or 4 owns all
      TokensOn(two, 1100, {2, 0, 2, 1, 2, 7, 2, 0, 2, 5}),  // rows and columns are shared
  };
  for (const auto& [type, format] : kNumbers) {
    for (const Tokens& tokens : routings) {
      const PackedExperts experts = one.Pack(table(), format);
      const std::vector<float> expected = RunMoe(table(), type, experts, tokens, {0, 256}, 1);
      for (int num_workers = 1; num_workers <= 4; ++num_workers) {
        for (const int num_nsp : {1, 3, num_workers, 2 * num_workers, 8}) {
          for (const int64_t chunk : {int64_t{5}, int64_t{256}}) {
            MoeStats stats;
            EXPECT_EQ(RunMoe(table(), type, experts, tokens, {num_nsp, chunk}, num_workers, &stats),
                      expected)
                << "N " << num_nsp << " P " << chunk << " workers " << num_workers;
            int64_t num_rows = 0;
            for (const NspStats& nsp : stats.nsp) num_rows += nsp.num_rows;
            EXPECT_EQ(num_rows, static_cast<int64_t>(tokens.ids.size()));
            EXPECT_EQ(stats.worker_busy_seconds.size(), static_cast<size_t>(num_workers));
          }
        }
      }
    }
  }
}

TEST_P(MoeRun, Float32BitsAreThoseOfTheFirstInstructionSetAndOfFloat32Weights) {
  const Layer layer(kBiasedShape, 3);
  const Tokens tokens = RandomTokens(layer, 50);
  const KernelTable& first = KernelsFor(SupportedIsas().front());
  const std::vector<float> expected = RunMoe(
      first, ComputeType::kFloat32, layer.Pack(first, WeightFormat::kFloat32), tokens, {2, 16}, 1);
  for (const WeightFormat format : {WeightFormat::kFloat32, WeightFormat::kBFloat16}) {
    EXPECT_EQ(
        RunMoe(table(), ComputeType::kFloat32, layer.Pack(table(), format), tokens, {2, 16}, 1),
        expected);
  }
}

TEST_P(MoeRun, Mxint8BitsAreThoseOfTheFirstInstructionSet) {
  const Layer layer(kBiasedShape, 3);
  Tokens tokens = RandomTokens(layer, 150);
  for (int64_t t = 0; t < 150; t += 10) {  // tokens of all sizes
    for (int64_t i = 0; i < tokens.x.columns; ++i) {
      float& value = tokens.x.values[t * tokens.x.columns + i];
      value = std::ldexp(value, static_cast<int>(t) - 75);
    }
  }
  for (const int chunk_size : {16, 100}) {  // few rows and many may have kernels of their own
    const auto run = [&](const KernelTable& of) {
      return RunMoe(of, ComputeType::kBFloat16, layer.Pack(of, WeightFormat::kMxint8), tokens,
                    {2, chunk_size}, 1);
    };
    EXPECT_EQ(run(table()), run(KernelsFor(SupportedIsas().front())));
  }
}

TEST_P(MoeRun, PaddedPositionsAreZeroAndChangeNothingElse) {
  const Layer layer(kShape, 3);
  Tokens tokens = RandomTokens(layer, 30);
  const PackedExperts experts = layer.Pack(table(), WeightFormat::kFloat32);
  std::vector<float> expected =
      RunMoe(table(), ComputeType::kFloat32, experts, tokens, {0, 256}, 1);
  for (const size_t t : {0u, 7u, 29u}) {
    std::fill_n(tokens.ids.begin() + static_cast<std::ptrdiff_t>(t * 3), 3, -1);
    std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(t * 70), 70, 0.0f);
  }
  EXPECT_EQ(RunMoe(table(), ComputeType::kFloat32, experts, tokens, {4, 8}, 2), expected);
  EXPECT_EQ(RunMoe(table(), ComputeType::kFloat32, experts, tokens, {0, 8}, 2), expected);
}

TEST(MoeStats, CountsTheRowsOfEveryNsp) {
  const KernelTable& table = KernelsFor(SupportedIsas().front());
  const Layer layer(kShape, 3);
  const Tokens tokens = RandomTokens(layer, 40);
  MoeStats stats;
  RunMoe(table, ComputeType::kFloat32, layer.Pack(table, WeightFormat::kFloat32), tokens, {3, 16},
         2, &stats);
  std::vector<int64_t> rows(3, 0);
  for (const int32_t id : tokens.ids) ++rows[static_cast<size_t>(id % 3)];
  ASSERT_EQ(stats.nsp.size(), 3u);
  for (size_t n = 0; n < 3; ++n) EXPECT_EQ(stats.nsp[n].num_rows, rows[n]);
}

TEST(MoeBlock, IdsAndSizesOutOfRangeAreErrors) {
  const KernelTable& table = KernelsFor(SupportedIsas().front());
  const Layer layer(kShape, 2);
  const PackedExperts experts = layer.Pack(table, WeightFormat::kFloat32);
  auto block = *MoeBlock::Create(table, ComputeType::kFloat32, {4, 2, 70, 45, 16},
                                 *Placement::Create(7, 2), 1);
  auto other = *MoeBlock::Create(table, ComputeType::kFloat32, {4, 2, 70, 45, 16},
                                 *Placement::Create(8, 2), 1);
  WorkerPool pool(1);
  const std::vector<float> x(10 * 70), weights(20);
  std::vector<float> out(10 * 70);
  const std::vector<int32_t> bad(8, 7), good(20, 1);
  EXPECT_FALSE(block.Run({x.data(), bad, weights, 4, 2}, experts, {}, pool, out.data()));
  EXPECT_FALSE(block.Run({x.data(), good, weights, 10, 2}, experts, {}, pool, out.data()));
  EXPECT_FALSE(
      other.Run({x.data(), {good.data(), 8}, weights, 4, 2}, experts, {}, pool, out.data()));
  EXPECT_TRUE(
      block.Run({x.data(), {good.data(), 8}, weights, 4, 2}, experts, {}, pool, out.data()));
}

}  // namespace
}  // namespace expertile::cpu
