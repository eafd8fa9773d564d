// SHA-256 of bytes as lower-case hex: fingerprints of weights, options and logits.
// Not for passwords or signatures.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace expertile {

class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();
  void Update(std::span<const std::byte> bytes);
  std::string Hex();  // 64 digits; ends the hash, call once

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string Sha256Hex(std::span<const std::byte> bytes);

}  // namespace expertile
