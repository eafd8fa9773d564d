// A target takes its folder and one row: this one is registered, and the public API runs it.
#include "tests/toy_target/toy_target.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "compiling/target_table.h"
#include "expertile/generation.h"
#include "expertile/model.h"
#include "expertile/program_description.h"
#include "expertile/targets.h"
#include "tests/golden.h"

namespace expertile {
namespace {

CompileOptions OptionsOf(const std::string& target) {
  CompileOptions options;
  options.target = target;
  options.ctx_len = 64;
  options.prefill_seq_len = 16;
  options.moe_prefill_num_nsp = 5;
  return options;
}

class ToyTargetTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(RegisterTarget(toy::ToyTarget())); }

  const Model model_ = Model::Load(Golden::ModelPath("tiny-qwen3_moe")).value();

  static std::vector<int32_t> Continue(const Program& program) {
    const std::vector<int32_t> ids = {11, 7, 300, 41, 5, 5, 1200, 9};
    Session session = program.NewSession().value();
    const Prompt prompt{ids};
    GenerationOptions generation;
    generation.max_new_tokens = 12;
    return Generate(session, {&prompt, 1}, generation).value().token_ids[0];
  }
};

TEST_F(ToyTargetTest, RunsACheckpoint) {
  const int before = toy::NumBlocksStored();
  const Program program = model_.Compile(OptionsOf("toy")).value();
  EXPECT_GT(toy::NumBlocksStored(), before);
  EXPECT_EQ(Continue(program), Continue(model_.Compile(OptionsOf("reference")).value()));
}

TEST_F(ToyTargetTest, RunsAProgramOnDisk) {
  const auto cache = std::filesystem::temp_directory_path() / "expertile_toy_target_test";
  std::filesystem::remove_all(cache);
  CompileOptions options = OptionsOf("toy");
  options.cache_dir = cache.string();
  const CompiledProgram compiled = model_.CompileToDisk(options).value();
  EXPECT_EQ(DescribeProgram(compiled.folder).value().isa, "wood");
  EXPECT_EQ(Continue(Program::Open(compiled.folder).value()),
            Continue(model_.Compile(OptionsOf("reference")).value()));
  std::filesystem::remove_all(cache);
}

TEST_F(ToyTargetTest, IsAmongTheTargets) {
  const std::vector<TargetDescription> targets = Targets();
  const auto toy = std::ranges::find(targets, "toy", &TargetDescription::name);
  ASSERT_NE(toy, targets.end());
  EXPECT_TRUE(toy->runs_here);
  EXPECT_EQ(toy->dtypes, std::vector<std::string>{"float32"});
  EXPECT_FALSE(RegisterTarget(toy::ToyTarget()));  // its name is taken
}

TEST_F(ToyTargetTest, RefusesWhatItsRowDoesNotHonour) {
  CompileOptions options = OptionsOf("toy");
  options.mxfp6_matmul = true;
  EXPECT_EQ(CheckOptions(options).error().message,
            "mxfp6_matmul: the target toy does not have this option");
  options = OptionsOf("toy");
  options.dtype = "bfloat16";
  EXPECT_EQ(CheckOptions(options).error().message,
            "dtype: bfloat16, the target toy has float32 only");
}

}  // namespace
}  // namespace expertile
