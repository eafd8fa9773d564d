// The target cuda against the reference: logits of whole models, in prefill and in decode, and
// every MoE block. Its bits against each other: one_answer_test.cc and others, which list it as a
// target.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <set>

#include "base/temporary_folder.h"
#include "expertile/model.h"
#include "expertile/moe_trace.h"
#include "model/checkpoint.h"
#include "tests/golden.h"
#include "tests/target_here.h"
#include "tests/tolerances.h"

namespace expertile {
namespace {

class CudaTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { EXPERTILE_SKIP_UNLESS_HERE("cuda"); }

  std::vector<float> Logits(const std::string& target, std::span<const int32_t> ids,
                            LogitsWanted wanted, MoeTrace* trace = nullptr) const {
    CompileOptions options;
    options.target = target;
    options.skip_vision = GetParam() == "tiny-qwen3_vl_moe";
    Session session = model_.Compile(options).value().NewSession().value();
    const Extension prompt{0, ids};
    return session.Prefill({&prompt, 1}, wanted, trace).value();
  }

  Model model_ = Model::Load(Golden::ModelPath(GetParam())).value();
};

std::vector<int32_t> Ids(int count) {
  std::vector<int32_t> ids;
  for (int i = 0; i < count; ++i) ids.push_back((i * 977 + 13) % 4000);
  return ids;
}

// What a prompt's MoE layers chose and were given.
class Routes : public MoeTrace {
 public:
  void Record(int layer, std::span<const float> moe_in, std::span<const int32_t> topk_ids,
              std::span<const float>, std::span<const float>) override {
    ASSERT_EQ(layer, static_cast<int>(ids_.size())) << "a prompt is one step";
    ids_.emplace_back(topk_ids.begin(), topk_ids.end());
    moe_in_.emplace_back(moe_in.begin(), moe_in.end());
  }
  int num_layers() const { return static_cast<int>(ids_.size()); }
  // The experts of row t of `count`, in order of their numbers.
  std::set<int32_t> Experts(int layer, int64_t t, int64_t count) const {
    const auto K = static_cast<int64_t>(ids_[layer].size()) / count;
    return {ids_[layer].begin() + t * K, ids_[layer].begin() + (t + 1) * K};
  }
  std::span<const float> Input(int layer, int64_t t, int64_t count) const {
    const auto H = static_cast<int64_t>(moe_in_[layer].size()) / count;
    return std::span(moe_in_[layer]).subspan(t * H, H);
  }

