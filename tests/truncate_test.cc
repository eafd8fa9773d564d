// A sequence that was cut goes on as if what was cut off had never been: the same bits, for every
// KV format, in windowed layers and behind images.
#include <gtest/gtest.h>

#include <algorithm>

#include "expertile/model.h"
#include "tests/golden.h"
#include "tests/subject.h"
#include "tests/target_here.h"

namespace expertile {
namespace {

CompileOptions SmallOptions(const Subject& subject) {
  CompileOptions options = OptionsOf(subject);
  options.prefill_seq_len = 32;
  options.batch_size = 2;
  options.ctx_len = 256;
  options.num_cores = 1;
  return options;
}

std::vector<int32_t> RandomIds(int64_t count, uint32_t seed) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    ids.push_back(static_cast<int32_t>((seed >> 8) % 4000));  // below the special tokens
  }
  return ids;
}

std::vector<float> Extend(Session& session, int64_t sequence, std::span<const int32_t> ids,
                          std::span<const EncodedImage> images = {}) {
  const Extension extension{sequence, ids, images};
  return session.Prefill({&extension, 1}, LogitsWanted::kAll).value();
}

std::vector<int32_t> Joined(std::span<const int32_t> a, std::span<const int32_t> b) {
  std::vector<int32_t> ids(a.begin(), a.end());
  ids.insert(ids.end(), b.begin(), b.end());
  return ids;
}

class TruncateTest : public testing::TestWithParam<Subject> {};

TEST_P(TruncateTest, GoesOnWithTheSameBits) {
  EXPERTILE_SKIP_UNLESS_HERE(GetParam().target);
  const Program program = Model::Load(Golden::ModelPath(GetParam().model))
                              .value()
                              .Compile(SmallOptions(GetParam()))
                              .value();
  // Longer than the windows; the reference is slow.
  const bool is_quick = GetParam().target != "reference";
  const std::vector<int32_t> first = RandomIds(is_quick ? 150 : 40, 1);
  const std::vector<int32_t> second = RandomIds(20, 2);
  const std::vector<size_t> lengths =
      is_quick ? std::vector<size_t>{0, 1, 15, 16, 37, 149, 150} : std::vector<size_t>{0, 7, 40};
  for (const size_t length : lengths) {
    const std::span<const int32_t> kept = std::span(first).first(length);
    Session session = program.NewSession().value();
    Extend(session, 1, first);
    const std::vector<int32_t> tail = RandomIds(3, 3);
    for (const int32_t& id : tail) {  // decoded tokens are cut off, too
      const Extension next{1, {&id, 1}};
      ASSERT_TRUE(session.Decode({&next, 1}));
    }
    ASSERT_TRUE(session.Truncate(1, static_cast<int64_t>(length)));
    const std::vector<float> resumed = Extend(session, 1, second);

    Session scratch = program.NewSession().value();
    const std::vector<float> whole = Extend(scratch, 1, Joined(kept, second));
    ASSERT_TRUE(std::ranges::equal(
        resumed, std::span(whole).last(resumed.size()),
        [](float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }))
        << length << " tokens kept";
  }
}

INSTANTIATE_TEST_SUITE_P(Subjects, TruncateTest,
                         testing::Values(Subject{"tiny-qwen3_moe", "cpu", "float32"},
                                         Subject{"tiny-qwen3_moe", "cpu", "bfloat16"},
                                         Subject{"tiny-qwen3_moe", "cpu", "mxint8 cache"},
                                         Subject{"tiny-gpt_oss", "cpu",
                                                 "float32"},  // has windowed layers
                                         Subject{"tiny-gpt_oss", "cpu", "mxint8 cache"},
                                         Subject{"tiny-granitemoe", "cpu", "bfloat16"},
                                         Subject{"tiny-gpt_oss", "cuda", "bfloat16"},
                                         Subject{"tiny-qwen3_moe", "cuda", "bfloat16"},
                                         Subject{"tiny-qwen3_moe", "reference", "float32"},
                                         Subject{"tiny-gpt_oss", "reference", "mxint8 cache"}),
                         [](const auto& subject) { return WordOf(subject.param); });

