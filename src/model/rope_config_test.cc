// How config.json's RoPE fields override each other, as transformers' configuration classes have
// it; the frequencies themselves are held by the goldens.
#include "model/rope_config.h"

#include <gtest/gtest.h>

namespace expertile {
namespace {

constexpr int64_t kHeadDim = 32;

RopeSpec Read(const std::string& json) {
  return ReadRope(JsonObject::Parse(json, "config.json").value(), kHeadDim, 10000.0).value();
}

std::string ErrorOf(const std::string& json) {
  const auto rope = ReadRope(JsonObject::Parse(json, "config.json").value(), kHeadDim, 10000.0);
  return rope ? "" : rope.error().message;
}

std::string Yarn(const std::string& inside, const std::string& beside) {
  return R"({"max_position_embeddings":4096,)" + beside +
         R"("rope_scaling":{"rope_type":"yarn","factor":8)" + inside + "}}";
}

TEST(RopeConfigTest, OriginalPositionsBesideTheScalingHavePriority) {
  const auto expected = Read(Yarn(R"(,"original_max_position_embeddings":64)", "")).inv_freq;
  const std::string other = R"(,"original_max_position_embeddings":2048)";
  EXPECT_NE(Read(Yarn(other, "")).inv_freq, expected);
  EXPECT_EQ(Read(Yarn(other, R"("original_max_position_embeddings":64,)")).inv_freq, expected);
}

TEST(RopeConfigTest, RopeScalingHasPriorityUnlessItIsEmpty) {
  const auto linear = Read(R"({"rope_parameters":{"rope_type":"linear","factor":4}})").inv_freq;
  const auto plain = Read("{}").inv_freq;
  EXPECT_EQ(Read(R"({"rope_parameters":{"rope_type":"default"},
                     "rope_scaling":{"type":"linear","factor":4}})")
                .inv_freq,
            linear);
  EXPECT_EQ(
      Read(R"({"rope_parameters":{"rope_type":"linear","factor":4},"rope_scaling":{}})").inv_freq,
      linear);
  EXPECT_NE(linear, plain);
}

TEST(RopeConfigTest, ThetaInsideHasPriority) {
  const auto expected = Read(R"({"rope_theta":500})").inv_freq;
  EXPECT_EQ(Read(R"({"rope_theta":7,"rope_parameters":{"rope_theta":500}})").inv_freq, expected);
}

TEST(RopeConfigTest, RefusesWhatItDoesNotCompute) {
  EXPECT_NE(ErrorOf(R"({"partial_rotary_factor":0.5})").find("partial_rotary_factor: 0.5"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"rope_parameters":{"partial_rotary_factor":0.25}})").find("0.25"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"rope_parameters":{"full_attention":{"rope_theta":1e6}}})")
                .find("full_attention"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"rope_scaling":{"rope_type":"longrope"}})").find("longrope"),
            std::string::npos);
}

TEST(RopeConfigTest, MropeInterleavesItsSections) {
  const auto config =
      JsonObject::Parse(R"({"rope_scaling":{"mrope_section":[8,5,3]}})", "c").value();
  const RopeSpec rope = ReadMrope(config, kHeadDim, 10000.0).value();
  EXPECT_EQ(rope.num_axes, 3);
  EXPECT_EQ(rope.axes, (std::vector<int32_t>{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 0, 0, 1, 0, 0}));
}

}  // namespace
}  // namespace expertile
