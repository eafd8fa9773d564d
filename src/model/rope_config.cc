#include "model/rope_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/mrope_positions.h"

namespace expertile {
namespace {

constexpr Bounds<double> kPositive = {1e-9, 1e12};
constexpr Bounds<double> kNotNegative = {0.0, 1e12};
constexpr Bounds<double> kTheta = {1.0 + 1e-6, 1e15};  // above 1: its logarithm divides

// theta^(2j/D) in float, as transformers computes it.
std::vector<float> Wavelengths(double theta, int64_t head_dim) {
  std::vector<float> wavelengths;
  for (int64_t j = 0; j < head_dim / 2; ++j) {
    const float exponent = static_cast<float>(2 * j) / static_cast<float>(head_dim);
    wavelengths.push_back(std::pow(static_cast<float>(theta), exponent));
  }
  return wavelengths;
}

// The (fractional) pair that turns `rotations` times within `positions`.
double CorrectionPair(double rotations, int64_t head_dim, double theta, double positions) {
  return static_cast<double>(head_dim) *
         std::log(positions / (rotations * 2.0 * std::numbers::pi)) / (2.0 * std::log(theta));
}

double MagnitudeScale(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

struct YarnParameters {
  double factor;
  double original_positions;
  double beta_fast;
  double beta_slow;
  bool truncate;
  double attention_factor;
};

// `positions` is max_position_embeddings. A factor must be there, and may be null.
Result<YarnParameters> ReadYarn(const JsonObject& config, const JsonObject& scaling,
                                double positions) {
  constexpr const char* kOriginal = "original_max_position_embeddings";
  YarnParameters yarn{};
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({kOriginal}));
  EXPERTILE_RETURN_IF_ERROR(scaling.RefuseNull({kOriginal}));
  EXPERTILE_RETURN_IF_ERROR(config.RefuseDisagreement(kOriginal, scaling, kOriginal));
  EXPERTILE_ASSIGN(const double inside, scaling.GetFloat(kOriginal, positions, kPositive));
  EXPERTILE_ASSIGN(yarn.original_positions, config.GetFloat(kOriginal, inside, kPositive));
  const auto ratio =
      scaling.IsNull("factor") ? std::optional(positions / yarn.original_positions) : std::nullopt;
  EXPERTILE_ASSIGN(yarn.factor, scaling.GetFloat("factor", ratio, kPositive));
  EXPERTILE_ASSIGN(yarn.beta_fast, scaling.GetFloat("beta_fast", 0.0, kNotNegative));
  EXPERTILE_ASSIGN(yarn.beta_slow, scaling.GetFloat("beta_slow", 0.0, kNotNegative));
  if (yarn.beta_fast == 0.0) yarn.beta_fast = 32.0;
  if (yarn.beta_slow == 0.0) yarn.beta_slow = 1.0;
  EXPERTILE_ASSIGN(yarn.truncate, scaling.GetBool("truncate", !scaling.IsNull("truncate")));
  EXPERTILE_ASSIGN(const double mscale, scaling.GetFloat("mscale", 0.0));
  EXPERTILE_ASSIGN(const double mscale_all_dim, scaling.GetFloat("mscale_all_dim", 0.0));
  const double inferred =
      mscale != 0.0 && mscale_all_dim != 0.0
          ? MagnitudeScale(yarn.factor, mscale) / MagnitudeScale(yarn.factor, mscale_all_dim)
          : MagnitudeScale(yarn.factor, 1.0);
  EXPERTILE_ASSIGN(yarn.attention_factor, scaling.GetFloat("attention_factor", inferred));
  return yarn;
}

// High frequencies are kept, low ones divided by the factor, those between are blended along a
// linear ramp.
void ApplyYarn(const YarnParameters& yarn, double theta, int64_t head_dim, RopeSpec& rope) {
  double low = CorrectionPair(yarn.beta_fast, head_dim, theta, yarn.original_positions);
  double high = CorrectionPair(yarn.beta_slow, head_dim, theta, yarn.original_positions);
  if (yarn.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(head_dim - 1));
  if (low == high) high += 0.001;  // keeps the ramp's slope finite
  const std::vector<float> wavelengths = Wavelengths(theta, head_dim);
  for (int64_t j = 0; j < head_dim / 2; ++j) {
    const float ramp = std::clamp(
        (static_cast<float>(j) - static_cast<float>(low)) / static_cast<float>(high - low), 0.0f,
        1.0f);
    const float kept = 1.0f / wavelengths[j];
    const float divided = 1.0f / (static_cast<float>(yarn.factor) * wavelengths[j]);
    const float keep = 1.0f - ramp;
    rope.inv_freq.push_back(divided * (1.0f - keep) + kept * keep);
  }
  rope.table_scale = static_cast<float>(yarn.attention_factor);
}

bool IsFilled(const JsonObject& config, const char* name) {
  const auto object = config.Has(name) ? config.GetObject(name) : JsonObject::Empty(name);
  return !object || !object->IsEmpty();  // what is no object is for the reader to refuse
}

// The object that says how frequencies are scaled: rope_scaling unless it is empty, else
// rope_parameters, empty or not, else the family's default.
Result<JsonObject> ParametersOf(const JsonObject& config, const RopeDefaults& defaults) {
  if (IsFilled(config, "rope_scaling")) {
    if (IsFilled(config, "rope_parameters")) {
      EXPERTILE_RETURN_IF_ERROR(
          config.RefuseDisagreement("rope_scaling", config, "rope_parameters"));
    }
    return config.GetObject("rope_scaling");
  }
  if (config.Has("rope_parameters")) return config.GetObject("rope_parameters");
  return JsonObject::Parse(defaults.parameters, config.NameOf("rope_parameters"));
}

// The same, without what no target computes.
Result<JsonObject> ScalingOf(const JsonObject& config, const RopeDefaults& defaults) {
  EXPERTILE_ASSIGN(JsonObject scaling, ParametersOf(config, defaults));
  for (const char* layer_type : {"full_attention", "sliding_attention"}) {
    if (scaling.Has(layer_type)) {
      return Unsupported("{}: expected one RoPE for all layers", scaling.NameOf(layer_type));
    }
  }
  EXPERTILE_RETURN_IF_ERROR(
      config.RefuseDisagreement("partial_rotary_factor", scaling, "partial_rotary_factor"));
  for (const JsonObject* object : {&config, &std::as_const(scaling)}) {
    EXPERTILE_ASSIGN(const double partial, object->GetFloat("partial_rotary_factor", 1.0));
    if (partial != 1.0) {
      return Unsupported("{}: {}, expected 1", object->NameOf("partial_rotary_factor"), partial);
    }
  }
  return scaling;
}

// rope_theta of the object, of the configuration beside it, or the family's.
Result<double> ReadTheta(const JsonObject& config, const JsonObject& scaling,
                         double default_theta) {
  EXPERTILE_RETURN_IF_ERROR(scaling.RefuseNull({"rope_theta"}));
  EXPERTILE_RETURN_IF_ERROR(config.RefuseDisagreement("rope_theta", scaling, "rope_theta"));
  if (scaling.Has("rope_theta")) return scaling.GetFloat("rope_theta", kRequired, kTheta);
  EXPERTILE_RETURN_IF_ERROR(config.RefuseNull({"rope_theta"}));
  return config.GetFloat("rope_theta", default_theta, kTheta);
}

// rope_type, or its older name type.
Result<std::string> ReadType(const JsonObject& scaling) {
  EXPERTILE_RETURN_IF_ERROR(scaling.RefuseNull({"rope_type"}));
  EXPERTILE_RETURN_IF_ERROR(scaling.RefuseDisagreement("rope_type", scaling, "type"));
  if (scaling.Has("rope_type")) return scaling.GetString("rope_type");
  EXPERTILE_RETURN_IF_ERROR(scaling.RefuseNull({"type"}));
  return scaling.GetString("type", "default");
}

tl::unexpected<Error> UnknownType(const JsonObject& scaling, std::string_view type,
                                  std::string_view expected) {
  return Unsupported("{}: {}, expected {}", scaling.NameOf("rope_type"), OneLine(type), expected);
}

Result<RopeSpec> ReadScaled(const JsonObject& config, const JsonObject& scaling,
                            const RopeShape& shape, double default_theta) {
  EXPERTILE_ASSIGN(const double theta, ReadTheta(config, scaling, default_theta));
  EXPERTILE_ASSIGN(const std::string type, ReadType(scaling));
  RopeSpec rope;
  if (type == "yarn") {
    EXPERTILE_ASSIGN(const YarnParameters yarn,
                     ReadYarn(config, scaling, static_cast<double>(shape.max_positions)));
    ApplyYarn(yarn, theta, shape.head_dim, rope);
    return rope;
  }
  float factor = 1.0f;
  if (type == "linear") {
    EXPERTILE_ASSIGN(const double value, scaling.GetFloat("factor", kRequired, kPositive));
    factor = static_cast<float>(value);
  } else if (type != "default") {
    return UnknownType(scaling, type, "default, linear or yarn");
  }
  for (const float wavelength : Wavelengths(theta, shape.head_dim)) {
    rope.inv_freq.push_back(1.0f / wavelength / factor);
  }
  return rope;
}

}  // namespace

Result<RopeSpec> ReadRope(const JsonObject& config, const RopeShape& shape,
                          const RopeDefaults& defaults) {
  EXPERTILE_ASSIGN(const JsonObject scaling, ScalingOf(config, defaults));
  return ReadScaled(config, scaling, shape, defaults.theta);
}

Result<RopeSpec> ReadMrope(const JsonObject& config, const RopeShape& shape,
                           const RopeDefaults& defaults) {
  EXPERTILE_ASSIGN(const JsonObject scaling, ScalingOf(config, defaults));
  EXPERTILE_ASSIGN(RopeSpec rope, ReadScaled(config, scaling, shape, defaults.theta));
  std::array<int64_t, kMropeAxes> sections = {24, 20, 20};
  EXPERTILE_RETURN_IF_ERROR(scaling.RefuseNull({"mrope_section"}));
  if (scaling.Has("mrope_section")) {
    EXPERTILE_ASSIGN(const std::vector<int64_t> given,
                     scaling.GetIntList("mrope_section", {0, shape.head_dim}));
    if (given.size() != sections.size()) {
      return InvalidData("{}: {} entries, expected {}", scaling.NameOf("mrope_section"),
                         given.size(), sections.size());
    }
    std::ranges::copy(given, sections.begin());
  }
  rope.num_axes = kMropeAxes;
  rope.axes = InterleavedMropeAxes(sections, static_cast<int64_t>(rope.inv_freq.size()));
  return rope;
}

Result<double> ReadAxialTheta(const JsonObject& config) {
  const RopeDefaults defaults;
  EXPERTILE_ASSIGN(const JsonObject scaling, ScalingOf(config, defaults));
  EXPERTILE_ASSIGN(const std::string type, ReadType(scaling));
  if (type != "default" && type != "axial") return UnknownType(scaling, type, "axial");
  return ReadTheta(config, scaling, defaults.theta);
}

}  // namespace expertile
