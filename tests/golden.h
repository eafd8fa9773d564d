// Reads a golden: what transformers computed in float32 for one tiny checkpoint
// (tests/goldens/NAME.json, .safetensors). Not a test.
#pragma once

#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "formats/safetensors.h"

namespace expertile {

class Golden {
 public:
  explicit Golden(const std::string& name)
      : json_(nlohmann::json::parse(ReadTextFile(PathOf(name + ".json")).value())),
        tensors_(SafetensorsFile::Open(PathOf(name + ".safetensors")).value()) {}

  const nlohmann::json& cases() const { return json_["cases"]; }
  bool Has(const std::string& name) const { return tensors_.Find(name) != nullptr; }

  template <typename T>
  std::vector<T> Values(const std::string& name) const {
    const TensorView& tensor = *tensors_.Find(name);
    std::vector<T> values(tensor.bytes.size() / sizeof(T));
    std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    return values;
  }

  static std::filesystem::path PathOf(const std::string& file) {
    return std::filesystem::path(EXPERTILE_SOURCE_DIR) / "tests" / "goldens" / file;
  }
  static std::filesystem::path ModelPath(const std::string& name) {
    return std::filesystem::path(EXPERTILE_SOURCE_DIR) / "models" / name;
  }

 private:
  nlohmann::json json_;
  SafetensorsFile tensors_;
};

// |a - b| / |b|.
inline double RelativeL2(std::span<const float> a, std::span<const float> b) {
  double difference = 0.0;
  double size = 0.0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += (a[i] - b[i]) * static_cast<double>(a[i] - b[i]);
    size += b[i] * static_cast<double>(b[i]);
  }
  return std::sqrt(difference / size);
}

}  // namespace expertile
