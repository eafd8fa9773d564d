#include "running/sequences.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace expertile {
namespace {

std::vector<int32_t> BlocksOf(const Sequences& sequences, int64_t sequence) {
  const BlockTable blocks = sequences.blocks(sequence);
  return {blocks.begin(), blocks.end()};
}

// Grows a sequence by `count` text tokens; the copies that this asks for.
std::vector<BlockCopy> Grow(Sequences& sequences, int64_t sequence, int64_t count) {
  const Sequences::Growth growth{sequence, count};
  auto copies = sequences.Reserve({&growth, 1}).value();
  sequences.Append(sequence, std::vector<int32_t>(count, 0));
  return copies;
}

TEST(SequencesTest, AForkSharesBlocksUntilOneOfTheTwoGrows) {
  Sequences sequences(1, 512);
  Grow(sequences, 0, kKvBlockSize + 10);
  const int64_t fork = sequences.Fork(0).value();
  EXPECT_EQ(BlocksOf(sequences, fork), BlocksOf(sequences, 0));
  const auto copies = Grow(sequences, fork, 1);
  ASSERT_EQ(copies.size(), 1u);
  EXPECT_EQ(copies[0].from, BlocksOf(sequences, 0)[1]);
  EXPECT_EQ(copies[0].to, BlocksOf(sequences, fork)[1]);
  EXPECT_EQ(BlocksOf(sequences, fork)[0], BlocksOf(sequences, 0)[0]);
  EXPECT_TRUE(Grow(sequences, 0, 1).empty()) << "the last holder writes in place";
}

TEST(SequencesTest, WholeBlocksAreNeverCopied) {
  Sequences sequences(2, 256);
  Grow(sequences, 0, kKvBlockSize);
  const int64_t fork = sequences.Fork(0).value();
  EXPECT_TRUE(Grow(sequences, fork, 5).empty());
  EXPECT_TRUE(Grow(sequences, 0, 5).empty());
  EXPECT_NE(BlocksOf(sequences, fork)[1], BlocksOf(sequences, 0)[1]);
}

TEST(SequencesTest, TruncationInsideASharedBlockCopiesItBeforeTheNextToken) {
  Sequences sequences(2, 256);
  Grow(sequences, 0, 2 * kKvBlockSize);
  const int64_t fork = sequences.Fork(0).value();
  ASSERT_TRUE(sequences.Truncate(fork, 10));
  EXPECT_EQ(BlocksOf(sequences, fork).size(), 1u);
  EXPECT_EQ(Grow(sequences, fork, 1).size(), 1u);
  EXPECT_EQ(sequences.length(fork), 11);
  EXPECT_EQ(sequences.length(0), 2 * kKvBlockSize);
}

TEST(SequencesTest, AllBlocksComeBack) {
  Sequences sequences(3, 128);
  for (int round = 0; round < 4; ++round) {
    Grow(sequences, 0, 100);
    const int64_t fork = sequences.Fork(0).value();
    const int64_t again = sequences.Fork(fork).value();
    Grow(sequences, again, 1);
    ASSERT_TRUE(sequences.Drop(fork));
    ASSERT_TRUE(sequences.Drop(again));
    ASSERT_TRUE(sequences.Truncate(0, 0));
    const Sequences::Growth all{1, 6 * kKvBlockSize};
    ASSERT_TRUE(sequences.Reserve({&all, 1}));
    sequences.Trim(1);
  }
  const Sequences::Growth too_much{1, 6 * kKvBlockSize + 1};
  const auto refused = sequences.Reserve({&too_much, 1});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message,
            "KV cache: 7 blocks of 64 positions are needed, 6 of 6 are free");
}

// Of holders that all write to a shared partial block, the last one needs no copy: the pool's last
// block is enough for two of them.
TEST(SequencesTest, OnlyAsManyCopiesAsAreNeeded) {
  Sequences sequences(1, 2 * kKvBlockSize);
  Grow(sequences, 0, 10);
  const int64_t fork = sequences.Fork(0).value();
  const Sequences::Growth both[] = {{0, 1}, {fork, 1}};
  const auto copies = sequences.Reserve(both);
  ASSERT_TRUE(copies);
  EXPECT_EQ(copies->size(), 1u);
  EXPECT_NE(BlocksOf(sequences, 0), BlocksOf(sequences, fork));
}

TEST(SequencesTest, NumbersOfDroppedSequencesAreUsedAgain) {
  Sequences sequences(2, 64);
  EXPECT_EQ(sequences.Add(), 2);
  ASSERT_TRUE(sequences.Drop(1));
  EXPECT_FALSE(sequences.Check(1));
  EXPECT_EQ(sequences.Add(), 1);
  EXPECT_FALSE(sequences.Drop(9));
}

TEST(SequencesTest, TruncationKnowsWhereRopeGoesOn) {
  Sequences sequences(1, 64);
  const Sequences::Growth growth{0, 4};
  ASSERT_TRUE(sequences.Reserve({&growth, 1}));
  sequences.Append(0, std::vector<int32_t>{0, Sequences::kNoDelta, -1, -1});
  EXPECT_EQ(sequences.rope_delta(0), -1);
  EXPECT_FALSE(sequences.Truncate(0, 2)) << "inside an image";
  ASSERT_TRUE(sequences.Truncate(0, 3));
  EXPECT_EQ(sequences.rope_delta(0), -1);
  ASSERT_TRUE(sequences.Truncate(0, 1));
  EXPECT_EQ(sequences.rope_delta(0), 0);
}

}  // namespace
}  // namespace expertile
