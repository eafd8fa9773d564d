#include "formats/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "base/error.h"

namespace expertile {
namespace {

std::string FileText(uint64_t header_size, std::string_view rest) {
  std::string text;
  for (int shift = 0; shift < 64; shift += 8) text += static_cast<char>(header_size >> shift);
  return text.append(rest);
}

std::string FileText(const std::string& header, size_t data_size) {
  return FileText(header.size(), header + std::string(data_size, 'd'));
}

std::string Failure(const std::string& text) {
  const auto file = SafetensorsFile::Parse(std::as_bytes(std::span(text)), "f");
  return file ? "no error" : file.error().message;
}

std::string Failure(const std::string& header, size_t data_size) {
  return Failure(FileText(header, data_size));
}

// A header with one tensor "w" of the given fields.
std::string Entry(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return fmt::format(R"({{"w":{{"dtype":{},"shape":{},"data_offsets":{}}}}})", dtype, shape,
                     offsets);
}

// A header of U8 vectors, each at [begin, end).
std::string Extents(const std::vector<std::pair<int, int>>& extents) {
  std::string header;
  char name = 'a';
  for (const auto& [begin, end] : extents) {
    header += fmt::format(R"({}"{}":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}})",
                          header.empty() ? "" : ",", name++, end - begin, begin, end);
  }
  return "{" + header + "}";
}

TEST(SafetensorsFile, ReadsTensorsAtAnyAlignment) {
  // The header is 1 mod 2, so that no F32 value is aligned; and the odd one comes first.
  std::string header =
      R"({"w":{"dtype":"F32","shape":[2,1],"data_offsets":[1,9]},)"
      R"("b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"__metadata__":{"format":"pt"}})";
  if (header.size() % 2 == 1) header += ' ';
  const float values[2] = {1.5f, -3.25f};
  std::string text = FileText(header.size(), header) + "b" +
                     std::string(reinterpret_cast<const char*>(values), sizeof(values));
  const auto file = SafetensorsFile::Parse(std::as_bytes(std::span(text)), "f");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->tensors().size(), 2u);
  EXPECT_EQ(file->metadata().at("format"), "pt");
  EXPECT_EQ(file->Find("__metadata__"), nullptr);
  EXPECT_EQ(file->Find("x"), nullptr);
  const TensorView* w = file->Find("w");
  ASSERT_NE(w, nullptr);
  EXPECT_EQ(w->dtype, DType::kF32);
  EXPECT_EQ(w->shape, (std::vector<int64_t>{2, 1}));
  ASSERT_EQ(w->bytes.size(), sizeof(values));
  EXPECT_EQ(std::memcmp(w->bytes.data(), values, sizeof(values)), 0);
  EXPECT_EQ((w->bytes.data() - reinterpret_cast<const std::byte*>(text.data())) % 2, 1);
}

TEST(SafetensorsFile, AcceptsEmptyTensorsAndScalarsAndNoTensors) {
  EXPECT_EQ(Failure("{}", 0), "no error");
  EXPECT_EQ(Failure("{}   ", 0), "no error");
  EXPECT_EQ(Failure(Entry(R"("F32")", "[]", "[0,4]"), 4), "no error");
  EXPECT_EQ(Failure(Entry(R"("F32")", "[0,9223372036854775807]", "[0,0]"), 0), "no error");
  EXPECT_EQ(Failure(Extents({{0, 0}, {0, 4}, {4, 4}, {4, 4}, {4, 6}}), 6), "no error");
}

TEST(SafetensorsFile, RefusesWhatIsShorterThanItsHeader) {
  EXPECT_EQ(Failure(""), "f: 0 bytes, too short for a safetensors file (at least 8)");
  EXPECT_EQ(Failure("1234567"), "f: 7 bytes, too short for a safetensors file (at least 8)");
  EXPECT_EQ(Failure(FileText(3, "{}")),
            "f: truncated: header of 3 bytes, but only 2 bytes follow its size");
  EXPECT_EQ(Failure(FileText(100'000'000, "{}")),
            "f: truncated: header of 100000000 bytes, but only 2 bytes follow its size");
  EXPECT_EQ(Failure(FileText(100'000'001, "{}")),
            "f: not a safetensors file: header of 100000001 bytes, at most 100000000 allowed");
  EXPECT_EQ(Failure(FileText(UINT64_MAX, "{}")),
            "f: not a safetensors file: header of 18446744073709551615 bytes, at most 100000000 "
            "allowed");
}

