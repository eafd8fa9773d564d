// What families read of configuration files against what transformers makes of the same files
// (tests/goldens/config_meanings.json, tools/make_config_goldens.py): fields that are left out,
// null, set.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/temporary_folder.h"
#include "model/model_config.h"

namespace expertile {
namespace {

using nlohmann::json;

const json& Goldens() {
  static const json goldens = [] {
    const auto text = ReadTextFile(EXPERTILE_SOURCE_DIR "/tests/goldens/config_meanings.json");
    return text ? json::parse(*text) : json();
  }();
  return goldens;
}

// `base` with each edit's field set, or removed where the edit has no value.
json Edited(json base, const json& edits) {
  for (const json& edit : edits) {
    const json::json_pointer path("/" + edit.at("path").get<std::string>());
    if (edit.contains("value")) {
      base[path] = edit["value"];
    } else if (base.contains(path)) {
      base.at(path.parent_pointer()).erase(path.back());
    }
  }
  return base;
}

void Write(const std::filesystem::path& path, const json& value) {
  std::ofstream(path) << value.dump();
}

json ToJson(const std::vector<float>& values) {
  json list = json::array();
  for (const float value : values) list.push_back(value);
  return list;
}

json ToJson(const VisionSpec& spec) {
  const std::vector<float>& all = spec.rope.inv_freq;  // the columns' after the rows'
  return {{"patch_values", spec.patch_values},
          {"hidden_size", spec.hidden_size},
          {"intermediate_size", spec.intermediate_size},
          {"output_size", spec.output_size},
          {"num_blocks", spec.num_blocks},
          {"num_heads", spec.num_heads},
          {"grid_side", spec.grid_side},
          {"deepstack_blocks", spec.deepstack_blocks},
          {"inv_freq", ToJson({all.begin(), all.begin() + all.size() / 2})},
          {"image_token_id", spec.prompt.image_token_id},
          {"start_token_id", spec.prompt.start_token_id},
          {"end_token_id", spec.prompt.end_token_id},
          {"merge_size", spec.prompt.merge_size}};
}

// Everything of a spec that a family reads from config.json.
json ToJson(const ModelConfig& model) {
  const DecoderSpec& spec = model.spec;
  const AttentionSpec& attention = AttentionOf(spec.layers[0]);
  json is_moe = json::array();
  json windows = json::array();
  json dense_size;  // null where no layer is dense
  for (const LayerSpec& layer : spec.layers) {
    is_moe.push_back(layer.is_moe());
    windows.push_back(AttentionOf(layer).window);
    if (!layer.is_moe()) dense_size = std::get<MlpSpec>(layer.mlp).intermediate_size;
  }
  return {{"vocab_size", spec.vocab_size},
          {"hidden_size", spec.hidden_size},
          {"num_heads", attention.num_heads},
          {"num_kv_heads", attention.num_kv_heads},
          {"head_dim", attention.head_dim},
          {"max_positions", spec.max_positions},
          {"norm_epsilon", spec.norm_epsilon},
          {"inv_freq", ToJson(spec.rope.inv_freq)},
          {"table_scale", spec.rope.table_scale},
          {"axes", spec.rope.axes},
          {"attention_bias", attention.has_bias},
          {"attention_output_bias", attention.has_output_bias},
          {"attention_scale", attention.scale},
          {"embedding_scale", spec.embedding_scale},
          {"residual_scale", spec.residual_scale},
          {"logits_scale", spec.logits_scale},
          {"tied_lm_head", spec.tied_lm_head},
          {"num_experts", spec.moe.num_experts},
          {"experts_per_token", spec.moe.router.experts_per_token},
          {"moe_intermediate_size", spec.moe.intermediate_size},
          {"normalize", spec.moe.router.normalize},
          {"limit", spec.moe.gated.limit},
          {"alpha", spec.moe.gated.alpha},
          {"is_moe", is_moe},
          {"windows", windows},
          {"mlp_intermediate_size", dense_size},
          {"shared_intermediate_size", spec.moe.shared ? spec.moe.shared->intermediate_size : 0},
          {"vision", model.vision ? ToJson(model.vision->spec) : json()}};
}

// Numbers to within float32's rounding of a few operations; all else exactly.
void ExpectSame(const json& actual, const json& expected, const std::string& name) {
  if (expected.is_number() && actual.is_number()) {
    const double scale = std::max(std::abs(expected.get<double>()), 1e-30);
    EXPECT_LE(std::abs(actual.get<double>() - expected.get<double>()) / scale, 2e-6)
        << name << ": " << actual << ", expected " << expected;
    return;
  }
  if (!expected.is_structured() || actual.size() != expected.size()) {
    EXPECT_EQ(actual, expected) << name;
    return;
  }
  for (const auto& [key, value] : expected.items()) {
    const json::json_pointer place(json::json_pointer() / key);
    if (expected.is_array()) {
      ExpectSame(actual[std::stoul(key)], value, name + "[" + key + "]");
    } else {
      ExpectSame(actual.value(place, json()), value, name + "." + key);
    }
  }
}

// The last part of the paths that were edited: one of them has to stand in a refusal.
bool NamesAnEditedField(const std::string& message, const json& edits) {
  for (const json& edit : edits) {
    const auto path = edit["path"].get<std::string>();
    if (message.find(path.substr(path.rfind('/') + 1)) != message.npos) return true;
    const json set = edit.value("value", json());
    for (const auto& [key, value] : set.items()) {
      if (!key.empty() && message.find(key) != message.npos) return true;
    }
  }
  return false;
}

class ConfigMeanings : public testing::TestWithParam<const char*> {
 protected:
  Result<ModelConfig> Read(const json& config) {
    Write(folder_ / "config.json", config);
    return ReadModelConfig(folder_.path());
  }
  TemporaryFolder folder_;
};

TEST_P(ConfigMeanings, OfTheDecoderAreTransformers) {
  const json& goldens = Goldens()["decoders"][GetParam()];
  ASSERT_GT(goldens["cases"].size(), 100u);
  for (const json& golden : goldens["cases"]) {
    SCOPED_TRACE(golden["edits"].dump());
    const auto model = Read(Edited(goldens["base"], golden["edits"]));
    if (golden.contains("refused")) {
      ASSERT_FALSE(model);
      EXPECT_TRUE(NamesAnEditedField(model.error().message, golden["edits"]))
          << model.error().message;
      continue;
    }
    ASSERT_TRUE(model) << model.error().message;
    json expected = goldens["read"];
    expected.update(golden["read"]);
    const json actual = ToJson(*model);
    for (const auto& [name, value] : expected.items()) ExpectSame(actual[name], value, name);
  }
}

TEST_P(ConfigMeanings, OfEndTokensAreTransformers) {
  const json& base = Goldens()["decoders"][GetParam()]["base"];
  ASSERT_FALSE(Goldens()["end_tokens"][GetParam()].empty());
  for (const json& golden : Goldens()["end_tokens"][GetParam()]) {
    SCOPED_TRACE(golden.dump());
    std::filesystem::remove(folder_ / "generation_config.json");
    if (golden.contains("generation_config")) {
      Write(folder_ / "generation_config.json", golden["generation_config"]);
    }
    const auto model = Read(Edited(base, golden["edits"]));
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(json(model->end_token_ids), golden["end_token_ids"]);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, ConfigMeanings,
                         testing::Values("qwen3_moe", "gpt_oss", "granitemoe", "qwen3_vl_moe",
                                         "qwen2_moe", "granitemoeshared"),
                         [](const auto& each) { return std::string(each.param); });

json ToJson(const VisionPreprocessorConfig& config) {
  return {{"do_resize", config.do_resize},
          {"do_rescale", config.do_rescale},
          {"do_normalize", config.do_normalize},
          {"patch_size", config.patch_size},
          {"temporal_patch_size", config.temporal_patch_size},
          {"merge_size", config.merge_size},
          {"min_pixels", config.min_pixels},
          {"max_pixels", config.max_pixels},
          {"rescale_factor", config.rescale_factor},
          {"image_mean", config.mean},
          {"image_std", config.std}};
}

TEST(PreprocessorMeanings, AreTransformers) {
  const json& goldens = Goldens()["preprocessor"];
  ASSERT_GT(goldens["cases"].size(), 20u);
  for (const json& golden : goldens["cases"]) {
    SCOPED_TRACE(golden["edits"].dump());
    const std::string text = Edited(goldens["base"], golden["edits"]).dump();
    const auto config =
        ReadVisionPreprocessorConfig(JsonObject::Parse(text, "config").value(), "config");
    if (golden.contains("refused")) {
      ASSERT_FALSE(config);
      EXPECT_TRUE(NamesAnEditedField(config.error().message, golden["edits"]))
          << config.error().message;
      continue;
    }
    ASSERT_TRUE(config) << config.error().message;
    const json actual = ToJson(*config);
    for (const auto& [name, value] : golden["read"].items()) {
      ExpectSame(actual[name], value, name);
    }
  }
}

TEST(PreprocessorMeanings, AreOfTheNestedFileFirst) {
  const TemporaryFolder folder;
  Write(folder / "config.json", Goldens()["decoders"]["qwen3_vl_moe"]["base"]);
  json flat = Goldens()["preprocessor"]["base"];
  const auto min_pixels = [&] {
    const auto model = ReadModelConfig(folder.path());
    EXPECT_TRUE(model) << model.error().message;
    return model && model->vision->preprocessor ? model->vision->preprocessor->min_pixels : -1;
  };
  EXPECT_EQ(min_pixels(), -1);
  Write(folder / "processor_config.json", {{"processor_class", "Qwen3VLProcessor"}});
  EXPECT_EQ(min_pixels(), -1);
  Write(folder / "preprocessor_config.json", flat);
  EXPECT_EQ(min_pixels(), 4096);
  flat["size"]["shortest_edge"] = 1024;
  Write(folder / "processor_config.json", {{"image_processor", flat}});
  EXPECT_EQ(min_pixels(), 1024);
}

}  // namespace
}  // namespace expertile
