// Damaged weights: a row's NaN or infinity stays in that row and those that attend to it, whatever
// the target, the blocking, the chunks and the neighbours, and whoever needs its logits is told the
// position and the first layer.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>

#include "base/temporary_folder.h"
#include "expertile/generation.h"
#include "expertile/model.h"
#include "fuzz/tiny_checkpoint.h"
#include "targets/cpu/isa.h"
#include "tests/subject.h"
#include "tests/target_here.h"

namespace expertile {
namespace {

using fuzz::TinyCheckpoint;

constexpr uint16_t kNaN = 0x7fc0;  // bfloat16
constexpr uint16_t kInfinity = 0x7f80;

TinyCheckpoint CheckpointNamed(const std::string& name) {
  if (name == "gpt_oss") return fuzz::TinyGptOss(/*is_mxfp4=*/false);
  if (name == "gpt_oss in MXFP4") return fuzz::TinyGptOss(/*is_mxfp4=*/true);
  if (name == "granitemoe") return fuzz::TinyGraniteMoe();
  if (name == "qwen3_vl_moe") return fuzz::TinyQwen3VlMoe();
  return fuzz::TinyQwen3Moe();
}

// A checkpoint on disk, with chosen elements changed before it is loaded.
class DamagedModel {
 public:
  explicit DamagedModel(const std::string& name) : checkpoint_(CheckpointNamed(name)) {}

  // Element `index` of a bfloat16 tensor.
  void Set(const std::string& tensor, int64_t index, uint16_t bits) {
    int64_t begin = 0;
    for (const TensorDeclaration& declaration : checkpoint_.tensors) {
      if (declaration.name == tensor) {
        ASSERT_EQ(declaration.dtype, DType::kBF16);
        std::memcpy(checkpoint_.data.data() + begin + 2 * index, &bits, sizeof(bits));
        return;
      }
      begin += *CheckedByteSize(declaration.dtype, declaration.shape);
    }
    FAIL() << tensor;
  }
  // Of token 5; the first tensor is the embedding.
  void SetEmbedding(int64_t element, uint16_t bits) {
    Set(checkpoint_.tensors[0].name, 5 * fuzz::H + element, bits);
  }

  Model Load() const {
    std::ofstream(folder_ / "config.json") << checkpoint_.config;
    auto writer =
        SafetensorsWriter::Create(folder_ / "model.safetensors", checkpoint_.tensors).value();
    EXPECT_TRUE(writer.Append(checkpoint_.data));
    EXPECT_TRUE(writer.Finish());
    return Model::Load(folder_.path()).value();
  }

 private:
  TinyCheckpoint checkpoint_;
  TemporaryFolder folder_;
};

struct IsaSubject : Subject {
  std::string isa;  // of target cpu
};

void PrintTo(const IsaSubject& subject, std::ostream* out) {
  PrintTo(static_cast<const Subject&>(subject), out);
  *out << " " << subject.isa;
}

CompileOptions SmallOptions(const Subject& subject) {
  CompileOptions options = OptionsOf(subject);
  options.num_cores = 2;
  options.ctx_len = 64;
  return options;
}

bool IsFinite(std::span<const float> row) {
  return std::ranges::all_of(row, [](float x) { return std::isfinite(x); });
}

bool SameBits(std::span<const float> a, std::span<const float> b) {
  return std::ranges::equal(std::as_bytes(a), std::as_bytes(b));
}

class NonFiniteTest : public testing::TestWithParam<IsaSubject> {
 protected:
  void SetUp() override {
    EXPERTILE_SKIP_UNLESS_HERE(GetParam().target);
    ::setenv("EXPERTILE_ISA", GetParam().isa.c_str(), 1);
  }
  void TearDown() override { ::unsetenv("EXPERTILE_ISA"); }

