#include "targets/cpu/isa.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <utility>

#include "base/error.h"

namespace expertile::cpu {
namespace {

constexpr std::array<std::pair<Isa, std::string_view>, 4> kNames = {{
    {Isa::kAvx2, "avx2"},
    {Isa::kAvx512, "avx512"},
    {Isa::kAvx512Bf16, "avx512bf16"},
    {Isa::kAmx, "amx"},
}};

// By CPUID, as not every compiler's __builtin_cpu_supports knows these names.
bool HasTileInstructions() {
  constexpr unsigned kLeaf = 7;
  constexpr unsigned kTile = 1u << 24;
  constexpr unsigned kBFloat16 = 1u << 22;
  constexpr unsigned kInt8 = 1u << 25;
  constexpr unsigned kAll = kTile | kBFloat16 | kInt8;
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  return __get_cpuid_count(kLeaf, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx & kAll) == kAll;
}

// Linux gives a process the large tile registers on request, once and for all its threads; older
// kernels and sandboxes refuse, as does one that does not save them.
bool HasTilePermission() {
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;               // XFEATURE_XTILEDATA
  static const bool is_granted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return is_granted;
}

// __builtin_cpu_supports also asks XGETBV whether the operating system saves the registers.
bool Supports(Isa isa) {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  // Every processor with the one has the other.
  const bool avx512_bf16 =
      avx512 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
  switch (isa) {
    case Isa::kAvx2:
      return avx2;
    case Isa::kAvx512:
      return avx512;
    case Isa::kAvx512Bf16:
      return avx512_bf16;
    case Isa::kAmx:
      return avx512_bf16 && HasTileInstructions() && HasTilePermission();
  }
  return false;
}

// Intel's cores issue one vdpbf16ps every two cycles: half the rate of two float32 FMAs a cycle per
// multiply-add pair, so the plain AVX-512 kernels are the quicker ones there.
bool DotBFloat16IsSlow() { return __builtin_cpu_is("intel") != 0; }

std::string SupportedNames() {
  std::string names;
  for (const Isa isa : SupportedIsas()) {
    if (!names.empty()) names += ", ";
    names += NameOf(isa);
  }
  return names.empty() ? "none" : names;
}

}  // namespace

std::string_view NameOf(Isa isa) {
  for (const auto& [value, name] : kNames) {
    if (value == isa) return name;
  }
  return "unknown";
}

std::vector<Isa> SupportedIsas() {
  std::vector<Isa> supported;
  for (const auto& [isa, name] : kNames) {
    if (Supports(isa)) supported.push_back(isa);
  }
  return supported;
}

Result<Isa> IsaNamed(std::string_view name) {
  const std::vector<Isa> supported = SupportedIsas();
  for (const auto& [isa, known] : kNames) {
    if (known != name) continue;
    if (std::find(supported.begin(), supported.end(), isa) != supported.end()) return isa;
    return Unsupported("instruction set {}: this machine has {}", name, SupportedNames());
  }
  return InvalidArgument("instruction set {}: unknown; this machine has {}", OneLine(name),
                         SupportedNames());
}

Result<Isa> ChooseIsa(std::string_view forced) {
  const std::vector<Isa> supported = SupportedIsas();
  if (supported.empty()) {
    return Unsupported("target cpu: needs AVX2 and FMA, which this processor does not have");
  }
  if (!forced.empty()) {
    const auto isa = IsaNamed(forced);
    if (isa) return isa;
    return tl::unexpected(Error{isa.error().code, "EXPERTILE_ISA: " + isa.error().message});
  }
  if (supported.back() == Isa::kAvx512Bf16 && DotBFloat16IsSlow()) return Isa::kAvx512;
  return supported.back();
}

Result<Isa> ChooseIsa() {
  const char* forced = std::getenv("EXPERTILE_ISA");
  return ChooseIsa(forced != nullptr ? std::string_view(forced) : std::string_view());
}

}  // namespace expertile::cpu
