// A folder of exported files and the record of what made them, export.json: filled once, whoever
// asks and whatever is killed. Not what is exported: the caller's function writes it.
//
//   {"fingerprint": sha256 of "origin", "origin": {…}, "files": {"decode.onnx": bytes, …}}
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/watch.h"
#include "expertile/result.h"

namespace expertile {

inline constexpr const char* kExportRecord = "export.json";

// Calls `make` with an empty folder to write files to, and moves these into `folder`, which may
// hold other files; the files of an earlier export go. If `folder` has the files of the same
// `origin` already, of the sizes that they were written with, it does nothing. Returns whether that
// was so. Waits for another process that fills the same folder, unless `watch` ends that. On an
// error nothing has changed.
Result<bool> FillExportFolder(const std::filesystem::path& folder, const nlohmann::json& origin,
                              const std::function<Status(const std::filesystem::path&)>& make,
                              const Watch& watch);

}  // namespace expertile
