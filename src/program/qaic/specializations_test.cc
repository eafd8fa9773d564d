#include "program/qaic/specializations.h"

#include <gtest/gtest.h>

#include <limits>

namespace expertile::qaic {
namespace {

using Steps = std::vector<Specialization>;

LanguageShapes Shapes(int64_t prefill_seq_len, int64_t ctx_len, std::optional<bool> prefill_only) {
  LanguageShapes shapes;
  shapes.prefill_seq_len = prefill_seq_len;
  shapes.ctx_len = ctx_len;
  shapes.prefill_only = prefill_only;
  return shapes;
}

// 354 x 536 pixels, resized to 352 x 544: the original's default image.
VisionShapes DefaultImage() {
  VisionShapes image;
  image.grid_h = 22;
  image.grid_w = 34;
  image.patch_size = 1536;
  image.num_deepstack = 3;
  return image;
}

std::vector<std::string> NamesOf(const LanguageShapes& shapes) {
  const auto steps = LanguageSpecializations(shapes);
  std::vector<std::string> names;
  if (!steps) return {steps.error().message};
  for (const Specialization& step : *steps) names.push_back(step.name);
  return names;
}

std::string Refusal(const LanguageShapes& shapes) {
  const auto steps = LanguageSpecializations(shapes);
  return steps ? "accepted" : steps.error().message;
}

TEST(Specializations, PrefillAndDecodeShareAProgramUnlessOneIsAskedFor) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(NamesOf(Shapes(32, 128, std::nullopt)), (Names{"Prefill", "Decode"}));
  EXPECT_EQ(NamesOf(Shapes(32, 128, true)), Names{"Prefill"});
  EXPECT_EQ(NamesOf(Shapes(32, 128, false)), Names{"Decode"});
  EXPECT_EQ(NamesOf(Shapes(1, 128, std::nullopt)), Names{"Decode"});
  EXPECT_EQ(NamesOf(Shapes(1, 128, false)), Names{"Decode"});
}

TEST(Specializations, SymbolsOfALanguageGraph) {
  LanguageShapes shapes = Shapes(512, 1536, std::nullopt);
  shapes.batch_size = 2;
  const Steps expected = {{"Prefill", {{"batch_size", 2}, {"ctx_len", 1536}, {"seq_len", 512}}},
                          {"Decode", {{"batch_size", 2}, {"ctx_len", 1536}, {"seq_len", 1}}}};
  EXPECT_EQ(LanguageSpecializations(shapes).value(), expected);
}

TEST(Specializations, TextOfGptOss) {
  LanguageShapes shapes = Shapes(512, 1024, true);
  shapes.enable_chunking = true;
  shapes.sliding_window = 128;
  EXPECT_EQ(SpecializationsJson(LanguageSpecializations(shapes).value()), R"({
    "specializations": [
        {
            "name": "Prefill",
            "symbols": {
                "batch_size": "1",
                "ctx_len": "1024",
                "seq_len": "512",
                "sliding_window": "128"
            }
        }
    ]
}
)");
}

TEST(Specializations, ImagesGiveTheirTokensToBothGraphs) {
  LanguageShapes shapes = Shapes(128, 4096, true);
  shapes.enable_chunking = true;
  shapes.vision = DefaultImage();
  const Steps language = {{"Prefill",
                           {{"batch_size", 1},
                            {"ctx_len", 4096},
                            {"num_feature_layers", 3},
                            {"seq_len", 128},
                            {"vision_batch_size", 1},
                            {"vision_size", 187}}}};
  EXPECT_EQ(LanguageSpecializations(shapes).value(), language);
  const Specialization vision = {"Vision",
                                 {{"batch_size", 1},
                                  {"grid_h", 22},
                                  {"grid_height", 748},
                                  {"grid_w", 34},
                                  {"grid_width", 1536},
                                  {"num_feature_layers", 3},
                                  {"time", 1},
                                  {"vision_size", 187}}};
  EXPECT_EQ(VisionSpecialization(DefaultImage()).value(), vision);
}

