#include "base/sha256.h"

#include <gtest/gtest.h>

#include <string_view>

namespace expertile {
namespace {

TEST(Sha256, MatchesTheStandardsExamples) {  // FIPS 180-2, appendix B
  const auto hex = [](std::string_view text) { return Sha256Hex(std::as_bytes(std::span(text))); };
  EXPECT_EQ(hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Sha256, PiecesHashLikeTheWhole) {
  Sha256 hash;
  const std::string_view text = "abc";
  hash.Update(std::as_bytes(std::span(text.substr(0, 1))));
  hash.Update(std::as_bytes(std::span(text.substr(1))));
  EXPECT_EQ(hash.Hex(), Sha256Hex(std::as_bytes(std::span(text))));
}

}  // namespace
}  // namespace expertile
