#include "targets/cpu/isa.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "base/dtype.h"
#include "targets/cpu/kernel_table.h"

namespace expertile::cpu {
namespace {

TEST(Isa, EveryNameIsForcedOrRefusedWithBothFacts) {
  const std::vector<Isa> supported = SupportedIsas();
  for (const Isa isa : {Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16, Isa::kAmx}) {
    const Result<Isa> chosen = ChooseIsa(NameOf(isa));
    if (std::find(supported.begin(), supported.end(), isa) != supported.end()) {
      ASSERT_TRUE(chosen.has_value()) << chosen.error().message;
      EXPECT_EQ(*chosen, isa);
    } else {
      ASSERT_FALSE(chosen.has_value());
      EXPECT_NE(chosen.error().message.find(NameOf(isa)), std::string::npos);
    }
  }
}

TEST(Isa, UnknownNameIsAnErrorThatListsWhatThereIs) {
  const Result<Isa> chosen = ChooseIsa("sse9");
  ASSERT_FALSE(chosen.has_value());
  EXPECT_NE(chosen.error().message.find("sse9"), std::string::npos);
  for (const Isa isa : SupportedIsas()) {
    EXPECT_NE(chosen.error().message.find(NameOf(isa)), std::string::npos);
  }
}

TEST(Isa, DefaultIsSupported) {
  const std::vector<Isa> supported = SupportedIsas();
  const Result<Isa> chosen = ChooseIsa("");
  ASSERT_EQ(chosen.has_value(), !supported.empty());
  if (!chosen) return;
  EXPECT_NE(std::find(supported.begin(), supported.end(), *chosen), supported.end());
}

// Each table names the translation unit that it was compiled in, and its kernels are its own.
TEST(Isa, EachTableHasItsOwnKernels) {
  const auto isas = {Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16, Isa::kAmx};
  for (const Isa isa : isas) {
    EXPECT_EQ(KernelsFor(isa).isa, isa);
    EXPECT_EQ(KernelsFor(isa).name, NameOf(isa));
    for (const Isa other : isas) {
      if (other == isa) continue;
      EXPECT_NE(KernelsFor(isa).float32.float32[1], KernelsFor(other).float32.float32[1]);
      EXPECT_NE(KernelsFor(isa).bfloat16.bfloat16[1], KernelsFor(other).bfloat16.bfloat16[1]);
      EXPECT_NE(KernelsFor(isa).combine, KernelsFor(other).combine);
    }
  }
}

class EveryInstructionSet : public testing::TestWithParam<Isa> {};

// The other tests run on what SupportedIsas() lists; this one says what they left out.
TEST_P(EveryInstructionSet, Multiplies) {
  const std::vector<Isa> supported = SupportedIsas();
  if (std::ranges::find(supported, GetParam()) == supported.end()) {
    GTEST_SKIP() << "this machine has no " << NameOf(GetParam());
  }
  const KernelTable& table = KernelsFor(GetParam());
  const GemmKernels& kernels = table.bfloat16;
  constexpr int64_t kDepth = 64;
  const int rows = kernels.max_tile_rows;
  const std::vector<float> twos(rows * kDepth, 2.0f);
  std::vector<std::byte> tile(rows * kDepth * kernels.activation_size);
  kernels.pack(twos.data(), kDepth, nullptr, rows, kDepth, tile.data());
  const std::vector<uint16_t> halves(kDepth * table.panel_columns, FloatToBFloat16(0.5f));
  std::vector<float> sums(rows * table.panel_columns);
  {
    const TileScope scope(kernels);
    kernels.bfloat16[rows](tile.data(), reinterpret_cast<const std::byte*>(halves.data()), kDepth,
                           sums.data(), /*first=*/true, {});
  }
  for (const float sum : sums) EXPECT_EQ(sum, 64.0f);
}

INSTANTIATE_TEST_SUITE_P(Isas, EveryInstructionSet,
                         testing::Values(Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16, Isa::kAmx),
                         [](const auto& isa) { return std::string(NameOf(isa.param)); });

}  // namespace
}  // namespace expertile::cpu
