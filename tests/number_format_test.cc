// Number formats of weights and of the KV cache: cpu computes what the reference does.
#include <gtest/gtest.h>

#include "expertile/model.h"
#include "tests/golden.h"
#include "tests/tolerances.h"

namespace expertile {
namespace {

class NumberFormatTest : public testing::TestWithParam<std::string> {
 protected:
  std::vector<float> Logits(CompileOptions options, const char* target) const {
    options.target = target;
    options.prefill_seq_len = 24;
    options.moe_prefill_num_nsp = 3;
    Session session = model_.Compile(options).value().NewSession().value();
    std::vector<int32_t> ids;
    for (int i = 0; i < 90; ++i) ids.push_back((i * 1103 + 7) % 4000);
    const Extension prompt{0, ids};
    return session.Prefill({&prompt, 1}, LogitsWanted::kAll).value();
  }
  double CpuAgainstReference(const CompileOptions& options) const {
    return RelativeL2(Logits(options, "cpu"), Logits(options, "reference"));
  }

  Model model_ = Model::Load(Golden::ModelPath(GetParam())).value();
};

TEST_P(NumberFormatTest, Mxfp6Matrices) {
  CompileOptions options;
  const auto float32 = Logits(options, "reference");
  options.mxfp6_matmul = true;
  EXPECT_LE(CpuAgainstReference(options), tolerances::kFloat32RelativeL2);
  EXPECT_GT(RelativeL2(Logits(options, "cpu"), float32), 1e-3) << "nothing was rounded";
}

// The reference computes in float32 alone; mxint8_test.cc has the oracle of the products.
TEST_P(NumberFormatTest, Mxint8Arithmetic) {
  CompileOptions options;
  const auto float32 = Logits(options, "reference");
  options.dtype = "bfloat16";
  const double of_bfloat16 = RelativeL2(Logits(options, "cpu"), float32);
  options.dtype = "mxint8";
  const auto logits = Logits(options, "cpu");
  EXPECT_LE(RelativeL2(logits, float32), tolerances::kMxint8RelativeL2);
  EXPECT_GT(RelativeL2(logits, float32), of_bfloat16) << "nothing was rounded further";
}

TEST_P(NumberFormatTest, Mxint8KvCache) {
  CompileOptions options;
  const auto float32 = Logits(options, "reference");
  options.mxint8_kv_cache = true;
  EXPECT_LE(CpuAgainstReference(options), tolerances::kRoundedKvRelativeL2);
  EXPECT_GT(RelativeL2(Logits(options, "cpu"), float32), 1e-4) << "nothing was rounded";
}

INSTANTIATE_TEST_SUITE_P(Models, NumberFormatTest,
                         testing::Values("tiny-qwen3_moe", "tiny-gpt_oss", "tiny-granitemoe",
                                         "tiny-qwen3_vl_moe"));

}  // namespace
}  // namespace expertile
