// Sequences over one pool of blocks: however a sequence came to hold its tokens, and whatever else
// is in the step, its logits are the bits of one run from scratch.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "expertile/model.h"
#include "tests/golden.h"
#include "tests/sanitized.h"
#include "tests/subject.h"
#include "tests/target_here.h"

namespace expertile {
namespace {

// Does the same to a session and to a list of what its sequences must hold.
class RandomWalk {
 public:
  static constexpr int64_t kBatchSize = 3;
  static constexpr int64_t kCtxLen = 200;

  explicit RandomWalk(const Subject& subject)
      : model_(Model::Load(Golden::ModelPath(subject.model)).value()),
        program_(model_.Compile(WalkOptions(subject)).value()),
        session_(program_.NewSession().value()),
        fresh_(program_.NewSession().value()) {
    for (int64_t i = 0; i < kBatchSize; ++i) held_[i];
  }

  void Step() {
    switch (Below(8)) {
      case 0:
        return Fork();
      case 1:
        return Truncate();
      case 2:
        return Drop();
      case 3: {
        const int64_t sequence = session_.NewSequence();
        ASSERT_TRUE(held_.emplace(sequence, std::vector<int32_t>()).second);
        return;
      }
      default:
        return Extend();
    }
  }

 private:
  static CompileOptions WalkOptions(const Subject& subject) {
    CompileOptions options = OptionsOf(subject);
    options.num_cores = 2;
    options.batch_size = kBatchSize;
    options.ctx_len = kCtxLen;
    options.prefill_seq_len = 48;
    options.moe_prefill_num_nsp = 5;
    options.moe_prefill_packed_chunk_size = 16;
    return options;
  }

  int64_t Below(int64_t bound) { return static_cast<int64_t>(random_() % bound); }
  std::map<int64_t, std::vector<int32_t>>::iterator AnyOf() {
    return std::next(held_.begin(), Below(static_cast<int64_t>(held_.size())));
  }

  void Fork() {
    const auto origin = AnyOf();
    const auto fork = session_.Fork(origin->first);
    ASSERT_TRUE(fork);
    ASSERT_FALSE(held_.contains(*fork));
    held_[*fork] = origin->second;
  }

  void Truncate() {
    auto& [sequence, ids] = *AnyOf();
    ids.resize(Below(static_cast<int64_t>(ids.size()) + 1));
    ASSERT_TRUE(session_.Truncate(sequence, static_cast<int64_t>(ids.size())));
  }

  void Drop() {
    if (held_.size() < 3) return;
    const auto dropped = AnyOf();
    ASSERT_TRUE(session_.DropSequence(dropped->first));
    EXPECT_FALSE(session_.length(dropped->first));
    held_.erase(dropped);
  }

  // Some by a token, some by a prompt, all in one call.
  void Extend() {
    std::map<int64_t, std::vector<int32_t>> added;
    for (const auto& [sequence, ids] : held_) {
      const auto room = kCtxLen - static_cast<int64_t>(ids.size());
      if (Below(2) == 0 || room == 0) continue;
      const int64_t count = Below(2) == 0 ? 1 : 1 + Below(std::min<int64_t>(room, 90));
      for (int64_t i = 0; i < count; ++i) {
        added[sequence].push_back(static_cast<int32_t>(Below(4000)));
      }
    }
    std::vector<Extension> extensions;
    for (const auto& [sequence, ids] : added) extensions.push_back({sequence, ids});
    if (extensions.empty()) return;
    const auto logits = session_.Run(extensions, LogitsWanted::kAll);
    if (!logits) {
      EXPECT_NE(logits.error().message.find("blocks"), std::string::npos) << logits.error().message;
      return;
    }
    ++num_compared_;
    const auto V = static_cast<size_t>(program_.vocab_size());
    std::span<const float> rest = *logits;
    for (const auto& [sequence, ids] : added) {
      std::vector<int32_t>& held = held_[sequence];
      held.insert(held.end(), ids.begin(), ids.end());
      ASSERT_EQ(session_.length(sequence).value(), static_cast<int64_t>(held.size()));
      ExpectFresh(held, rest.first(ids.size() * V));
      rest = rest.subspan(ids.size() * V);
    }
  }

  // `logits` are those of the last of `ids`.
  void ExpectFresh(const std::vector<int32_t>& ids, std::span<const float> logits) {
    ASSERT_TRUE(fresh_.Clear(0));
    const Extension whole{0, ids};
    const auto expected = fresh_.Run({&whole, 1}, LogitsWanted::kAll).value();
    EXPECT_TRUE(std::ranges::equal(std::span(expected).last(logits.size()), logits))
        << ids.size() << " tokens";
  }

 public:
  int num_compared() const { return num_compared_; }

 private:
  std::mt19937 random_{7};
  Model model_;
  Program program_;
  Session session_;
  Session fresh_;
  std::map<int64_t, std::vector<int32_t>> held_;
  int num_compared_ = 0;
};

class SequencesTest : public testing::TestWithParam<Subject> {};

TEST_P(SequencesTest, HoldTheBitsOfOneRunFromScratch) {
  EXPERTILE_SKIP_UNLESS_HERE(GetParam().target);
  RandomWalk walk(GetParam());
  const int num_steps = (GetParam().target != "reference" ? 60 : 15) / (kIsSanitized ? 3 : 1);
  for (int i = 0; i < num_steps && !HasFailure(); ++i) walk.Step();
  EXPECT_GE(walk.num_compared(), num_steps / 5);
}

std::vector<Subject> AllSubjects() {
  std::vector<Subject> subjects;
  for (const char* model :
       {"tiny-gpt_oss", "tiny-granitemoe", "tiny-qwen3_moe", "tiny-qwen3_vl_moe"}) {
    subjects.push_back({model, "reference", "float32"});
    for (const char* dtype : {"float32", "bfloat16", "mx", "mxint8"})
      subjects.push_back({model, "cpu", dtype});
    subjects.push_back({model, "cuda", "bfloat16"});
  }
  return subjects;
}

INSTANTIATE_TEST_SUITE_P(AllTargets, SequencesTest, testing::ValuesIn(AllSubjects()),
                         [](const auto& subject) { return WordOf(subject.param); });

TEST(SessionSequencesTest, AFullPoolRefusesAndChangesNothing) {
  CompileOptions options;
  options.ctx_len = 128;
  options.batch_size = 1;
  const Program program =
      Model::Load(Golden::ModelPath("tiny-qwen3_moe"))->Compile(options).value();
  Session session = program.NewSession().value();
  const std::vector<int32_t> ids(70, 9);
  const Extension prompt{0, ids};
  ASSERT_TRUE(session.Run({&prompt, 1}));
  const int64_t other = session.NewSequence();
  const Extension second{other, std::span(ids).first(1)};
  const auto refused = session.Run({&second, 1});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("1 blocks of 64 positions are needed, 0 of 2 are free"),
            std::string::npos)
      << refused.error().message;
  EXPECT_EQ(session.length(other).value(), 0);
  ASSERT_TRUE(session.Truncate(0, 64));
  EXPECT_TRUE(session.Run({&second, 1}));
  EXPECT_FALSE(session.Truncate(0, 65));
  EXPECT_FALSE(session.Truncate(0, -1));
  EXPECT_FALSE(session.Truncate(7, 0));
  EXPECT_FALSE(session.Fork(7));
  EXPECT_FALSE(session.DropSequence(-1));
}

}  // namespace
}  // namespace expertile
