// Every golden case, on every target that computes in float32: logits, argmax, NLL, greedy text,
// tokens.
#include "tests/golden.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "expertile/evaluation.h"
#include "expertile/generation.h"
#include "expertile/model.h"
#include "expertile/tokenizer.h"
#include "tests/tolerances.h"

namespace expertile {
namespace {

struct GoldenRun {
  std::string model;
  std::string target;
  std::optional<int> num_nsp;
};

void PrintTo(const GoldenRun& run, std::ostream* out) {
  *out << run.model << " on " << run.target << (run.num_nsp ? ", NSP-blocked" : "");
}

class GoldenTest : public testing::TestWithParam<GoldenRun> {
 protected:
  Program Compile() const {
    CompileOptions options;
    options.target = GetParam().target;
    options.moe_prefill_num_nsp = GetParam().num_nsp;
    return model_.Compile(options).value();
  }
  Session NewSession() const { return program_.NewSession().value(); }
  std::vector<int32_t> InputIds(const std::string& name) const {
    return golden_.Values<int32_t>(name + ".input_ids");
  }
  // The picture of case "image_3" is images/3.png of the checkpoint; text cases have none.
  std::vector<EncodedImage> Images(const std::string& name) const {
    if (!golden_.Has(name + ".image_grid_thw")) return {};
    const std::string file = name.substr(name.find('_') + 1) + ".png";
    return {program_.EncodeImage(model_.folder() / "images" / file).value()};
  }

  Golden golden_{GetParam().model};
  Model model_ = Model::Load(Golden::ModelPath(GetParam().model)).value();
  Program program_ = Compile();
};

TEST_P(GoldenTest, LogitsAndArgmax) {
  const int64_t V = model_.description().vocab_size;
  for (const auto& [name, expected] : golden_.cases().items()) {
    if (!golden_.Has(name + ".input_ids")) continue;
    const std::vector<int32_t> ids = InputIds(name);
    const std::vector<EncodedImage> images = Images(name);
    const Extension prompt{0, ids, images};
    Session session = NewSession();
    const std::vector<float> logits = session.Prefill({&prompt, 1}, LogitsWanted::kAll).value();
    EXPECT_LE(RelativeL2(std::span(logits).last(V), golden_.Values<float>(name + ".logits_last")),
              tolerances::kFloat32RelativeL2)
        << name;
    const auto argmax = golden_.Values<int32_t>(name + ".argmax");
    for (size_t t = 0; t < ids.size(); ++t) {
      std::vector<float> row(logits.begin() + t * V, logits.begin() + (t + 1) * V);
      const auto best = std::ranges::max_element(row) - row.begin();
      std::ranges::nth_element(row, row.begin() + 1, std::greater<>());
      if (row[0] - row[1] <= tolerances::kArgmaxGap) continue;
      EXPECT_EQ(best, argmax[t]) << name << " at " << t;
    }
  }
}

TEST_P(GoldenTest, MeanNll) {
  for (const auto& [name, expected] : golden_.cases().items()) {
    if (!expected.is_object() || !expected.contains("text") || expected["mean_nll"].is_null())
      continue;
    Session session = NewSession();
    const Evaluation evaluation = Evaluate(session, InputIds(name)).value();
    EXPECT_EQ(evaluation.tokens, expected["tokens"].get<int64_t>());
    EXPECT_NEAR(evaluation.mean_nll, expected["mean_nll"].get<double>(),
                tolerances::kFloat32MeanNll)
        << name;
  }
}

TEST_P(GoldenTest, GreedyText) {
  const TextTokenizer tokenizer = TextTokenizer::Load(model_.folder()).value();
  for (const auto& [name, expected] : golden_.cases().items()) {
    if (!expected.is_object()) continue;
    const std::vector<int32_t> ids = InputIds(name);
    if (expected.contains("text")) {
      EXPECT_EQ(tokenizer.Encode(expected["text"].get<std::string>()).value(), ids);
    }
    const std::vector<EncodedImage> images = Images(name);
    const Prompt prompt{ids, images};
    Session session = NewSession();
    const auto greedy = expected["greedy"].get<std::vector<int32_t>>();
    GenerationOptions options;
    options.max_new_tokens = static_cast<int64_t>(greedy.size());
    const Generated generated = Generate(session, {&prompt, 1}, options).value();
    EXPECT_EQ(generated.token_ids[0], greedy) << name;
    EXPECT_EQ(tokenizer.Decode(generated.token_ids[0]).value(),
              expected["greedy_text"].get<std::string>());
  }
}

TEST_P(GoldenTest, TokenizerCases) {
  const TextTokenizer tokenizer = TextTokenizer::Load(model_.folder()).value();
  ASSERT_FALSE(golden_.cases()["tokenizer"].empty());
  for (const auto& expected : golden_.cases()["tokenizer"]) {
    const auto ids = tokenizer.Encode(expected["text"].get<std::string>()).value();
    EXPECT_EQ(ids, expected["ids"].get<std::vector<int32_t>>()) << expected["text"];
    EXPECT_EQ(tokenizer.Decode(ids).value(), expected["decoded"].get<std::string>());
  }
}

std::vector<GoldenRun> AllRuns() {
  std::vector<GoldenRun> runs;
  for (const char* model :
       {"tiny-gpt_oss", "tiny-granitemoe", "tiny-qwen3_moe", "tiny-qwen3_vl_moe"}) {
    for (const char* target : {"reference", "cpu"}) {
      runs.push_back({model, target, std::nullopt});
      runs.push_back({model, target, 5});
    }
  }
  return runs;
}

INSTANTIATE_TEST_SUITE_P(AllTargets, GoldenTest, testing::ValuesIn(AllRuns()));

}  // namespace
}  // namespace expertile
