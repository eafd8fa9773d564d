// Images: the vision tower against what transformers computed, and image rows in the decoder
// wherever chunks, batches and turns cut the prompt.
#include <gtest/gtest.h>

#include <algorithm>

#include "expertile/generation.h"
#include "expertile/model.h"
#include "tests/golden.h"
#include "tests/tolerances.h"

namespace expertile {
namespace {

constexpr const char* kModel = "tiny-qwen3_vl_moe";
constexpr int32_t kImageToken = 4094;

class VisionTest : public testing::TestWithParam<std::string> {
 protected:
  Program Compile(CompileOptions options = {}) const {
    options.target = GetParam();
    return model_.Compile(options).value();
  }
  std::filesystem::path Picture(int index) const {
    return model_.folder() / "images" / (std::to_string(index) + ".png");
  }
  // Text, a picture, text, two pictures in a row, text.
  static std::vector<int32_t> PromptOfThree() {
    return {39, 500, kImageToken, 78, 11, 1154, kImageToken, kImageToken, 270, 198};
  }
  std::vector<EncodedImage> ThreeImages(const Program& program) const {
    return {program.EncodeImage(Picture(0)).value(), program.EncodeImage(Picture(1)).value(),
            program.EncodeImage(Picture(2)).value()};
  }

  Model model_ = Model::Load(Golden::ModelPath(kModel)).value();
};

TEST_P(VisionTest, TowerAgreesWithTransformers) {
  const Golden golden(kModel);
  const Program program = Compile();
  for (int i = 0; i < 4; ++i) {
    const std::string name = "image_" + std::to_string(i);
    const EncodedImage image = program.EncodeImage(Picture(i)).value();
    const auto grid = golden.Values<int32_t>(name + ".image_grid_thw");
    EXPECT_EQ((std::vector<int64_t>{image.grid_t, image.grid_h, image.grid_w}),
              std::vector<int64_t>(grid.begin(), grid.end()));
    EXPECT_EQ(image.pixel_values, golden.Values<float>(name + ".pixel_values"));
    EXPECT_LE(RelativeL2(image.embeddings, golden.Values<float>(name + ".vision_embeds")),
              tolerances::kFloat32RelativeL2);
    ASSERT_EQ(image.deepstack.size(), 2u);
    for (size_t j = 0; j < image.deepstack.size(); ++j) {
      const auto expected = golden.Values<float>(name + ".deepstack." + std::to_string(j));
      EXPECT_LE(RelativeL2(image.deepstack[j], expected), tolerances::kFloat32RelativeL2);
    }
  }
}

TEST_P(VisionTest, OneAnswerWhereverChunksCutTheImages) {
  std::vector<float> expected;
  for (const int64_t prefill_seq_len : {512, 1, 3, 7, 10}) {
    CompileOptions options;
    options.prefill_seq_len = prefill_seq_len;
    if (prefill_seq_len % 2 == 1) options.moe_prefill_num_nsp = 3;
    const Program program = Compile(options);
    const std::vector<EncodedImage> images = ThreeImages(program);
    const auto ids = program.PlaceImages(PromptOfThree(), images).value();
    const Extension prompt{0, ids, images};
    Session session = program.NewSession().value();
    const auto logits = session.Prefill({&prompt, 1}, LogitsWanted::kAll).value();
    if (expected.empty()) expected = logits;
    EXPECT_EQ(logits, expected) << "prefill_seq_len " << prefill_seq_len;
  }
}

TEST_P(VisionTest, OneAnswerForTurnsAndBatches) {
  CompileOptions options;
  options.batch_size = 2;
  options.prefill_seq_len = 5;
  const Program program = Compile(options);
  const std::vector<EncodedImage> images = ThreeImages(program);
  const auto ids = program.PlaceImages(PromptOfThree(), images).value();
  Session whole = program.NewSession().value();
  const Extension prompt{0, ids, images};
  const auto expected = whole.Prefill({&prompt, 1}).value();

  // The first picture and the text after it, then the rest beside a prompt of text.
  const auto second = std::ranges::find(ids.begin() + 8, ids.end(), kImageToken);
  const auto split = static_cast<size_t>(second - ids.begin());
  Session turns = program.NewSession().value();
  const Extension first{0, std::span(ids).first(split), std::span(images).first(1)};
  ASSERT_TRUE(turns.Prefill({&first, 1}));
  const std::vector<int32_t> text = {39, 500, 78};
  const Extension rest[] = {{1, text},
                            {0, std::span(ids).subspan(split), std::span(images).subspan(1)}};
  const auto logits = turns.Prefill(rest).value();
  const auto V = static_cast<int64_t>(expected.size());
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), logits.begin() + V));
}

