// The positions that transformers computes (tests/goldens/vision_positions.json), for tests only.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "base/file.h"
#include "image/image_grid.h"

namespace expertile {

inline nlohmann::json VisionPositionGoldens() {
  const auto text = ReadTextFile(EXPERTILE_SOURCE_DIR "/tests/goldens/vision_positions.json");
  return text ? nlohmann::json::parse(*text) : nlohmann::json();
}

inline std::vector<ImageGrid> GridsOf(const nlohmann::json& golden) {
  std::vector<ImageGrid> grids;
  for (const auto& grid : golden["grids"]) grids.push_back({grid[0], grid[1], grid[2]});
  return grids;
}

}  // namespace expertile
