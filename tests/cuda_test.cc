// The target cuda against the reference: logits of whole models, in prefill and in decode, and
// every MoE block. Its bits against each other: one_answer_test.cc and others, which list it as a
// target.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/temporary_folder.h"
#include "expertile/model.h"
#include "tests/golden.h"
#include "tests/target_here.h"
#include "tests/tolerances.h"

namespace expertile {
namespace {

class CudaTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { EXPERTILE_SKIP_UNLESS_HERE("cuda"); }

  std::vector<float> Logits(const std::string& target, std::span<const int32_t> ids,
                            LogitsWanted wanted) const {
    CompileOptions options;
    options.target = target;
    options.skip_vision = GetParam() == "tiny-qwen3_vl_moe";
    Session session = model_.Compile(options).value().NewSession().value();
    const Extension prompt{0, ids};
    return session.Prefill({&prompt, 1}, wanted).value();
  }

  Model model_ = Model::Load(Golden::ModelPath(GetParam())).value();
};

std::vector<int32_t> Ids(int count) {
  std::vector<int32_t> ids;
  for (int i = 0; i < count; ++i) ids.push_back((i * 977 + 13) % 4000);
  return ids;
}

// A row whose router sees two experts nearly alike may go to the other one, and is then another
// row: most rows are within the bound, all together within that of the target cpu.
TEST_P(CudaTest, LogitsAreTheReferences) {
  const int64_t V = model_.description().vocab_size;
  for (const int count : {1, 9, 180}) {  // gathered, one tile, longer than the windows
    const std::vector<int32_t> ids = Ids(count);
    const auto logits = Logits("cuda", ids, LogitsWanted::kAll);
    const auto expected = Logits("reference", ids, LogitsWanted::kAll);
    std::vector<double> errors;
    for (int64_t t = 0; t < count; ++t) {
      errors.push_back(
          RelativeL2(std::span(logits).subspan(t * V, V), std::span(expected).subspan(t * V, V)));
    }
    std::ranges::nth_element(errors, errors.begin() + count / 2);
    EXPECT_LE(errors[count / 2], tolerances::kCudaRelativeL2) << count << " tokens";
    EXPECT_LE(RelativeL2(logits, expected), tolerances::kCudaRoutedRelativeL2)
        << count << " tokens";
  }
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
