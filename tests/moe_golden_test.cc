// Every MoE block fed with its golden input, on every target, blocking on and off, prefill and
// decode.
#include <gtest/gtest.h>

#include "compiling/target_table.h"
#include "model/checkpoint.h"
#include "tests/golden.h"
#include "tests/target_here.h"
#include "tests/tolerances.h"

namespace expertile {
namespace {

struct MoeRun {
  std::string model;
  std::string target;
  MatmulArithmetic arithmetic;
  int num_nsp;
  bool is_decode;  // a row at a time
};

void PrintTo(const MoeRun& run, std::ostream* out) {
  *out << run.model << " on " << run.target << " in " << NameOf(run.arithmetic) << ", num_nsp "
       << run.num_nsp << (run.is_decode ? ", decode" : "");
}

double BoundOf(MatmulArithmetic arithmetic) {
  switch (arithmetic) {
    case MatmulArithmetic::kFloat32:
      return tolerances::kFloat32RelativeL2;
    case MatmulArithmetic::kBFloat16:
      return tolerances::kBFloat16MoeRelativeL2;
    case MatmulArithmetic::kMxint8:
      return tolerances::kMxint8MoeRelativeL2;
  }
  return 0.0;
}

class MoeGoldenTest : public testing::TestWithParam<MoeRun> {};

TEST_P(MoeGoldenTest, BlockOfEveryLayer) {
  const MoeRun& run = GetParam();
  EXPERTILE_SKIP_UNLESS_HERE(run.target);
  const Golden golden(run.model);
  const auto checkpoint = LoadCheckpoint(Golden::ModelPath(run.model)).value();
  const TargetOptions options{.arithmetic = run.arithmetic,
                              .blocking = {run.num_nsp, 4},
                              .num_workers = 2,
                              .batch_size = 1,
                              .ctx_len = 64,
                              .max_step_tokens = 64};
  const auto program = PackAndOpen(run.target, *checkpoint, options).value();
  const auto session = program->NewSession().value();
  const double bound = BoundOf(run.arithmetic);
  for (size_t layer = 0; layer < checkpoint->config.spec.layers.size(); ++layer) {
    const std::string name = "short.layer." + std::to_string(layer);
    const auto x = golden.Values<float>(name + ".moe_in");
    const auto expected = golden.Values<float>(name + ".moe_out");
    std::vector<float> y(expected.size());
    const size_t size = run.is_decode ? checkpoint->config.spec.hidden_size : x.size();
    for (size_t done = 0; done < x.size(); done += size) {
      ASSERT_TRUE(session->RunMlp(static_cast<int>(layer), std::span(x).subspan(done, size),
                                  std::span(y).subspan(done, size)));
    }
    EXPECT_LE(RelativeL2(y, expected), bound) << name;
  }
}

std::vector<MoeRun> AllRuns() {
  std::vector<MoeRun> runs;
  for (const char* model :
       {"tiny-gpt_oss", "tiny-granitemoe", "tiny-qwen3_moe", "tiny-qwen3_vl_moe"}) {
    for (const char* target : {"reference", "cpu"}) {
      for (const int num_nsp : {0, 1, 7, 16}) {
        runs.push_back({model, target, MatmulArithmetic::kFloat32, num_nsp, false});
      }
      runs.push_back({model, target, MatmulArithmetic::kFloat32, 0, true});
    }
    runs.push_back({model, "cpu", MatmulArithmetic::kBFloat16, 7, false});
    runs.push_back({model, "cpu", MatmulArithmetic::kMxint8, 7, false});
    for (const int num_nsp : {0, 1, 7, 16}) {
      runs.push_back({model, "cuda", MatmulArithmetic::kBFloat16, num_nsp, false});
    }
    runs.push_back({model, "cuda", MatmulArithmetic::kBFloat16, 0, true});
  }
  return runs;
}

INSTANTIATE_TEST_SUITE_P(AllTargets, MoeGoldenTest, testing::ValuesIn(AllRuns()));

}  // namespace
}  // namespace expertile