 private:
  std::vector<std::vector<int32_t>> ids_;   // [layers][T K]
  std::vector<std::vector<float>> moe_in_;  // [layers][T H]
};

// How far the last chosen expert's logit is above the first one that is not, in standard deviations
// of the row's logits.
double GapOf(const MoeViews& moe, std::span<const float> x, size_t K) {
  std::vector<double> logits;
  for (int64_t e = 0; e < moe.router.weight.rows; ++e) {
    double logit = moe.router.bias ? moe.router.bias->At(0, e) : 0.0;
    for (size_t i = 0; i < x.size(); ++i) {
      logit += moe.router.weight.At(e, static_cast<int64_t>(i)) * double{x[i]};
    }
    logits.push_back(logit);
  }
  std::ranges::sort(logits, std::greater<>());
  const auto count = static_cast<double>(logits.size());
  const double mean = std::accumulate(logits.begin(), logits.end(), 0.0) / count;
  double squares = 0.0;
  for (const double logit : logits) squares += (logit - mean) * (logit - mean);
  return (logits[K - 1] - logits[K]) / std::sqrt(squares / count);
}

// The rows that all routers send to the reference's experts are within the bound, taken together.
// The others are few, and each saw a near tie where it first went elsewhere: rounding decides such
// a row, here as on any target in bfloat16.
TEST_P(CudaTest, LogitsAreTheReferences) {
  const auto checkpoint = LoadCheckpoint(Golden::ModelPath(GetParam())).value();
  const int64_t V = model_.description().vocab_size;
  for (const int64_t count : {1, 9, 180}) {  // gathered, one tile, longer than the windows
    SCOPED_TRACE(count);
    const std::vector<int32_t> ids = Ids(static_cast<int>(count));
    Routes here;
    Routes there;
    const auto logits = Logits("cuda", ids, LogitsWanted::kAll, &here);
    const auto expected = Logits("reference", ids, LogitsWanted::kAll, &there);
    std::vector<float> alike;
    std::vector<float> expected_alike;
    int64_t num_others = 0;
    for (int64_t t = 0; t < count; ++t) {
      int layer = 0;
      while (layer < there.num_layers() &&
             here.Experts(layer, t, count) == there.Experts(layer, t, count)) {
        ++layer;
      }
      if (layer == there.num_layers()) {
        alike.insert(alike.end(), logits.begin() + t * V, logits.begin() + (t + 1) * V);
        expected_alike.insert(expected_alike.end(), expected.begin() + t * V,
                              expected.begin() + (t + 1) * V);
        continue;
      }
      ++num_others;
      const auto& moe = std::get<MoeViews>(checkpoint->weights.layers[layer].mlp);
      const size_t K = there.Experts(layer, t, count).size();
      EXPECT_LE(GapOf(moe, there.Input(layer, t, count), K), tolerances::kCudaRoutingGap)
          << "row " << t << ", layer " << layer;
    }
    EXPECT_LE(RelativeL2(alike, expected_alike), tolerances::kCudaRelativeL2);
    EXPECT_LE(num_others, 1 + count / 10);
  }
}

// Experts of enough rows for the largest tiles, and steps of few rows.
TEST_P(CudaTest, ManyRowsAtOnceHaveTheBitsOfFew) {
  const std::vector<int32_t> ids = Ids(1201);
  std::vector<std::vector<float>> logits;
  for (const int64_t prefill_seq_len : {2048, 100, 8}) {
    CompileOptions options;
    options.target = "cuda";
    options.dtype = "bfloat16";
    options.skip_vision = GetParam() == "tiny-qwen3_vl_moe";
    options.ctx_len = 2048;
    options.prefill_seq_len = prefill_seq_len;
    Session session = model_.Compile(options).value().NewSession().value();
    const Extension prompt{0, ids};
    logits.push_back(session.Prefill({&prompt, 1}).value());
  }
  EXPECT_EQ(logits[0], logits[1]);
  EXPECT_EQ(logits[0], logits[2]);
}

TEST_P(CudaTest, ProgramsOnDiskAndInMemoryGiveTheSameBits) {
  const TemporaryFolder folder;
  const std::vector<int32_t> ids = Ids(40);
  CompileOptions options;
  options.target = "cuda";
  options.cache_dir = folder.path().string();
  Session session = model_.Compile(options).value().NewSession().value();
  const Extension prompt{0, ids};
  EXPECT_EQ(session.Prefill({&prompt, 1}).value(), Logits("cuda", ids, LogitsWanted::kLast));
}

TEST_P(CudaTest, SeveralProgramsShareTheDevice) {
  const std::vector<int32_t> ids = Ids(20);
  CompileOptions options;
  options.target = "cuda";
  const Program first = model_.Compile(options).value();
  const Program second = model_.Compile(options).value();
  Session a = first.NewSession().value();
  Session b = second.NewSession().value();
  const Extension prompt{0, ids};
  EXPECT_EQ(a.Prefill({&prompt, 1}).value(), b.Prefill({&prompt, 1}).value());
}

TEST_P(CudaTest, TooLargeACacheIsAnErrorThatNamesBothSizes) {
  CompileOptions options;
  options.target = "cuda";
  options.batch_size = 1 << 20;
  options.ctx_len = 4096;
  const Program program = model_.Compile(options).value();
  const auto session = program.NewSession();
  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().code, ErrorCode::kOutOfMemory);
  EXPECT_NE(session.error().message.find("GB free"), std::string::npos) << session.error().message;
  options.batch_size = 1;  // the device is as it was
  EXPECT_TRUE(model_.Compile(options).value().NewSession());
}

INSTANTIATE_TEST_SUITE_P(Models, CudaTest,
                         testing::Values("tiny-gpt_oss", "tiny-granitemoe", "tiny-qwen3_moe",
                                         "tiny-qwen3_vl_moe"),
                         [](const auto& model) {
                           std::string name = model.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace expertile
