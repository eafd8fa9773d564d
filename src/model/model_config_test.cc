// What ReadModelConfig() refuses by name: fields that disagree, values that mean nothing, quantised
// checkpoints; and how a weight that is missing is explained.
#include "model/model_config.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/temporary_folder.h"
#include "formats/safetensors_writer.h"
#include "model/quantization.h"

namespace expertile {
namespace {

using nlohmann::json;

// The refusal of a tiny checkpoint's configuration, patched; empty if it is read.
std::string RefusalOf(const std::string& family, const json& patch) {
  const auto text =
      ReadTextFile(EXPERTILE_SOURCE_DIR "/models/tiny-" + family + "/config.json").value();
  json config = json::parse(text);
  config.merge_patch(patch);
  const TemporaryFolder folder;
  std::ofstream(folder / "config.json") << config.dump();
  const auto model = ReadModelConfig(folder.path());
  return model ? "" : model.error().message;
}

struct Refusal {
  const char* family;
  json patch;
  std::vector<std::string> facts;
};

void ExpectRefusals(const std::vector<Refusal>& cases) {
  for (const auto& [family, patch, facts] : cases) {
    const std::string message = RefusalOf(family, patch);
    for (const std::string& fact : facts) {
      EXPECT_NE(message.find(fact), std::string::npos)
          << family << " " << patch << ": `" << message << "` does not say " << fact;
    }
  }
}

TEST(TwoNamesOfOneThing, AreRefusedWhereTheyDisagree) {
  const json other_yarn = {{"rope_type", "yarn"}, {"factor", 2.0}};
  ExpectRefusals({
      {"qwen3_moe", {{"num_local_experts", 16}}, {"num_experts: 32", "num_local_experts: 16"}},
      {"gpt_oss", {{"num_experts", 1000000000000}}, {"num_experts: 1000000000000", "num_local"}},
      {"granitemoe", {{"num_experts", 8}}, {"num_experts: 8", "num_local_experts: 32"}},
      {"gpt_oss", {{"experts_per_token", 8}}, {"num_experts_per_tok: 4", "experts_per_token: 8"}},
      {"qwen3_moe",
       {{"rope_parameters", {{"rope_theta", 5.5}}}},
       {"rope_theta: 1000000.0", "rope_parameters.rope_theta: 5.5"}},
      {"gpt_oss", {{"rope_parameters", other_yarn}}, {"rope_scaling: {", "rope_parameters: {"}},
      {"gpt_oss", {{"rope_scaling", {{"type", "linear"}}}}, {"rope_type: \"yarn\"", "\"linear\""}},
      {"gpt_oss",
       {{"original_max_position_embeddings", 9}},
       {"original_max_position_embeddings: 9", "original_max_position_embeddings: 512"}},
      {"qwen3_vl_moe",
       {{"text_config", {{"tie_word_embeddings", true}}}},
       {"tie_word_embeddings: false", "text_config.tie_word_embeddings: true"}},
      {"qwen3_vl_moe",
       {{"vision_config", {{"num_attention_heads", 8}}}},
       {"num_heads: 4", "num_attention_heads: 8"}},
      {"qwen3_vl_moe",
       {{"text_config", {{"num_local_experts", 8}}}},
       {"text_config.num_experts: 16", "num_local_experts: 8"}},
  });
}

TEST(TwoNamesOfOneThing, PassWhereTheyAgree) {
  EXPECT_EQ(RefusalOf("qwen3_moe",
                      {{"num_local_experts", 32}, {"rope_parameters", {{"rope_theta", 1000000}}}}),
            "");
  EXPECT_EQ(RefusalOf("gpt_oss", {{"num_experts", 32},
                                  {"rope_scaling", {{"type", "yarn"}}},
                                  {"original_max_position_embeddings", 512.0}}),
            "");
}

TEST(UsedFields, AreCheckedHoweverTheyAreSpelt) {
  const TemporaryFolder folder;
  const auto refusal = [&](const std::string& field) {
    auto text = ReadTextFile(EXPERTILE_SOURCE_DIR "/models/tiny-qwen3_moe/config.json").value();
    std::ofstream(folder / "config.json") << text.replace(text.rfind('}'), 1, "," + field + "}");
    const auto model = ReadModelConfig(folder.path());
    return model ? "" : model.error().message;
  };
  EXPECT_EQ(refusal(R"("a": NaN, "b": [Infinity, -Infinity, 1e999], "a": "\ud800")"), "");
  EXPECT_EQ(refusal(R"("vocab_size": 8)"), "");  // the last of two
  EXPECT_NE(refusal(R"("rope_theta": NaN)").find("rope_theta: expected a number, got NaN"),
            std::string::npos);
  EXPECT_NE(refusal(R"("rms_norm_eps": Infinity)").find("got Infinity"), std::string::npos);
  EXPECT_NE(refusal(R"("hidden_size": 1e999)").find("hidden_size: expected an integer"),
            std::string::npos);
}

TEST(Quantization, IsRefusedByItsMethod) {
  const json fp8 = {{"quant_method", "fp8"}, {"weight_block_size", {128, 128}}};
  ExpectRefusals({
      {"qwen3_moe", {{"quantization_config", fp8}}, {"fp8", "quantization_config", "bfloat16"}},
      {"granitemoe",
       {{"compression_config", {{"config_groups", json::object()}}}},
       {"compression_config", "compressed-tensors"}},
      {"qwen3_vl_moe",
       {{"text_config", {{"quantization_config", fp8}}}},
       {"text_config.quantization_config", "fp8"}},
      {"gpt_oss", {{"quantization_config", {{"quant_method", "gptq"}}}}, {"gptq", "mxfp4"}},
      {"gpt_oss", {{"compression_config", {{"quant_method", "awq"}}}}, {"awq", "mxfp4"}},
      {"qwen3_moe", {{"quantization_config", {{"load_in_4bit", true}}}}, {"bitsandbytes"}},
      {"qwen3_moe", {{"quantization_config", {{"quant_method", "mxfp4"}}}}, {"mxfp4"}},
      {"qwen3_moe", {{"quantization_config", "int4"}}, {"int4", "no quant_method"}},
      {"qwen3_moe", {{"quantization", {{"bits", 4}, {"group_size", 64}}}}, {"mlx"}},
  });
  EXPECT_EQ(RefusalOf("gpt_oss", json::object()), "");  // mxfp4
  const std::string null_config = R"({"model_type": "qwen3_moe", "quantization_config": null})";
  EXPECT_TRUE(ReadQuantization(JsonObject::Parse(null_config, "c").value(), kQwen3Moe));
}

TEST(Quantization, ExplainsWhatIsMissing) {
  const TemporaryFolder folder;
  const std::string data(1, 'x');
  const auto explained = [&](const std::string& name, const Family& family) {
    const NamedTensor tensor = {name, {DType::kU8, {1}, std::as_bytes(std::span(data))}};
    EXPECT_TRUE(WriteSafetensors(folder / "model.safetensors", {&tensor, 1}));
    const auto tensors = CheckpointTensors::Open(folder.path());
    EXPECT_TRUE(tensors);
    return ExplainedByQuantization({ErrorCode::kNotFound, "w: no such tensor"}, *tensors, family)
        .message;
  };
  for (const auto& [name, method] : std::vector<std::pair<std::string, std::string>>{
           {"model.layers.0.self_attn.q_proj.qweight", "gptq or awq"},
           {"model.layers.0.self_attn.q_proj.weight_scale_inv", "fp8"},
           {"model.layers.0.self_attn.q_proj.weight.absmax", "bitsandbytes"},
           {"model.layers.0.self_attn.q_proj.weight_packed", "compressed-tensors"},
           {"model.layers.0.mlp.experts.gate_up_proj_blocks", "mxfp4"}}) {
    const std::string message = explained(name, kQwen3Moe);
    for (const std::string& fact :
         {std::string("w: no such tensor"), name, method, std::string("bfloat16")}) {
      EXPECT_NE(message.find(fact), std::string::npos) << message;
    }
  }
  EXPECT_EQ(explained("model.layers.0.mlp.experts.gate_up_proj_blocks", kGptOss),
            "w: no such tensor");
  EXPECT_EQ(explained("model.layers.0.mlp.gate.weight", kQwen3Moe), "w: no such tensor");
}

}  // namespace
}  // namespace expertile