TEST(Specializations, PixelRowsCountTheBatchAndTime) {
  VisionShapes shapes = DefaultImage();
  shapes.batch_size = 3;
  shapes.time = 2;
  const Specialization vision = VisionSpecialization(shapes).value();
  EXPECT_EQ(vision.symbols.at("grid_height"), 3 * 2 * 748);
  EXPECT_EQ(vision.symbols.at("vision_size"), 2 * 187);
}

TEST(Specializations, NamesThatOccurTwiceAreNumbered) {
  const Steps steps = {{"Prefill", {{"a", 1}}}, {"Decode", {{"a", 2}}}, {"Prefill", {{"a", 3}}}};
  const std::string text = SpecializationsJson(steps);
  const size_t first = text.find("\"Prefill_0\"");
  const size_t second = text.find("\"Prefill_1\"");
  EXPECT_LT(first, text.find("\"Decode\""));
  EXPECT_LT(text.find("\"Decode\""), second);
  EXPECT_NE(second, std::string::npos);
  EXPECT_EQ(text.find("\"Prefill\""), std::string::npos);
}

TEST(Specializations, RefusesSizesOutOfRange) {
  EXPECT_EQ(Refusal(Shapes(0, 128, std::nullopt)),
            "prefill_seq_len: 0 is out of range, expected 1 to 128");
  EXPECT_EQ(Refusal(Shapes(256, 128, std::nullopt)),
            "prefill_seq_len: 256 is out of range, expected 1 to 128");
  EXPECT_EQ(Refusal(Shapes(1, 0, std::nullopt)),
            "ctx_len: 0 is out of range, expected 1 to 2147483648");
  LanguageShapes shapes = Shapes(32, 128, std::nullopt);
  shapes.batch_size = 0;
  EXPECT_EQ(Refusal(shapes), "batch_size: 0 is out of range, expected 1 to 32768");
  shapes.batch_size = 1;
  shapes.sliding_window = 0;
  EXPECT_EQ(Refusal(shapes), "sliding_window: 0 is out of range, expected 1 to 2147483648");
}

TEST(Specializations, RefusesModesThatContradict) {
  EXPECT_EQ(Refusal(Shapes(1, 128, true)),
            "prefill_seq_len: 1 makes a graph that only decodes, prefill_only: true");
  LanguageShapes chunked = Shapes(32, 128, std::nullopt);
  chunked.enable_chunking = true;
  EXPECT_EQ(Refusal(chunked), "enable_chunking: true needs prefill_only: true, got none");
  chunked.prefill_only = false;
  EXPECT_EQ(Refusal(chunked), "enable_chunking: true needs prefill_only: true, got false");
}

TEST(Specializations, SlidingWindowsTakeTheWholePromptUnlessChunked) {
  LanguageShapes shapes = Shapes(256, 512, true);
  EXPECT_EQ(Refusal(shapes), "accepted");
  shapes.sliding_window = 128;
  EXPECT_EQ(Refusal(shapes),
            "ctx_len: 512, expected prefill_seq_len 256: a prefill graph with sliding windows "
            "takes the whole context in one step unless enable_chunking is set");
  shapes.ctx_len = 256;
  EXPECT_EQ(Refusal(shapes), "accepted");
}

TEST(Specializations, RefusesImagesThatDoNotFit) {
  LanguageShapes shapes = Shapes(128, 187, std::nullopt);
  shapes.vision = DefaultImage();
  EXPECT_EQ(Refusal(shapes), "ctx_len: 187, expected more than the image's 187 tokens");
  shapes.ctx_len = 188;
  EXPECT_EQ(Refusal(shapes), "accepted");
  VisionShapes odd = DefaultImage();
  odd.grid_w = 33;
  EXPECT_EQ(VisionSpecialization(odd).error().message,
            "the image's grid: 22 x 33 patches, expected multiples of 2");
  odd.grid_w = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(VisionSpecialization(odd).error().message,
            "grid_w: 9223372036854775807 is out of range, expected 1 to 32768");
}

}  // namespace
}  // namespace expertile::qaic
