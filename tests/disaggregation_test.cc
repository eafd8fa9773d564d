// Prefill and decode as separate programs: a decode program goes on, from a KV cache file, exactly
// where one program would have.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <random>

#include "base/temporary_folder.h"
#include "expertile/model.h"
#include "expertile/tokenizer.h"
#include "formats/safetensors_writer.h"
#include "tests/golden.h"
#include "tests/subject.h"
#include "tests/target_here.h"

namespace expertile {
namespace {

class DisaggregationTest : public testing::TestWithParam<Subject> {
 protected:
  void SetUp() override { EXPERTILE_SKIP_UNLESS_HERE(GetParam().target); }

  CompileOptions Options(int64_t prefill_seq_len) const {
    CompileOptions options = OptionsOf(GetParam());
    options.prefill_seq_len = prefill_seq_len;
    options.ctx_len = 256;
    options.batch_size = prefill_seq_len == 1 ? 2 : 1;
    options.cache_dir = (folder_ / "cache").string();
    return options;
  }
  Session NewSession(const CompileOptions& options) const {
    return model_.Compile(options).value().NewSession().value();
  }
  static std::vector<float> Decode(Session& session, int64_t sequence, int32_t id) {
    const Extension next{sequence, {&id, 1}};
    return session.Decode({&next, 1}).value();
  }
  // Longer than the windows.
  static std::vector<int32_t> Ids() {
    std::vector<int32_t> ids;
    for (int i = 0; i < 180; ++i) ids.push_back((i * 977 + 13) % 4000);
    return ids;
  }

  TemporaryFolder folder_;
  Model model_ = Model::Load(Golden::ModelPath(GetParam().model)).value();
};

TEST_P(DisaggregationTest, DecodesTheSameBitsAsOneProgram) {
  Session whole = NewSession(Options(64));
  CompileOptions prefill_options = Options(64);
  prefill_options.prefill_only = true;
  prefill_options.enable_chunking = true;
  prefill_options.moe_prefill_num_nsp = 5;
  Session prefill = NewSession(prefill_options);
  Session decode = NewSession(Options(1));
  const std::vector<int32_t> ids = Ids();
  const Extension prompt{0, ids};
  const auto logits = whole.Prefill({&prompt, 1}).value();
  EXPECT_EQ(prefill.Prefill({&prompt, 1}).value(), logits);
  const auto file = folder_ / "kv.safetensors";
  ASSERT_TRUE(prefill.SaveKv(0, file));
  ASSERT_TRUE(decode.LoadKv(1, file));  // another sequence than it was
  EXPECT_EQ(decode.length(1).value(), 180);
  for (const int32_t id : {5, 77, 1000, 3}) {
    EXPECT_EQ(Decode(decode, 1, id), Decode(whole, 0, id));
  }
}

std::vector<Subject> AllHandoffs() {
  std::vector<Subject> handoffs;
  for (const char* model :
       {"tiny-qwen3_moe", "tiny-gpt_oss", "tiny-granitemoe", "tiny-qwen3_vl_moe"}) {
    for (const char* format : {"float32", "bfloat16", "mxint8 cache"}) {
      handoffs.push_back({model, "cpu", format});
    }
    handoffs.push_back({model, "reference", "float32"});
    handoffs.push_back({model, "cuda", "bfloat16"});
  }
  return handoffs;
}

INSTANTIATE_TEST_SUITE_P(All, DisaggregationTest, testing::ValuesIn(AllHandoffs()),
                         [](const auto& subject) { return WordOf(subject.param); });

class KvFileTest : public testing::Test {
 protected:
  CompileOptions Options() const {
    CompileOptions options;
    options.ctx_len = 64;
    options.cache_dir = (folder_ / "cache").string();
    return options;
  }
  Session NewSession(const CompileOptions& options, const char* model = "tiny-qwen3_moe") const {
    return Model::Load(Golden::ModelPath(model))->Compile(options)->NewSession().value();
  }
  std::filesystem::path SaveOne() const {
    Session session = NewSession(Options());
    const std::vector<int32_t> ids = {5, 6, 7, 8, 9};
    const Extension prompt{0, ids};
    EXPECT_TRUE(session.Prefill({&prompt, 1}));
    EXPECT_TRUE(session.SaveKv(0, folder_ / "kv"));
    return folder_ / "kv";
  }
  static std::string Refusal(Session& session, const std::filesystem::path& file) {
    const Status loaded = session.LoadKv(0, file);
    EXPECT_EQ(session.length(0).value(), loaded ? 5 : 0);
    return loaded ? "" : loaded.error().message;
  }

