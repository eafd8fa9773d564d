#include "cli/numbers.h"

#include <charconv>
#include <cmath>
#include <system_error>

namespace expertile::cli {
namespace {

tl::unexpected<Error> Refuse(const std::string& option, const std::string& text,
                             const std::string& expected) {
  constexpr size_t kMaxShown = 40;
  std::string shown = text.empty() ? "(empty)" : text.substr(0, kMaxShown);
  if (text.size() > kMaxShown) shown += "...";
  return tl::unexpected(Error{ErrorCode::kInvalidArgument,
                              fmt::format("{}: {}, expected {}", option, shown, expected)});
}

// Whether all of `text` is a number that `value` holds.
template <typename T>
bool Read(const std::string& text, T& value) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failure == std::errc() && end == text.data() + text.size();
}

std::string TextOf(const RealBounds& bounds) {
  const std::string min =
      bounds.has_min ? fmt::format("{} or more", bounds.min) : fmt::format("above {}", bounds.min);
  if (std::isinf(bounds.max)) return min;
  return fmt::format("{} and {} {}", min, bounds.has_max ? "at most" : "below", bounds.max);
}

}  // namespace

Result<int64_t> ParseInteger(const std::string& option, const std::string& text, int64_t min,
                             int64_t max) {
  int64_t value = 0;
  if (Read(text, value) && value >= min && value <= max) return value;
  return Refuse(option, text, fmt::format("an integer from {} to {}", min, max));
}

Result<uint64_t> ParseSeed(const std::string& option, const std::string& text) {
  uint64_t value = 0;
  if (Read(text, value)) return value;
  return Refuse(option, text, "an integer from 0 to 2^64-1");
}

Result<double> ParseReal(const std::string& option, const std::string& text,
                         const RealBounds& bounds) {
  double value = 0.0;
  const bool is_number = Read(text, value) && std::isfinite(value);
  const bool is_in = (bounds.has_min ? value >= bounds.min : value > bounds.min) &&
                     (bounds.has_max ? value <= bounds.max : value < bounds.max);
  if (is_number && is_in) return value;
  return Refuse(option, text, "a number, " + TextOf(bounds));
}

}  // namespace expertile::cli
