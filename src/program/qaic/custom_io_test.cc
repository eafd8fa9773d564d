#include "program/qaic/custom_io.h"

#include <gtest/gtest.h>

#include <vector>

namespace expertile::qaic {
namespace {

using Names = std::vector<std::string>;

TEST(CustomIo, CachesGetTheirPrecisionInOrder) {
  const Names inputs = {"input_ids", "position_ids", "past_key.0", "past_value.0"};
  const Names outputs = {"logits", "past_key.0_RetainedState", "past_value.0_RetainedState"};
  EXPECT_EQ(CustomIoYaml(inputs, outputs, KvPrecision::kMxint8).value(),
            " - IOName: past_key.0\n   Precision: mxint8\n\n"
            " - IOName: past_value.0\n   Precision: mxint8\n\n"
            " - IOName: past_key.0_RetainedState\n   Precision: mxint8\n\n"
            " - IOName: past_value.0_RetainedState\n   Precision: mxint8\n\n");
}

TEST(CustomIo, VisionTensorsAreFloat16WhateverTheCache) {
  const Names inputs = {"input_ids", "vision_embeds", "position_ids", "image_idx", "past_key.0"};
  const Names outputs = {"logits", "vision_embeds_RetainedState", "image_idx_output",
                         "past_key.0_RetainedState"};
  EXPECT_EQ(CustomIoYaml(inputs, outputs, KvPrecision::kMxint8).value(),
            " - IOName: vision_embeds\n   Precision: float16\n\n"
            " - IOName: past_key.0\n   Precision: mxint8\n\n"
            " - IOName: vision_embeds_RetainedState\n   Precision: float16\n\n"
            " - IOName: past_key.0_RetainedState\n   Precision: mxint8\n\n");
}

TEST(CustomIo, VisionGraph) {
  const Names inputs = {"pixel_values", "image_grid_thw"};
  const Names outputs = {"vision_embeds", "deepstack_features"};
  EXPECT_EQ(CustomIoYaml(inputs, outputs, KvPrecision::kFloat16).value(),
            " - IOName: pixel_values\n   Precision: float16\n\n"
            " - IOName: vision_embeds\n   Precision: float16\n\n"
            " - IOName: deepstack_features\n   Precision: float16\n\n");
}

TEST(CustomIo, FloatCachesAreFloat16OnTheCard) {
  const Names inputs = {"past_key.0_LEFT"};
  const Names outputs = {"past_key.0_LEFT_RetainedState"};
  EXPECT_EQ(CustomIoYaml(inputs, outputs, KvPrecision::kFloat16).value(),
            " - IOName: past_key.0_LEFT\n   Precision: float16\n\n"
            " - IOName: past_key.0_LEFT_RetainedState\n   Precision: float16\n\n");
}

TEST(CustomIo, EmptyWithoutSuchNames) {
  EXPECT_EQ(CustomIoYaml(Names{"input_ids"}, Names{"logits"}, KvPrecision::kMxint8).value(), "");
}

TEST(CustomIo, RefusesACacheThatIsNotRetained) {
  const auto in = CustomIoYaml(Names{"past_key.0"}, Names{"logits"}, KvPrecision::kMxint8);
  EXPECT_EQ(in.error().message, "past_key.0: the graph has no output past_key.0_RetainedState");
  const auto out =
      CustomIoYaml(Names{"input_ids"}, Names{"past_key.0_RetainedState"}, KvPrecision::kMxint8);
  EXPECT_EQ(out.error().message, "past_key.0_RetainedState: the graph has no input past_key.0");
}

TEST(CustomIo, RefusesNamesThatBreakTheFile) {
  const std::string name = "past_key.0\n   Precision: float16";
  const auto yaml = CustomIoYaml(Names{name}, Names{name + "_RetainedState"}, KvPrecision::kMxint8);
  EXPECT_EQ(yaml.error().message,
            "`past_key.0\\x0a   Precision: float16`: not a name that custom_io.yaml can hold");
}

}  // namespace
}  // namespace expertile::qaic
