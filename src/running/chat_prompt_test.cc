#include "running/chat_prompt.h"

#include <gtest/gtest.h>

namespace expertile {
namespace {

// 9 is an image token.
const ChatPrompt kHeld{{1, 2, 9, 9, 9, 3, 4}, {{"a", 2, 5}}};

TEST(CountShared, TheCommonBeginning) {
  EXPECT_EQ(CountShared({}, kHeld), 0);
  EXPECT_EQ(CountShared(kHeld, {{1, 2, 9, 9, 9, 3, 4, 5}, {{"a", 2, 5}}}), 7);
  EXPECT_EQ(CountShared(kHeld, {{1, 2, 9, 9, 9, 3, 5}, {{"a", 2, 5}}}), 6);
  EXPECT_EQ(CountShared(kHeld, {{1, 3}, {}}), 1);
}

TEST(CountShared, OneTokenIsLeftToCompute) {
  EXPECT_EQ(CountShared(kHeld, kHeld), 6);
  EXPECT_EQ(CountShared(kHeld, {{1, 2}, {}}), 1);
  EXPECT_EQ(CountShared(kHeld, {{1}, {}}), 0);
}

TEST(CountShared, AnotherPictureIsNotShared) {
  EXPECT_EQ(CountShared(kHeld, {{1, 2, 9, 9, 9, 3, 4, 5}, {{"b", 2, 5}}}), 2);
  // Image tokens without a picture are text.
  EXPECT_EQ(CountShared(kHeld, {{1, 2, 9, 9, 9, 3, 4, 5}, {}}), 2);
  EXPECT_EQ(CountShared({{1, 2, 9, 9, 9, 3, 4}, {}}, {{1, 2, 9, 9, 9, 3, 4, 5}, {{"a", 2, 5}}}), 2);
}

TEST(CountShared, NoPictureIsCut) {
  EXPECT_EQ(CountShared(kHeld, {{1, 2, 9, 9, 3}, {{"c", 2, 4}}}), 2);
  EXPECT_EQ(CountShared({{1, 2, 9, 9}, {{"a", 2, 5}}}, {{1, 2, 9, 9, 9, 3}, {{"a", 2, 5}}}), 2);
  const ChatPrompt two{{9, 9, 1, 9, 9, 2}, {{"a", 0, 2}, {"b", 3, 5}}};
  EXPECT_EQ(CountShared(two, {{9, 9, 1, 9, 9, 2, 3}, {{"a", 0, 2}, {"c", 3, 5}}}), 3);
  EXPECT_EQ(CountShared(two, {{9, 9, 1, 9, 9, 2, 3}, {{"a", 0, 2}, {"b", 3, 5}}}), 6);
}

}  // namespace
}  // namespace expertile
