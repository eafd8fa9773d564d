#include "model/rope_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/mrope_positions.h"

namespace expertile {
namespace {

constexpr Bounds<double> kPositive = {1e-9, 1e12};
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

// original_max_position_embeddings beside the scaling object has priority over the one inside.
Result<YarnParameters> ReadYarn(const JsonObject& config, const JsonObject& scaling) {
  constexpr const char* kOriginal = "original_max_position_embeddings";
  YarnParameters yarn{};
  EXPERTILE_ASSIGN(const double max_positions,
                   config.GetFloat("max_position_embeddings", kRequired, kPositive));
  EXPERTILE_ASSIGN(const double inside, scaling.GetFloat(kOriginal, max_positions, kPositive));
  EXPERTILE_ASSIGN(yarn.original_positions, config.GetFloat(kOriginal, inside, kPositive));
  EXPERTILE_ASSIGN(yarn.factor,
                   scaling.GetFloat("factor", max_positions / yarn.original_positions, kPositive));
  EXPERTILE_ASSIGN(yarn.beta_fast, scaling.GetFloat("beta_fast", 32.0, kPositive));
  EXPERTILE_ASSIGN(yarn.beta_slow, scaling.GetFloat("beta_slow", 1.0, kPositive));
  EXPERTILE_ASSIGN(yarn.truncate, scaling.GetBool("truncate", true));
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

// The object that says how frequencies are scaled: rope_scaling, if it says anything, before
// rope_parameters. Without one its fields are sought, and not found, in the configuration itself.
Result<JsonObject> ScalingOf(const JsonObject& config) {
  JsonObject scaling = config;
  for (const char* name : {"rope_parameters", "rope_scaling"}) {
    if (!config.Has(name)) continue;
    EXPERTILE_ASSIGN(JsonObject given, config.GetObject(name));
    if (!given.Keys().empty()) scaling = std::move(given);
  }
  for (const char* layer_type : {"full_attention", "sliding_attention"}) {
    if (scaling.Has(layer_type)) {
      return Unsupported("config.json: rope_parameters.{}: expected one RoPE for all layers",
                         layer_type);
    }
  }
  EXPERTILE_ASSIGN(const double top_partial, config.GetFloat("partial_rotary_factor", 1.0));
  EXPERTILE_ASSIGN(const double partial, scaling.GetFloat("partial_rotary_factor", top_partial));
  if (partial != 1.0) {
    return Unsupported("config.json: partial_rotary_factor: {}, expected 1", partial);
  }
  return scaling;
}

}  // namespace

Result<RopeSpec> ReadRope(const JsonObject& config, int64_t head_dim, double default_theta) {
  EXPERTILE_ASSIGN(const JsonObject scaling, ScalingOf(config));
  EXPERTILE_ASSIGN(const double top_theta, config.GetFloat("rope_theta", default_theta, kTheta));
  EXPERTILE_ASSIGN(const double theta, scaling.GetFloat("rope_theta", top_theta, kTheta));
  EXPERTILE_ASSIGN(const std::string old_type, scaling.GetString("type", "default"));
  EXPERTILE_ASSIGN(const std::string type, scaling.GetString("rope_type", old_type));
  RopeSpec rope;
  if (type == "yarn") {
    EXPERTILE_ASSIGN(const YarnParameters yarn, ReadYarn(config, scaling));
    ApplyYarn(yarn, theta, head_dim, rope);
    return rope;
  }
  float factor = 1.0f;
  if (type == "linear") {
    EXPERTILE_ASSIGN(const double value, scaling.GetFloat("factor", kRequired, kPositive));
    factor = static_cast<float>(value);
  } else if (type != "default") {
    return Unsupported("config.json: rope_type: {}, expected default, linear or yarn",
                       OneLine(type));
  }
  for (const float wavelength : Wavelengths(theta, head_dim)) {
    rope.inv_freq.push_back(1.0f / wavelength / factor);
  }
  return rope;
}

Result<RopeSpec> ReadMrope(const JsonObject& config, int64_t head_dim, double default_theta) {
  EXPERTILE_ASSIGN(RopeSpec rope, ReadRope(config, head_dim, default_theta));
  std::array<int64_t, kMropeAxes> sections = {24, 20, 20};
  EXPERTILE_ASSIGN(const JsonObject scaling, ScalingOf(config));
  if (scaling.Has("mrope_section")) {
    EXPERTILE_ASSIGN(const std::vector<int64_t> given,
                     scaling.GetIntList("mrope_section", {0, head_dim}));
    if (given.size() != sections.size()) {
      return InvalidData("config.json: mrope_section: {} entries, expected {}", given.size(),
                         sections.size());
    }
    std::ranges::copy(given, sections.begin());
  }
  rope.num_axes = kMropeAxes;
  rope.axes = InterleavedMropeAxes(sections, static_cast<int64_t>(rope.inv_freq.size()));
  return rope;
}

}  // namespace expertile
