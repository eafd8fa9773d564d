// The shapes that a QPC is compiled for, and the file that names them: specializations.json.
// Not the graphs' own dimensions: those are symbols, and here they get their values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "expertile/result.h"

namespace expertile::qaic {

// One value for every symbolic dimension of a graph.
struct Specialization {
  std::string name;                        // Prefill, Decode or Vision
  std::map<std::string, int64_t> symbols;  // dimension -> size, by name

  bool operator==(const Specialization&) const = default;
};

// An image of a vision graph, counted in patches.
struct VisionShapes {
  int64_t batch_size = 1;
  int64_t time = 1;    // temporal patches
  int64_t grid_h = 0;  // patches
  int64_t grid_w = 0;
  int64_t patch_size = 0;     // values of one patch: channels x temporal x height x width
  int64_t spatial_merge = 2;  // patches on each side of what becomes one token
  int64_t num_deepstack = 0;  // layers whose features go to the language graph

  // Rows of vision_embeds for one sequence: time x grid_h x grid_w / spatial_merge^2.
  int64_t num_tokens() const { return time * grid_h * grid_w / (spatial_merge * spatial_merge); }
};

struct LanguageShapes {
  int64_t batch_size = 1;
  int64_t prefill_seq_len = 0;       // 1: a graph that only decodes
  int64_t ctx_len = 0;               // positions of a sequence
  std::optional<bool> prefill_only;  // none: one program that does both
  bool enable_chunking = false;      // a prefill graph that takes the cache as input
  std::optional<int64_t> sliding_window;
  std::optional<VisionShapes> vision;
};

// The specializations of a language graph: Prefill (prefill_seq_len tokens) unless prefill_only is
// false, Decode (one token) unless it is true; just Decode if prefill_seq_len is 1.
// Errors: a size below 1, steps that do not fit into ctx_len, a prefill graph of one token,
// enable_chunking without prefill_only, an image that fills the context.
Result<std::vector<Specialization>> LanguageSpecializations(const LanguageShapes& shapes);

// Errors: a size below 1, a grid that spatial_merge does not divide, counts beyond int64_t.
Result<Specialization> VisionSpecialization(const VisionShapes& shapes);

// {"specializations":[{"name":…,"symbols":{"batch_size":"1",…}},…]}: every value is a string, a
// name that occurs twice gets _0, _1, … appended.
std::string SpecializationsJson(std::span<const Specialization> specializations);

}  // namespace expertile::qaic