  // The logits of all `ids`, row by row, NaN and infinities too.
  static std::vector<std::vector<float>> Rows(const Program& program,
                                              const std::vector<int32_t>& ids) {
    Session session = program.NewSession().value();
    const Extension prompt{0, ids};
    const auto logits = session.Prefill({&prompt, 1}, LogitsWanted::kAllUnchecked).value();
    const auto V = static_cast<int64_t>(logits.size() / ids.size());
    std::vector<std::vector<float>> rows;
    for (size_t t = 0; t < ids.size(); ++t) {
      rows.emplace_back(logits.begin() + t * V, logits.begin() + (t + 1) * V);
    }
    return rows;
  }

  static std::string ErrorOf(const Program& program, const std::vector<int32_t>& ids,
                             LogitsWanted wanted) {
    Session session = program.NewSession().value();
    const Extension prompt{0, ids};
    const auto logits = session.Prefill({&prompt, 1}, wanted);
    if (logits) return "no error";
    EXPECT_EQ(logits.error().code, ErrorCode::kNotFinite);
    EXPECT_EQ(session.length(0).value(), 0);
    return logits.error().message;
  }
};

class NonFiniteQwenTest : public NonFiniteTest {};

// Without token 5.
std::vector<int32_t> ManyIds() {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 34; ++i) ids.push_back(6 + i * 7 % 34);
  return ids;
}

const std::vector<int32_t> kEightIds = {8, 9, 10, 11, 12, 13, 14, 5};

// Blocking off and on, whole prompts and chunks, sizes of packed chunks with tails.
std::vector<CompileOptions> Variations(const CompileOptions& options) {
  std::vector<CompileOptions> all;
  for (const int num_nsp : {0, 4}) {
    for (const int64_t prefill_seq_len : {512, 3}) {
      CompileOptions variation = options;
      if (num_nsp > 0) variation.moe_prefill_num_nsp = num_nsp;
      variation.moe_prefill_packed_chunk_size = num_nsp > 0 ? 2 : 256;
      variation.prefill_seq_len = prefill_seq_len;
      all.push_back(variation);
    }
  }
  return all;
}

TEST_P(NonFiniteTest, AnEmbeddingsFaultStaysInItsRow) {
  for (const uint16_t fault : {kNaN, kInfinity}) {
    DamagedModel damaged(GetParam().model);
    damaged.SetEmbedding(0, fault);
    // Granite's head is the embedding: its logit of token 5 is a fault in every row.
    const bool is_tied = GetParam().model == "granitemoe";
    const Model model = damaged.Load();
    const Model whole = DamagedModel(GetParam().model).Load();
    const auto expected = Rows(whole.Compile(SmallOptions(GetParam())).value(), kEightIds);
    for (const CompileOptions& options : Variations(SmallOptions(GetParam()))) {
      const Program program = model.Compile(options).value();
      auto rows = Rows(program, kEightIds);
      EXPECT_FALSE(IsFinite(rows[7]));
      for (size_t t = 0; t < 7; ++t) {
        if (is_tied) rows[t][5] = expected[t][5];
        EXPECT_TRUE(SameBits(rows[t], expected[t])) << "row " << t;
      }
      if (!is_tied) {
        EXPECT_EQ(ErrorOf(program, kEightIds, LogitsWanted::kAll),
                  "sequence 0, position 7: logits that are not finite, first in the embedding of "
                  "token 5 that goes into layer 0");
      }
      const std::vector<int32_t> fives(24, 5);
      EXPECT_EQ(ErrorOf(program, fives, LogitsWanted::kLast),
                "sequence 0, position 23: logits that are not finite, first in the embedding of "
                "token 5 that goes into layer 0");
    }
  }
}

TEST_P(NonFiniteTest, NeitherBatchNeighboursNorLaterPromptsSeeIt) {
  if (GetParam().model == "granitemoe") GTEST_SKIP() << "its head is the embedding";
  DamagedModel damaged(GetParam().model);
  damaged.SetEmbedding(7, kNaN);
  CompileOptions options = SmallOptions(GetParam());
  options.batch_size = 3;
  options.prefill_seq_len = 4;
  options.moe_prefill_num_nsp = 3;
  const Program program = damaged.Load().Compile(options).value();
  const std::vector<int32_t> clean = {8, 9, 10, 11, 12, 13, 14, 15, 16, 17};
  const std::vector<int32_t> faulty = {5, 9, 5, 11, 12, 13, 14, 15, 16, 17, 18, 19};
  Session session = program.NewSession().value();
  const Extension alone{0, clean};
  const auto expected = session.Prefill({&alone, 1}).value();
  ASSERT_TRUE(session.Clear(0));
  const Extension all[] = {{0, faulty}, {1, clean}, {2, faulty}};
  const auto logits = session.Prefill(all, LogitsWanted::kAllUnchecked).value();
  const size_t V = expected.size();
  const auto last = std::span(logits).subspan((faulty.size() + clean.size() - 1) * V, V);
  EXPECT_TRUE(SameBits(last, expected));
  // Decode steps of one and of all sequences.
  const std::vector<int32_t> next = {20};
  const Extension second{1, next};
  const auto decoded = session.Decode({&second, 1}).value();
  // Sequences start anew, with fewer tokens than before.
  for (const int64_t sequence : {0, 1, 2}) {
    ASSERT_TRUE(session.Clear(sequence));
    const Extension again{sequence, clean};
    EXPECT_TRUE(SameBits(session.Prefill({&again, 1}).value(), expected));
    const Extension further{sequence, next};
    EXPECT_TRUE(SameBits(session.Decode({&further, 1}).value(), decoded));
  }
  // A failed call leaves the sequence as it was.
  ASSERT_TRUE(session.Clear(0));
  const auto head = std::span(clean).first(6);
  const Extension begin{0, head};
  ASSERT_TRUE(session.Prefill({&begin, 1}));
  const Extension fault{0, std::span(faulty).first(3)};
  EXPECT_FALSE(session.Prefill({&fault, 1}));
  EXPECT_EQ(session.length(0).value(), 6);
  const Extension rest{0, std::span(clean).subspan(6)};
  EXPECT_TRUE(SameBits(session.Prefill({&rest, 1}).value(), expected));
}

// With a window of W a fault reaches (W - 1) rows further in each layer, and no row beyond.
TEST_P(NonFiniteQwenTest, RowsBeyondAllWindowsAreAsWithoutIt) {
  constexpr int64_t kWindow = 5;  // in all layers
  DamagedModel damaged(GetParam().model);
  damaged.SetEmbedding(0, kNaN);
  std::vector<int32_t> ids = ManyIds();
  ids[2] = 5;
  const Model model = damaged.Load();
  const int64_t reach = 2 + fuzz::kLayers * (kWindow - 1);
  const Model whole = DamagedModel(GetParam().model).Load();
  const auto expected = Rows(whole.Compile(SmallOptions(GetParam())).value(), ids);
  for (const CompileOptions& options : Variations(SmallOptions(GetParam()))) {
    const auto rows = Rows(model.Compile(options).value(), ids);
    for (int64_t t = 0; t < std::ssize(ids); ++t) {
      if (t < 2 || t > reach) {
        EXPECT_TRUE(SameBits(rows[t], expected[t])) << "row " << t;
      } else {
        EXPECT_FALSE(IsFinite(rows[t])) << "row " << t;
      }
    }
  }
}

struct Fault {
  std::string tensor;
  std::string origin;  // what the error of the first faulty row says
};

TEST_P(NonFiniteQwenTest, TheErrorNamesTheFirstLayer) {
  const std::string layer = "model.layers.2.";
  for (const Fault& fault :
       {Fault{layer + "mlp.gate.weight", "first in layer 2"},
        {layer + "input_layernorm.weight", "first in layer 2"},
        {layer + "post_attention_layernorm.weight", "first in layer 2"},
        {layer + "self_attn.q_norm.weight", "first in layer 2"},
        {layer + "self_attn.v_proj.weight", "first in layer 2"},
        {"model.norm.weight", "first after the last layer, in the final norm or the LM head"},
        {"lm_head.weight", "first after the last layer, in the final norm or the LM head"}}) {
    for (const uint16_t bits : {kNaN, kInfinity}) {
      DamagedModel damaged(GetParam().model);
      damaged.Set(fault.tensor, 3, bits);
      CompileOptions options = SmallOptions(GetParam());
      options.moe_prefill_num_nsp = 4;
      options.prefill_seq_len = 5;
      const Program program = damaged.Load().Compile(options).value();
      // An infinite weight in MXFP6, or times 0, is NaN; in q_norm it may only shut out keys.
      const std::string message = ErrorOf(program, kEightIds, LogitsWanted::kAll);
      EXPECT_TRUE(message.starts_with("sequence 0, position ") && message.ends_with(fault.origin))
          << fault.tensor << ": " << message;
    }
  }
}

// Tokens that do not choose a damaged expert have the bits that they have without the damage.
TEST_P(NonFiniteQwenTest, AnExpertsFaultStaysWithTheTokensThatChoseIt) {
  DamagedModel damaged(GetParam().model);
  // Of the last layer: no later attention passes it on.
  damaged.Set("model.layers.2.mlp.experts.3.down_proj.weight", 0, kNaN);
  const Model model = damaged.Load();
  const Model whole = DamagedModel(GetParam().model).Load();
  const std::vector<int32_t> ids = ManyIds();
  const auto expected = Rows(whole.Compile(SmallOptions(GetParam())).value(), ids);
  for (const CompileOptions& options : Variations(SmallOptions(GetParam()))) {
    const auto rows = Rows(model.Compile(options).value(), ids);
    int64_t num_faulty = 0;
    for (size_t t = 0; t < ids.size(); ++t) {
      if (!IsFinite(rows[t])) {
        ++num_faulty;
        continue;
      }
      EXPECT_TRUE(SameBits(rows[t], expected[t])) << "row " << t;
    }
    EXPECT_GT(num_faulty, 0);
    EXPECT_LT(num_faulty, std::ssize(ids));
  }
}

// Every instruction set in float32, the widest in the other formats.
std::vector<IsaSubject> SubjectsOf(const std::string& model) {
  std::vector<IsaSubject> subjects = {{{model, "reference", "float32"}, ""},
                                      {{model, "cuda", "bfloat16"}, ""}};
  std::string widest;
  for (const cpu::Isa isa : cpu::SupportedIsas()) {
    widest = cpu::NameOf(isa);
    subjects.push_back({{model, "cpu", "float32"}, widest});
  }
  if (widest.empty()) return subjects;
  subjects.push_back({{model, "cpu", "bfloat16"}, widest});
  subjects.push_back({{model, "cpu", "mx"}, widest});
  subjects.push_back({{model, "cpu", "mxint8"}, widest});
  return subjects;
}

std::vector<IsaSubject> AllSubjects() {
  std::vector<IsaSubject> subjects;
  for (const char* model :
       {"gpt_oss", "gpt_oss in MXFP4", "granitemoe", "qwen3_moe", "qwen3_vl_moe"}) {
    std::ranges::copy(SubjectsOf(model), std::back_inserter(subjects));
  }
  return subjects;
}

INSTANTIATE_TEST_SUITE_P(AllTargets, NonFiniteTest, testing::ValuesIn(AllSubjects()));
INSTANTIATE_TEST_SUITE_P(AllTargets, NonFiniteQwenTest, testing::ValuesIn(SubjectsOf("qwen3_moe")));

TEST(SessionTest, LengthAndClearRefuseSequencesThatAreNotThere) {
  const Model model = DamagedModel("qwen3_moe").Load();
  CompileOptions options;
  options.batch_size = 2;
  options.ctx_len = 16;
  Session session = model.Compile(options).value().NewSession().value();
  for (const int64_t sequence : {int64_t{-1}, int64_t{2}, std::numeric_limits<int64_t>::max(),
                                 std::numeric_limits<int64_t>::min()}) {
    const std::string expected =
        "sequence " + std::to_string(sequence) + ": there is no such sequence, there are 2";
    EXPECT_EQ(session.length(sequence).error().message, expected);
    EXPECT_EQ(session.Clear(sequence).error().message, expected);
  }
  EXPECT_EQ(session.length(1).value(), 0);
  EXPECT_TRUE(session.Clear(1));
}

}  // namespace
}  // namespace expertile
