#include "base/model_folder.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/error.h"

namespace expertile {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kReadable =
    "weights are read from safetensors files beside a config.json";

struct OtherFormat {
  std::string_view extension;
  std::string_view name;
};
constexpr std::array<OtherFormat, 8> kOtherFormats = {{{".bin", "PyTorch's pickled weights"},
                                                       {".pt", "PyTorch's pickled weights"},
                                                       {".pth", "PyTorch's pickled weights"},
                                                       {".gguf", "GGUF"},
                                                       {".ggml", "GGML"},
                                                       {".npz", "NumPy arrays"},
                                                       {".msgpack", "Flax weights"},
                                                       {".h5", "TensorFlow weights"}}};

// The format of a file of weights that nobody here reads; null for any other file.
const OtherFormat* FormatOf(const fs::path& file) {
  const std::string extension = file.extension().string();
  for (const OtherFormat& format : kOtherFormats) {
    if (format.extension == extension) return &format;
  }
  return nullptr;
}

}  // namespace

std::string WhatElseIsIn(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> files;
  for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    files.push_back(entry->path());
  }
  if (error) return "";
  if (files.empty()) return ": the folder is empty";
  std::ranges::sort(files);
  for (const fs::path& file : files) {
    if (const OtherFormat* format = FormatOf(file)) {
      return fmt::format("; it has {}: {} is not supported, {}", OneLine(file.filename().string()),
                         format->name, kReadable);
    }
  }
  return "";
}

Status CheckModelFolder(const fs::path& folder, const std::string& file) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  if (status.type() == fs::file_type::not_found) {
    return NotFound(
        "{}: no such folder; models are not downloaded, give the folder of a checkpoint on this "
        "machine",
        folder.string());
  }
  if (status.type() == fs::file_type::none) {
    return IoError("{}: cannot be opened: {}", folder.string(), error.message());
  }
  if (!fs::is_directory(status)) {
    const OtherFormat* format = FormatOf(folder);
    return InvalidData("{}: a file{}, expected the folder of a checkpoint: {}", folder.string(),
                       format == nullptr ? "" : fmt::format(" of {}", format->name), kReadable);
  }
  if (!fs::exists(folder / file, error) && !error) {
    return NotFound("{}: no {}{}", folder.string(), file, WhatElseIsIn(folder));
  }
  return {};
}

}  // namespace expertile