  TemporaryFolder folder_;
};

TEST_F(KvFileTest, AnotherProgramRefusesItWithTheReason) {
  const auto file = SaveOne();
  CompileOptions options = Options();
  Session other_model = NewSession(options, "tiny-granitemoe");
  EXPECT_NE(Refusal(other_model, file).find("model: "), std::string::npos);
  options.mxint8_kv_cache = true;
  Session other_format = NewSession(options);
  EXPECT_NE(Refusal(other_format, file).find("kv_format: float32, the program has mxint8"),
            std::string::npos);
  options = Options();
  options.ctx_len = 65;
  Session other_length = NewSession(options);
  EXPECT_NE(Refusal(other_length, file).find("ctx_len: 64, the program has 65"), std::string::npos);
  Session same = NewSession(Options());
  EXPECT_EQ(Refusal(same, file), "");
  EXPECT_NE(same.LoadKv(0, file).error().message.find("5 tokens"), std::string::npos);
  EXPECT_FALSE(same.LoadKv(1, file)) << "no such sequence";
}

TEST_F(KvFileTest, ANewerVersionIsRefused) {
  const auto file = SaveOne();
  const auto read = SafetensorsFile::Open(file).value();
  std::vector<NamedTensor> tensors;
  for (const auto& [name, tensor] : read.tensors()) tensors.push_back({name, tensor});
  StringMap metadata = read.metadata();
  metadata["version"] = "3";
  ASSERT_TRUE(WriteSafetensors(folder_ / "newer", tensors, metadata));
  Session session = NewSession(Options());
  EXPECT_NE(Refusal(session, folder_ / "newer").find("version 3, this build reads 1 to 2"),
            std::string::npos);
}

// Written by a build that knew version 1: a prompt of tiny-qwen3_moe, the prefill's last logits not
// included.
TEST_F(KvFileTest, Version1IsRead) {
  const auto tokenizer = TextTokenizer::Load(Golden::ModelPath("tiny-qwen3_moe")).value();
  const std::vector<int32_t> ids = tokenizer.Encode("First Citizen: we are").value();
  CompileOptions options = Options();
  options.ctx_len = 2048;
  Session loaded = NewSession(options);
  const std::string folder = EXPERTILE_SOURCE_DIR "/tests/goldens/";
  const Status read = loaded.LoadKv(0, folder + "kv_cache_version_1.safetensors");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(loaded.length(0).value(), static_cast<int64_t>(ids.size()));
  Session whole = NewSession(options);
  const Extension prompt{0, ids};
  ASSERT_TRUE(whole.Prefill({&prompt, 1}));
  const int32_t next = 343;
  const Extension extension{0, {&next, 1}};
  EXPECT_EQ(loaded.Decode({&extension, 1}).value(), whole.Decode({&extension, 1}).value());
}

TEST_F(KvFileTest, AStateOfAnotherKindIsRefused) {
  const auto file = SaveOne();
  const auto read = SafetensorsFile::Open(file).value();
  std::vector<NamedTensor> tensors;
  for (const auto& [name, tensor] : read.tensors()) tensors.push_back({name, tensor});
  StringMap metadata = read.metadata();
  EXPECT_EQ(metadata["state.layers.1"], "key_value");
  metadata["state.layers.1"] = "recurrent";
  ASSERT_TRUE(WriteSafetensors(folder_ / "other", tensors, metadata));
  Session session = NewSession(Options());
  EXPECT_NE(Refusal(session, folder_ / "other")
                .find("state.layers.1: recurrent, the model has key_value"),
            std::string::npos);
  metadata.erase("state.layers.1");
  ASSERT_TRUE(WriteSafetensors(folder_ / "fewer", tensors, metadata));
  EXPECT_NE(Refusal(session, folder_ / "fewer").find("3 states, the model has 4"),
            std::string::npos);
}

TEST_F(KvFileTest, DamageIsFound) {
  const auto file = SaveOne();
  std::ifstream stream(file, std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(stream), {}};
  Session session = NewSession(Options());
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    std::string damaged = content;
    if (i % 3 == 0) {
      damaged.resize(random() % content.size());
    } else {
      damaged[i % 3 == 1 ? random() % 1500 : random() % content.size()] ^=
          static_cast<char>(1 << random() % 8);
    }
    std::ofstream(folder_ / "damaged", std::ios::binary) << damaged;
    ASSERT_NE(Refusal(session, folder_ / "damaged"), "") << i;
  }
}

}  // namespace
}  // namespace expertile
