// The target onnx: which graphs a set of options makes, and the folder that they are exported to.
// Not the graphs (targets/onnx/), and not the card's compiler (compiling/qaic_programs.h).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "expertile/model.h"
#include "image/image_grid.h"
#include "model/checkpoint.h"
#include "targets/target_row.h"

namespace expertile {

// Of one card; what "auto" stands for in graphs that may be for one.
inline constexpr int kCloudAi100Cores = 16;

enum class GraphKind { kVision, kPrefill, kDecode };

// vision, prefill or decode; its file is NAME.onnx.
std::string NameOf(GraphKind kind);

// In the order in which they run. Where the target specialises graphs and nothing needs a prefill
// graph of its own (blocking, images, prefill_only), decode's is for both.
std::vector<GraphKind> GraphsOf(const CompileOptions& options, const ModelConfig& model);

// The patches of the images that a vision graph takes: of height x width pixels (354 x 536) before
// they are resized. Errors: no preprocessor_config.json, sizes that it refuses.
Result<ImageGrid> GridOf(const CompileOptions& options, const ModelConfig& model);

struct GraphFolder {
  std::filesystem::path path;
  std::string fingerprint;
  bool was_found = false;
};

// Exports to `folder`, or if that is empty to <parent>/<model_type>-<fingerprint>, `parent` being
// the compile cache's unless it is given. `options` are resolved.
Result<GraphFolder> ExportGraphs(const Checkpoint& checkpoint, const CompileOptions& options,
                                 const std::filesystem::path& folder,
                                 const std::filesystem::path& parent, const Watch& watch);

// Its files are the graphs.
TargetRow OnnxTarget();

}  // namespace expertile
