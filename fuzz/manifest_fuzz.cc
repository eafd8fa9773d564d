// Manifests of any bytes: with and without the checksum that they would need.
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "base/sha256.h"
#include "program/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(expertile::ParseManifest(text, "manifest.json"));
  // The same fields under a right checksum, so that the checks behind it are reached.
  auto object = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return 0;
  object.erase("checksum");
  const std::string body = object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  object["checksum"] = expertile::Sha256Hex(std::as_bytes(std::span(body)));
  const std::string whole =
      object.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  static_cast<void>(expertile::ParseManifest(whole, "manifest.json"));
  return 0;
}