TEST(SafetensorsFile, RefusesHeadersThatAreNotObjects) {
  EXPECT_EQ(Failure("", 0), "f: header of 0 bytes does not begin with {");
  EXPECT_EQ(Failure("[]", 0), "f: header of 2 bytes does not begin with {");
  EXPECT_EQ(Failure(" {}", 0), "f: header of 3 bytes does not begin with {");
  EXPECT_EQ(Failure("{\"w\"}", 0), R"(f: header: line 1, column 5: malformed JSON near `{"w"}`)");
  EXPECT_EQ(Failure(R"({"w":3})", 0), "f: header: w: expected an object, got 3");
  EXPECT_EQ(Failure(R"({"w":{},"w":{}})", 0), "f: header: two fields named \"w\"");
  EXPECT_EQ(Failure(R"({"__metadata__":3})", 0),
            "f: header: __metadata__: expected an object, got 3");
  EXPECT_EQ(Failure(R"({"__metadata__":{"a":3}})", 0),
            "f: header: __metadata__.a: expected a string, got 3");
}

TEST(SafetensorsFile, RefusesMissingFields) {
  EXPECT_EQ(Failure(R"({"w":{"shape":[],"data_offsets":[0,4]}})", 4),
            "f: header: w.dtype: missing");
  EXPECT_EQ(Failure(R"({"w":{"dtype":"F32","data_offsets":[0,4]}})", 4),
            "f: header: w.shape: missing");
  EXPECT_EQ(Failure(R"({"w":{"dtype":"F32","shape":[]}})", 4),
            "f: header: w.data_offsets: missing");
}

TEST(SafetensorsFile, KeepsTensorsOfUnknownDTypesApart) {
  for (const std::string dtype :
       {"U16", "U32", "U64", "C64", "F8_E4M3", "F8_E5M2", "F4", "odd\\n"}) {
    const std::string text =
        FileText(fmt::format(R"({{"w":{{"dtype":"{}","shape":[4],"data_offsets":[4,11]}},)"
                             R"("x":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}}})",
                             dtype),
                 11);
    const auto file = SafetensorsFile::Parse(std::as_bytes(std::span(text)), "f");
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(file->Find("w"), nullptr);
    EXPECT_EQ(file->tensors().size(), 1u);
    ASSERT_NE(file->FindUnreadable("w"), nullptr);
    EXPECT_EQ(file->FindUnreadable("w")->bytes.size(), 7u);
    EXPECT_EQ(file->FindUnreadable("x"), nullptr);
  }
  EXPECT_EQ(CannotRead("w", {"F4\n", {}}).value().message,
            "w: dtype F4\\x0a, expected one of F32, BF16, F16, F64, I64, I32, I16, I8, U8, BOOL");
  EXPECT_EQ(Failure(Entry("7", "[4]", "[0,4]"), 4), "f: header: w.dtype: expected a string, got 7");
}

TEST(SafetensorsFile, BoundsTensorsOfUnknownDTypesToo) {
  EXPECT_NE(Failure(Entry(R"("F4")", "[4]", "[0,5]"), 4).find("beyond the 4 bytes"),
            std::string::npos);
  EXPECT_NE(Failure(Entry(R"("F4")", "[4]", "[1,4]"), 4).find("hole after byte 0"),
            std::string::npos);
  EXPECT_NE(Failure(Entry(R"("F4")", "[4]", "[0,3]"), 4).find("the tensors end at 3"),
            std::string::npos);
  EXPECT_NE(Failure(Entry(R"("F4")", "[-4]", "[0,4]"), 4).find("-4 is out of range"),
            std::string::npos);
}

