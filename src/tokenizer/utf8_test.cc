#include "tokenizer/utf8.h"

#include <gtest/gtest.h>

namespace expertile {
namespace {

// The examples of Unicode 15.0, tables 3-8 to 3-11, and the ends of every range of table 3-7.
TEST(Utf8Test, ReplacesMaximalSubparts) {
  const std::string r = "\uFFFD";
  EXPECT_EQ(WellFormedUtf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(WellFormedUtf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(WellFormedUtf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
            r + r + r + r + r + "A" + r + r + "B");
  EXPECT_EQ(WellFormedUtf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), r + r + r + r + "A");
  EXPECT_EQ(WellFormedUtf8("a\xF0\x9F\x98"), "a" + r);
  for (const char32_t c :
       {0x0, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF}) {
    std::string text;
    AppendUtf8(c, &text);
    EXPECT_EQ(WellFormedUtf8(text), text);
    const Utf8Step step = DecodeUtf8(text);
    EXPECT_TRUE(step.well_formed);
    EXPECT_EQ(step.code_point, c);
    EXPECT_EQ(step.size, text.size());
  }
}

TEST(Utf8Test, CertainTextGrowsToTheWholeText) {
  const std::string bytes = "\xE1\x80\xE2\xF0\x9F\x98\x80\xC3\xA9\xFFx\xF0\x9F\x98";
  std::string pending;
  std::string text;
  for (const char byte : bytes) {
    pending += byte;
    text += TakeCertainUtf8(&pending);
    EXPECT_LE(pending.size(), 3);
    EXPECT_EQ(WellFormedUtf8(text), text);
  }
  EXPECT_EQ(text + WellFormedUtf8(pending), WellFormedUtf8(bytes));
}

}  // namespace
}  // namespace expertile
