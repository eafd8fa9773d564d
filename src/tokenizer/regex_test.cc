#include "tokenizer/regex.h"

#include <gtest/gtest.h>

#include "tokenizer/oniguruma_syntax.h"

namespace expertile {
namespace {

std::vector<std::string> Matches(const Regex& regex, const std::string& text) {
  std::vector<TextRange> ranges;
  EXPECT_TRUE(RegexSearch(regex).FindAll(text, &ranges));
  std::vector<std::string> matches;
  for (const auto& [begin, end] : ranges) matches.push_back(text.substr(begin, end - begin));
  return matches;
}

using Strings = std::vector<std::string>;

TEST(OnigurumaSyntaxTest, RewritesWhatPcre2ReadsDifferently) {
  const auto rewritten = [](const char* pattern) { return Pcre2FromOniguruma(pattern).value(); };
  EXPECT_EQ(rewritten("\\s[\\s\\S]\\S"),
            "[\\p{White_Space}][\\p{White_Space}\\P{White_Space}][^\\p{White_Space}]");
  EXPECT_EQ(rewritten("\\h\\v\\x41\\u00e9"), "[0-9A-Fa-f]\\x0B\\x{41}\\x{00e9}");
  EXPECT_EQ(rewritten("a{,2}{x{1,2}?"), "a{0,2}\\{x{1,2}?");
  EXPECT_EQ(rewritten("(?m:.)(?i-m:a)"), "(?s:.)(?i-s:a)");
  EXPECT_EQ(rewritten("\\p{Han}\\p{^Lu}\\P{^N}"), "\\p{sc:Han}\\P{Lu}\\p{N}");
  EXPECT_EQ(rewritten("[]a][^]a]"), "[\\]a][^\\]a]");
}

TEST(OnigurumaSyntaxTest, RefusesWhatItCannotRewrite) {
  for (const char* pattern :
       {"[a&&b]", "[a[b]]", "[[:alpha:]]", "a{2}+",    "a{2}?",   "\\pL",   "\\K",    "\\R",
        "\\1",    "\\bx",   "(*F)",        "(?P<n>a)", "(?<n>a)", "a(?i)b", "(?x:a)", "(?#c)",
        "[\\W]",  "[\\H]",  "\\xff",       "\\u12",    "\\",      "(?"}) {
    const auto result = Pcre2FromOniguruma(pattern);
    ASSERT_FALSE(result) << pattern << " became " << *result;
    EXPECT_EQ(result.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(result.error().message.find(pattern), std::string::npos) << result.error().message;
  }
}

TEST(RegexTest, SpaceIsUnicodeWhiteSpace) {
  const Regex space = Regex::FromOniguruma("\\s").value();
  for (const char* text : {"\t", "\n", "\v", "\f", "\r", " ", "\u0085", "\u00A0", "\u1680",
                           "\u2000", "\u200A", "\u2028", "\u2029", "\u202F", "\u205F", "\u3000"}) {
    EXPECT_EQ(Matches(space, text), Strings{text});
  }
  for (const char* text : {"\u180E", "\u200B", "\uFEFF", "\x1C"}) {
    EXPECT_EQ(Matches(space, text), Strings{});
  }
}

TEST(RegexTest, SkipsEmptyMatchAfterMatch) {
  EXPECT_EQ(Matches(Regex::FromOniguruma("x*").value(), "axxé"), (Strings{"", "xx", ""}));
  EXPECT_EQ(Matches(Regex::FromOniguruma("").value(), "é"), (Strings{"", ""}));
}

TEST(RegexTest, LiteralIsTakenLiterally) {
  const std::string text = "\\^$.|?*+()[]{}-#/ a";
  EXPECT_EQ(Matches(Regex::FromLiteral(text).value(), "x" + text), Strings{text});
}

TEST(RegexTest, LongRunsMatchAndHostilePatternsFail) {
  const std::string run(1 << 20, 'a');
  EXPECT_TRUE(Matches(Regex::FromOniguruma("(?:a|b)+").value(), run) == Strings{run});
  EXPECT_TRUE(Matches(Regex::FromOniguruma("a*[bc]|a+").value(), run) == Strings{run});
  const Regex hostile = Regex::FromOniguruma("(?:a+)+[bc]").value();
  std::vector<TextRange> ranges;
  const Status status = RegexSearch(hostile).FindAll(run.substr(0, 64), &ranges);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("(?:a+)+[bc]"), std::string::npos);
}

TEST(RegexTest, SyntaxErrorIsInvalidData) {
  EXPECT_EQ(Regex::FromOniguruma("(a").error().code, ErrorCode::kInvalidData);
  EXPECT_EQ(Regex::FromOniguruma("\\p{Nonsense}").error().code, ErrorCode::kInvalidData);
}

}  // namespace
}  // namespace expertile