TEST(SafetensorsFile, RefusesImpossibleShapes) {
  EXPECT_EQ(Failure(Entry(R"("U8")", "[2,-2]", "[0,4]"), 4),
            "f: header: w.shape[1]: -2 is out of range, expected 0 to 9223372036854775807");
  EXPECT_EQ(Failure(Entry(R"("U8")", "[4.0]", "[0,4]"), 4),
            "f: header: w.shape[0]: expected an integer, got 4.0");
  EXPECT_EQ(Failure(Entry(R"("U8")", "4", "[0,4]"), 4),
            "f: header: w.shape: expected a list, got 4");
  std::string ones = "1";
  for (int rank = 2; rank <= 65; ++rank) ones += ",1";
  EXPECT_EQ(Failure(Entry(R"("U8")", "[" + ones + "]", "[0,1]"), 1),
            "f: header: w: shape of 65 dimensions, at most 64 allowed");
  EXPECT_EQ(Failure(Entry(R"("U8")", "[" + ones.substr(2) + "]", "[0,1]"), 1), "no error");
  // 2^32 * 2^32 is 0 and 2^62 * 4 is 0 in 64 bits; the empty tensor must not pass for them.
  EXPECT_EQ(Failure(Entry(R"("U8")", "[4294967296,4294967296]", "[0,0]"), 0),
            "f: header: w: shape [4294967296,4294967296] of U8 overflows 64 bits");
  EXPECT_EQ(Failure(Entry(R"("F32")", "[4611686018427387904]", "[0,0]"), 0),
            "f: header: w: shape [4611686018427387904] of F32 overflows 64 bits");
}

TEST(SafetensorsFile, RefusesImpossibleOffsets) {
  EXPECT_EQ(Failure(Entry(R"("U8")", "[4]", "[0,2,4]"), 4),
            "f: header: w: data_offsets of 3 numbers, expected 2");
  EXPECT_EQ(Failure(Entry(R"("U8")", "[4]", "[4,0]"), 4),
            "f: header: w: data_offsets [4,0] end before they begin");
  EXPECT_EQ(Failure(Entry(R"("U8")", "[4]", "[-4,0]"), 4),
            "f: header: w.data_offsets[0]: -4 is out of range, expected 0 to 9223372036854775807");
  EXPECT_EQ(Failure(Entry(R"("U8")", "[4]", "[9223372036854775807,9223372036854775807]"), 4),
            "f: header: w: data_offsets [9223372036854775807,9223372036854775807] reach beyond the "
            "4 bytes of data in the file, which was not written or downloaded whole");
  EXPECT_EQ(Failure(Entry(R"("F32")", "[2,2]", "[0,12]"), 12),
            "f: header: w: data_offsets [0,12] hold 12 bytes, but shape [2,2] of F32 has 16");
}

TEST(SafetensorsFile, RefusesEveryTruncation) {
  const std::string text = FileText(Entry(R"("F32")", "[2]", "[0,8]"), 8);
  ASSERT_EQ(Failure(text), "no error");
  for (size_t size = 0; size < text.size(); ++size) {
    EXPECT_NE(Failure(text.substr(0, size)), "no error") << size;
  }
  EXPECT_EQ(
      Failure(text.substr(0, text.size() - 1)),
      "f: header: w: data_offsets [0,8] reach beyond the 7 bytes of data in the file, which was "
      "not written or downloaded whole");
}

TEST(SafetensorsFile, RefusesOverlapsHolesAndBytesToSpare) {
  EXPECT_EQ(Failure(Extents({{0, 4}, {4, 8}}), 8), "no error");
  EXPECT_EQ(Failure(Extents({{4, 8}, {0, 4}}), 8), "no error");
  EXPECT_EQ(Failure(Extents({{0, 5}, {4, 8}}), 8),
            "f: header: b: data_offsets [4,8] overlap those of a: [0,5]");
  EXPECT_EQ(Failure(Extents({{0, 8}, {0, 8}}), 8),
            "f: header: b: data_offsets [0,8] overlap those of a: [0,8]");
  EXPECT_EQ(Failure(Extents({{0, 8}, {2, 2}}), 8),
            "f: header: b: data_offsets [2,2] overlap those of a: [0,8]");
  EXPECT_EQ(Failure(Extents({{0, 3}, {4, 8}}), 8),
            "f: header: b: data_offsets [4,8] leave a hole after byte 3");
  EXPECT_EQ(Failure(Extents({{1, 8}}), 8),
            "f: header: a: data_offsets [1,8] leave a hole after byte 0");
  EXPECT_EQ(Failure(Extents({{0, 7}}), 8), "f: header: 8 bytes of data, but the tensors end at 7");
  EXPECT_EQ(Failure("{}", 1), "f: header: 1 bytes of data, but the tensors end at 0");
}

TEST(SafetensorsFile, NamesMissingFiles) {
  const auto file = SafetensorsFile::Open("/nowhere/model.safetensors");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace expertile
