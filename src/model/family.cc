#include "model/family.h"

#include <array>
#include <string>
#include <vector>

#include "base/error.h"

namespace expertile {

Result<const Family*> FamilyOf(std::string_view model_type) {
  const std::array families = {&kGptOss,   &kGraniteMoe, &kGraniteMoeShared,
                               &kQwen2Moe, &kQwen3Moe,   &kQwen3VlMoe};
  std::vector<std::string_view> known;
  for (const Family* family : families) {
    if (family->model_type == model_type) return family;
    known.push_back(family->model_type);
  }
  return Unsupported("config.json: model_type: {}, expected one of {}", OneLine(model_type),
                     fmt::join(known, ", "));
}

}  // namespace expertile
