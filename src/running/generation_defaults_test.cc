#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "expertile/generation.h"

namespace expertile {
namespace {

Result<GenerationDefaults> Load(const std::string& json) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) /
                                       ("generation_defaults_" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "generation_config.json") << json;
  auto defaults = LoadGenerationDefaults(folder);
  std::filesystem::remove_all(folder);
  return defaults;
}

TEST(GenerationDefaults, WhatIsLeftOutOrNullIsTransformersDefault) {
  for (const char* json : {R"({"do_sample": true})",
                           R"({"do_sample": true, "temperature": null, "top_k": null, "top_p": null,
                              "min_p": null, "repetition_penalty": null})"}) {
    const SamplingOptions options = Load(json).value().With({});
    EXPECT_EQ(options.temperature, 1.0f);
    EXPECT_EQ(options.top_k, 50);
    EXPECT_EQ(options.top_p, 1.0f);
    EXPECT_EQ(options.min_p, 0.0f);
    EXPECT_EQ(options.repetition_penalty, 1.0f);
  }
}

TEST(GenerationDefaults, TheFileAndThenTheChoices) {
  const GenerationDefaults defaults =
      Load(R"({"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.1,
               "repetition_penalty": 1.05, "presence_penalty": 1.5, "frequency_penalty": 0.5})")
          .value();
  SamplingChoices choices;
  choices.top_p = 0.5f;
  choices.seed = 3;
  const SamplingOptions options = defaults.With(choices);
  EXPECT_EQ(options.temperature, 0.6f);
  EXPECT_EQ(options.top_k, 20);
  EXPECT_EQ(options.top_p, 0.5f);
  EXPECT_EQ(options.min_p, 0.1f);
  EXPECT_EQ(options.repetition_penalty, 1.05f);
  EXPECT_EQ(options.presence_penalty, 1.5f);
  EXPECT_EQ(options.frequency_penalty, 0.5f);
  EXPECT_EQ(options.seed, 3u);
}

TEST(GenerationDefaults, GreedyWithoutDoSample) {
  for (const char* json : {"{}", R"({"do_sample": false, "temperature": 0.6})",
                           R"({"do_sample": null, "temperature": 0.6})"}) {
    EXPECT_EQ(Load(json).value().With({}).temperature, 0.0f) << json;
  }
  SamplingChoices warm;
  warm.temperature = 0.5f;
  const SamplingOptions sampled = Load(R"({"top_p": 0.9})").value().With(warm);
  EXPECT_EQ(sampled.temperature, 0.5f);
  EXPECT_EQ(sampled.top_k, 50);
  EXPECT_EQ(sampled.top_p, 0.9f);
  EXPECT_EQ(LoadGenerationDefaults("/nowhere").value().With({}).temperature, 0.0f);
}

TEST(GenerationDefaults, RefusalsNameTheFileAndField) {
  for (const auto& [json, says] : {std::pair(R"({"do_sample": 1})", "do_sample"),
                                   {R"({"top_k": "many"})", "top_k"},
                                   {R"({"temperature": -1})", "temperature: -1"},
                                   {R"({"top_p": 2})", "top_p: 2"},
                                   {R"({"repetition_penalty": 0})", "repetition_penalty: 0"},
                                   {"[]", "generation_config.json"}}) {
    const auto defaults = Load(json);
    ASSERT_FALSE(defaults) << json;
    EXPECT_NE(defaults.error().message.find("generation_config.json"), std::string::npos);
    EXPECT_NE(defaults.error().message.find(says), std::string::npos) << defaults.error().message;
  }
}

}  // namespace
}  // namespace expertile
