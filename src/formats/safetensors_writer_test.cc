#include "formats/safetensors_writer.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/temporary_folder.h"

namespace expertile {
namespace {

namespace fs = std::filesystem;

std::vector<std::byte> CountingBytes(size_t size) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + 1);
  return bytes;
}

std::string CreateFailure(const std::vector<TensorDeclaration>& tensors,
                          const StringMap& metadata = {}) {
  const TemporaryFolder folder;
  const auto writer = SafetensorsWriter::Create(folder / "f", tensors, metadata);
  if (writer) return "no error";
  EXPECT_TRUE(fs::is_empty(folder.path()));
  EXPECT_EQ(writer.error().code, ErrorCode::kInvalidArgument);
  return writer.error().message.substr((folder / "f").string().size());
}

TEST(SafetensorsWriter, FileReadsBackAsWritten) {
  const TemporaryFolder folder;
  const std::vector<std::byte> bytes = CountingBytes(64);
  std::vector<NamedTensor> tensors;
  size_t begin = 0;
  for (const DTypeRow& row : kDTypes) {  // one of each dtype
    const auto size = static_cast<size_t>(row.size);
    tensors.push_back(
        {"t." + std::string(row.name), {row.dtype, {1, 1}, std::span(bytes).subspan(begin, size)}});
    begin += size;
  }
  tensors.push_back({"empty \"\xc3\xa9\"\n", {DType::kF32, {0, 5}, {}}});
  tensors.push_back({"matrix", {DType::kBF16, {3, 2}, std::span(bytes).subspan(9, 12)}});
  const StringMap metadata = {{"format", "pt"}, {"", "x"}};
  ASSERT_TRUE(WriteSafetensors(folder / "f", tensors, metadata));

  const auto file = SafetensorsFile::Open(folder / "f");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->metadata(), metadata);
  EXPECT_EQ(file->tensors().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const TensorView* found = file->Find(name);
    ASSERT_NE(found, nullptr) << name;
    EXPECT_EQ(found->dtype, tensor.dtype);
    EXPECT_EQ(found->shape, tensor.shape);
    EXPECT_TRUE(std::equal(found->bytes.begin(), found->bytes.end(), tensor.bytes.begin(),
                           tensor.bytes.end()));
  }
}

TEST(SafetensorsWriter, DataBeginsAlignedWhateverTheHeader) {
  const TemporaryFolder folder;
  for (size_t name_size = 1; name_size <= 16; ++name_size) {
    const std::vector<std::byte> bytes = CountingBytes(4);
    const std::vector<NamedTensor> tensors = {
        {std::string(name_size, 'n'), {DType::kU8, {4}, bytes}}};
    ASSERT_TRUE(WriteSafetensors(folder / "f", tensors));
    EXPECT_EQ(fs::file_size(folder / "f") % 8, 4u);
  }
}

TEST(SafetensorsWriter, TakesDataInAnyPortions) {
  const TemporaryFolder folder;
  const std::vector<TensorDeclaration> tensors = {{"a", DType::kU8, {5}}, {"b", DType::kF32, {2}}};
  const std::vector<std::byte> bytes = CountingBytes(13);
  auto writer = SafetensorsWriter::Create(folder / "f", tensors);
  ASSERT_TRUE(writer);
  ASSERT_TRUE(writer->Append(std::span(bytes).first(7)));
  ASSERT_TRUE(writer->Append({}));
  ASSERT_TRUE(writer->Append(std::span(bytes).subspan(7)));
  EXPECT_FALSE(fs::exists(folder / "f"));
  ASSERT_TRUE(writer->Finish());
  const auto file = SafetensorsFile::Open(folder / "f");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->Find("b")->bytes[0], bytes[5]);
  EXPECT_EQ(file->Find("b")->bytes[7], bytes[12]);
}

TEST(SafetensorsWriter, RefusesTooManyAndTooFewBytes) {
  const TemporaryFolder folder;
  const std::string path = folder / "f";
  {
    auto writer =
        SafetensorsWriter::Create(path, std::vector<TensorDeclaration>{{"a", DType::kU8, {5}}});
    ASSERT_TRUE(writer);
    ASSERT_TRUE(writer->Append(CountingBytes(4)));
    EXPECT_EQ(writer->Append(CountingBytes(2)).error().message,
              path + ": 6 bytes of data appended, but 5 were declared");
    EXPECT_EQ(writer->Finish().error().message,
              path + ": 4 bytes of data written, but 5 were declared");
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(SafetensorsWriter, RefusesDeclarationsThatNoReaderAccepts) {
  EXPECT_EQ(CreateFailure({{"a", DType::kU8, {1}}, {"a", DType::kF32, {2}}}),
            ": a: declared twice");
  EXPECT_EQ(CreateFailure({{"__metadata__", DType::kU8, {1}}}),
            ": \"__metadata__\" cannot name a tensor");
  EXPECT_EQ(CreateFailure({{"", DType::kU8, {1}}}), ": \"\" cannot name a tensor");
  EXPECT_EQ(CreateFailure({{"\xff", DType::kU8, {1}}}),
            ": a tensor name or metadata string is not UTF-8");
  EXPECT_EQ(CreateFailure({{"a", DType::kU8, {1}}}, {{"k", "\xff"}}),
            ": a tensor name or metadata string is not UTF-8");
  EXPECT_EQ(CreateFailure({{"a", DType::kU8, {2, -1}}}),
            ": a: shape [2,-1] of U8 is negative or overflows 64 bits");
  EXPECT_EQ(CreateFailure({{"a", DType::kF32, {INT64_MAX / 2}}}),
            ": a: shape [4611686018427387903] of F32 is negative or overflows 64 bits");
  EXPECT_EQ(CreateFailure({{"a", DType::kU8, {INT64_MAX}}, {"b", DType::kU8, {1}}}),
            ": b: the sizes up to this tensor overflow 64 bits");
  EXPECT_EQ(CreateFailure({{std::string(100'000'000, 'n'), DType::kU8, {1}}})
                .starts_with(": header of 1000000"),
            true);
}

TEST(WriteSafetensors, RefusesBytesThatAreNotTheShapes) {
  const TemporaryFolder folder;
  const std::string path = folder / "f";
  const std::vector<std::byte> bytes = CountingBytes(6);
  // The sum is right, each tensor is wrong.
  const std::vector<NamedTensor> tensors = {
      {"a", {DType::kU8, {4}, std::span(bytes).first(3)}},
      {"b", {DType::kU8, {2}, std::span(bytes).first(3)}},
  };
  EXPECT_EQ(WriteSafetensors(path, tensors).error().message,
            path + ": a: 3 bytes for shape [4] of U8");
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

}  // namespace
}  // namespace expertile