// Rows [first, first + count) of an image's, as a caller has them who keeps no whole images.
EncodedImage RowsOfImage(const EncodedImage& image, int64_t first, int64_t count) {
  const auto H = static_cast<int64_t>(image.embeddings.size()) / image.num_tokens;
  const auto cut = [&](const std::vector<float>& rows) {
    return std::vector<float>(rows.begin() + first * H, rows.begin() + (first + count) * H);
  };
  EncodedImage part;
  part.num_tokens = count;
  part.embeddings = cut(image.embeddings);
  for (const auto& feature : image.deepstack) part.deepstack.push_back(cut(feature));
  return part;
}

TEST_P(VisionTest, OneAnswerOfCallsThatCutImagesAtGivenPositions) {
  const Program program = Compile();
  const std::vector<EncodedImage> image = {program.EncodeImage(Picture(0)).value()};
  const auto ids =
      program.PlaceImages(std::vector<int32_t>{39, 500, kImageToken, 78, 11}, image).value();
  const auto T = static_cast<int64_t>(ids.size());
  const PatchGrid grid = {image[0].grid_t, image[0].grid_h, image[0].grid_w};
  const auto positions = model_.RopePositions(ids, {&grid, 1}).value();
  Session whole = program.NewSession().value();
  const Extension prompt{0, ids, image};
  const auto expected = whole.Prefill({&prompt, 1}).value();

  Session session = program.NewSession().value();
  std::vector<float> logits;
  int64_t row = 0;
  for (int64_t begin = 0; begin < T; begin += 3) {
    const int64_t size = std::min<int64_t>(3, T - begin);
    const auto part = std::span(ids).subspan(begin, size);
    std::vector<int32_t> given;
    for (int axis = 0; axis < 3; ++axis) {
      for (int64_t i = 0; i < size; ++i) given.push_back(positions[axis * T + begin + i]);
    }
    const auto count = std::ranges::count(part, kImageToken);
    std::vector<EncodedImage> rows;
    if (count > 0) rows.push_back(RowsOfImage(image[0], row, count));
    row += count;
    const Extension extension{0, part, rows, given};
    logits = session.Run({&extension, 1}).value();
    // Inside the image only who knows the positions goes on; after text anybody does.
    EXPECT_EQ(session.Fork(0).value(), 1);
    const Extension forked{1, std::span(ids).last(1)};
    EXPECT_EQ(session.Run({&forked, 1}).has_value(), part.back() != kImageToken);
    ASSERT_TRUE(session.DropSequence(1));
  }
  EXPECT_EQ(logits, expected);
  const std::vector<int32_t> next = {17};
  const Extension token{0, next};
  EXPECT_EQ(session.Decode({&token, 1}).value(), whole.Decode({&token, 1}).value());
}

TEST_P(VisionTest, RefusesGivenPositionsAndRowsThatCannotBe) {
  const Program program = Compile();
  Session session = program.NewSession().value();
  const EncodedImage image = program.EncodeImage(Picture(0)).value();
  const std::vector<int32_t> ids = {39, kImageToken};
  const std::vector<int32_t> positions = {0, 1, 0, 1, 0, 1};
  const std::vector<EncodedImage> right = {RowsOfImage(image, 0, 1)};
  const auto refuses = [&](const std::vector<int32_t>& given, std::vector<EncodedImage> images) {
    const Extension extension{0, ids, images, given};
    const auto refused = session.Run({&extension, 1});
    EXPECT_TRUE(!refused && refused.error().code == ErrorCode::kInvalidArgument);
    EXPECT_EQ(session.length(0).value(), 0);
  };
  refuses({0, 1}, right);
  refuses({0, 1, 0, 2, 0, 1}, right);
  refuses({0, 1, 0, -1, 0, 1}, right);
  refuses(positions, {RowsOfImage(image, 0, 2)});
  refuses(positions, {RowsOfImage(image, 0, 1), RowsOfImage(image, 1, 1)});
  EncodedImage broken = right[0];
  broken.deepstack[1].pop_back();
  refuses(positions, {broken});
  broken.deepstack.pop_back();
  refuses(positions, {broken});
  broken = right[0];
  broken.embeddings.clear();
  refuses(positions, {broken});
  const Extension extension{0, ids, right, positions};
  EXPECT_TRUE(session.Run({&extension, 1}));
  EXPECT_FALSE(session.SaveKv(0, std::filesystem::temp_directory_path() / "inside.safetensors"));
}