TEST(Truncate, ChecksItsArguments) {
  const Program program = Model::Load(Golden::ModelPath("tiny-qwen3_moe"))
                              .value()
                              .Compile(SmallOptions({"", "cpu", "float32"}))
                              .value();
  Session session = program.NewSession().value();
  Extend(session, 0, RandomIds(5, 1));
  EXPECT_EQ(session.Truncate(0, 6).error().message,
            "sequence 0: truncated to 6 tokens, it holds 5");
  EXPECT_EQ(session.Truncate(0, -1).error().message,
            "sequence 0: truncated to -1 tokens, it holds 5");
  EXPECT_EQ(session.Truncate(2, 0).error().message,
            "sequence 2: there is no such sequence, there are 2");
  EXPECT_EQ(session.Truncate(-1, 0).error().message,
            "sequence -1: there is no such sequence, there are 2");
  EXPECT_TRUE(session.Truncate(0, 5));
  EXPECT_TRUE(session.Truncate(1, 0));
}

// Text, an image, text, another image, text: RoPE's positions fall behind the tokens' indices.
class TruncateImages : public testing::TestWithParam<std::string> {
 protected:
  static EncodedImage Picture(const Program& program, int i) {
    const std::string folder = Golden::ModelPath("tiny-qwen3_vl_moe");
    return program
        .EncodeImage(std::filesystem::path(folder) / "images" / (std::to_string(i) + ".png"))
        .value();
  }
};

TEST_P(TruncateImages, GoesOnWithTheSameBits) {
  const Program program = Model::Load(Golden::ModelPath("tiny-qwen3_vl_moe"))
                              .value()
                              .Compile(SmallOptions({"", "cpu", GetParam()}))
                              .value();
  const int32_t image_token = *program.image_token_id();
  const std::vector<EncodedImage> images = {Picture(program, 0), Picture(program, 1)};
  const std::vector<int32_t> marked = {5, 6, image_token, 7, 8, 9, image_token, 10, 11};
  const std::vector<int32_t> first = program.PlaceImages(marked, images).value();
  const int64_t end_of_one = 2 + images[0].num_tokens;
  const int64_t end_of_two = end_of_one + 3 + images[1].num_tokens;
  const std::vector<EncodedImage> other = {Picture(program, 2)};
  const std::vector<int32_t> second =
      program.PlaceImages(std::vector<int32_t>{12, 13, image_token, 14}, other).value();

  for (const int64_t length : {int64_t{0}, int64_t{2}, end_of_one, end_of_one + 2, end_of_one + 3,
                               end_of_two, end_of_two + 1, end_of_two + 2}) {
    Session session = program.NewSession().value();
    Extend(session, 0, first, images);
    ASSERT_TRUE(session.Truncate(0, length)) << length;
    const std::vector<float> resumed = Extend(session, 0, second, other);

    std::vector<EncodedImage> kept(
        images.begin(), images.begin() + (length >= end_of_one) + (length >= end_of_two));
    kept.push_back(other[0]);
    Session scratch = program.NewSession().value();
    const std::vector<float> whole =
        Extend(scratch, 0, Joined(std::span(first).first(length), second), kept);
    ASSERT_TRUE(std::ranges::equal(resumed, std::span(whole).last(resumed.size())))
        << length << " tokens kept";
  }
}

TEST_P(TruncateImages, NoImageIsCut) {
  const Program program = Model::Load(Golden::ModelPath("tiny-qwen3_vl_moe"))
                              .value()
                              .Compile(SmallOptions({"", "cpu", GetParam()}))
                              .value();
  const std::vector<EncodedImage> images = {Picture(program, 0)};
  const std::vector<int32_t> ids =
      program.PlaceImages(std::vector<int32_t>{5, *program.image_token_id(), 7}, images).value();
  Session session = program.NewSession().value();
  Extend(session, 0, ids, images);
  const auto size = static_cast<int64_t>(ids.size());
  EXPECT_NE(session.Truncate(0, 2).error().message.find("truncated to 2 tokens, inside an image"),
            std::string::npos);
  EXPECT_FALSE(session.Truncate(0, size - 2));
  EXPECT_TRUE(session.Truncate(0, size - 1));

  // A KV cache file tells where its images lie.
  const auto file = std::filesystem::path(testing::TempDir()) /
                    ("truncate_" + GetParam() + std::to_string(getpid()) + ".kv");
  ASSERT_TRUE(session.SaveKv(0, file));
  ASSERT_TRUE(session.LoadKv(1, file));
  std::filesystem::remove(file);
  EXPECT_FALSE(session.Truncate(1, size - 2));
  EXPECT_TRUE(session.Truncate(1, size - 1));
  EXPECT_TRUE(session.Truncate(1, 0));
}

INSTANTIATE_TEST_SUITE_P(Formats, TruncateImages,
                         testing::Values("float32", "bfloat16", "mxint8 cache"));

}  // namespace
}  // namespace expertile
