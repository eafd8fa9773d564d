// How config.json's RoPE fields stand beside each other; what they mean is held by
// config_meanings_test.cc.
#include "model/rope_config.h"

#include <gtest/gtest.h>

namespace expertile {
namespace {

constexpr RopeShape kShape = {.head_dim = 32, .max_positions = 4096};

Result<RopeSpec> TryRead(const std::string& json) {
  return ReadRope(JsonObject::Parse(json, "config.json").value(), kShape, {});
}

RopeSpec Read(const std::string& json) { return TryRead(json).value(); }

std::string ErrorOf(const std::string& json) {
  const auto rope = TryRead(json);
  return rope ? "" : rope.error().message;
}

TEST(RopeConfigTest, OriginalPositionsStandBesideTheScalingOrInIt) {
  const auto yarn = [](const std::string& inside, const std::string& beside) {
    return "{" + beside + R"("rope_scaling":{"rope_type":"yarn","factor":8)" + inside + "}}";
  };
  const std::string field = R"("original_max_position_embeddings":)";
  EXPECT_EQ(Read(yarn("," + field + "64", "")).inv_freq, Read(yarn("", field + "64,")).inv_freq);
  EXPECT_NE(Read(yarn("," + field + "64", "")).inv_freq, Read(yarn("", "")).inv_freq);
  EXPECT_NE(ErrorOf(yarn("," + field + "64", field + "65,")).find("65, but"), std::string::npos);
}

TEST(RopeConfigTest, RopeScalingHasPriorityUnlessItIsEmpty) {
  const auto linear = Read(R"({"rope_parameters":{"rope_type":"linear","factor":4}})").inv_freq;
  EXPECT_EQ(
      Read(R"({"rope_parameters":{"rope_type":"linear","factor":4},"rope_scaling":{}})").inv_freq,
      linear);
  EXPECT_EQ(Read(R"({"rope_parameters":{},"rope_scaling":{"type":"linear","factor":4}})").inv_freq,
            linear);
  EXPECT_NE(linear, Read("{}").inv_freq);
  EXPECT_NE(ErrorOf(R"({"rope_parameters":{"rope_type":"default"},
                        "rope_scaling":{"type":"linear","factor":4}})")
                .find("rope_scaling: {\"factor\":4,\"type\":\"linear\"}, but"),
            std::string::npos);
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
  const RopeSpec rope = ReadMrope(config, kShape, {}).value();
  EXPECT_EQ(rope.num_axes, 3);
  EXPECT_EQ(rope.axes, (std::vector<int32_t>{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 0, 0, 1, 0, 0}));
}

}  // namespace
}  // namespace expertile