TEST_P(VisionTest, AnImageChangesTheAnswer) {
  const Program program = Compile();
  const std::vector<int32_t> ids = {39, kImageToken, 78};
  std::vector<std::vector<float>> answers;
  for (const int i : {0, 2}) {  // of one size
    const std::vector<EncodedImage> images = {program.EncodeImage(Picture(i)).value()};
    const auto placed = program.PlaceImages(ids, images).value();
    const Extension prompt{0, placed, images};
    Session session = program.NewSession().value();
    answers.push_back(session.Prefill({&prompt, 1}).value());
  }
  EXPECT_GT(RelativeL2(answers[0], answers[1]), 1e-3);
}

TEST_P(VisionTest, PlacesImagesInAPrompt) {
  const Program program = Compile();
  const std::vector<EncodedImage> images = {program.EncodeImage(Picture(0)).value()};
  const std::vector<int32_t> six(6, kImageToken);
  std::vector<int32_t> marked = {5};
  marked.insert(marked.end(), six.begin(), six.end());
  marked.push_back(7);
  EXPECT_EQ(program.PlaceImages(std::vector<int32_t>{5, kImageToken, 7}, images).value(), marked);
  EXPECT_EQ(program.PlaceImages(marked, images).value(), marked);
  std::vector<int32_t> in_front = {4091};
  in_front.insert(in_front.end(), six.begin(), six.end());
  in_front.insert(in_front.end(), {4092, 5, 7});
  EXPECT_EQ(program.PlaceImages(std::vector<int32_t>{5, 7}, images).value(), in_front);
  const std::vector<int32_t> two = {kImageToken, 5, kImageToken};
  EXPECT_FALSE(program.PlaceImages(two, images));
}

TEST_P(VisionTest, RefusesImagesThatAreNotThoseOfTheTokens) {
  const Program program = Compile();
  const std::vector<EncodedImage> images = {program.EncodeImage(Picture(0)).value()};
  Session session = program.NewSession().value();
  const std::vector<int32_t> short_by_one(5, kImageToken);
  const Extension prompt{0, short_by_one, images};
  const auto refused = session.Prefill({&prompt, 1});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(session.length(0).value(), 0);
}

TEST_P(VisionTest, SkipVisionLeavesTheTextAsItIs) {
  CompileOptions options;
  options.skip_vision = true;
  const Program text_only = Compile(options);
  const Program whole = Compile();
  const std::vector<int32_t> ids = {39, 500, 78, 11};
  const Extension prompt{0, ids};
  Session a = text_only.NewSession().value();
  Session b = whole.NewSession().value();
  EXPECT_EQ(a.Prefill({&prompt, 1}).value(), b.Prefill({&prompt, 1}).value());
  const auto refused = text_only.EncodeImage(Picture(0));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
}

INSTANTIATE_TEST_SUITE_P(Targets, VisionTest, testing::Values("reference", "cpu"));

TEST(VisionTest, AModelOfTextRefusesImages) {
  const Model model = Model::Load(Golden::ModelPath("tiny-qwen3_moe")).value();
  const Program program = model.Compile({}).value();
  const auto refused = program.EncodeImage(Golden::ModelPath(kModel) / "images" / "0.png");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("qwen3_moe"), std::string::npos);
  CompileOptions options;
  options.skip_vision = true;
  EXPECT_FALSE(model.Compile(options));
}

}  // namespace
}  // namespace expertile
