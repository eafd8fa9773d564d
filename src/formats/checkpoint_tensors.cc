#include "formats/checkpoint_tensors.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/model_folder.h"
#include "formats/json.h"

namespace expertile {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr std::string_view kSingleName = "model.safetensors";

// An index may name files beside it only, never ones elsewhere on the machine.
bool IsPlainFileName(std::string_view name) {
  return !name.empty() && name.find_first_of(std::string_view("/\\\0", 3)) == name.npos &&
         name.find("..") == name.npos;
}

Result<fs::path> OnlySafetensorsFile(const fs::path& folder) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  std::vector<fs::path> found;
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    if (entries->path().extension() == ".safetensors") found.push_back(entries->path());
  }
  if (error) return IoError("{}: cannot list: {}", folder.string(), error.message());
  if (found.empty()) {
    return NotFound("{}: no {}, {} or other *.safetensors{}", folder.string(), kIndexName,
                    kSingleName, WhatElseIsIn(folder));
  }
  if (found.size() > 1) {
    return InvalidData("{}: {} *.safetensors files and no {} to say which to read", folder.string(),
                       found.size(), kIndexName);
  }
  return found.front();
}

bool Exists(const fs::path& path) {
  std::error_code ignored;  // what cannot be seen cannot be opened either
  return fs::exists(path, ignored);
}

using NamesByFile = std::map<std::string, std::vector<std::string>>;

Result<NamesByFile> ReadIndex(const fs::path& index) {
  EXPERTILE_ASSIGN(const JsonObject document, JsonObject::Read(index));
  EXPERTILE_ASSIGN(const JsonObject weight_map, document.GetObject("weight_map"));
  NamesByFile names_by_file;
  for (std::string& name : weight_map.Keys()) {
    EXPERTILE_ASSIGN(const std::string file, weight_map.GetString(name));
    if (!IsPlainFileName(file)) {
      return InvalidData("{}: {}: \"{}\" is not the name of a file in the same folder",
                         index.string(), OneLine(name), OneLine(file));
    }
    names_by_file[file].push_back(std::move(name));
  }
  return names_by_file;
}

// Names every file that is missing, before any is opened: a download that was cut short.
Status CheckAllThere(const fs::path& folder, const fs::path& index, const NamesByFile& files) {
  constexpr size_t kMaxNamed = 5;
  std::vector<std::string> missing;
  for (const auto& [file, names] : files) {
    if (!Exists(folder / file)) missing.push_back(OneLine(file));
  }
  if (missing.empty()) return {};
  const size_t num_missing = missing.size();
  missing.resize(std::min(num_missing, kMaxNamed));
  return NotFound("{}: {} of its {} files are missing: {}{}", index.string(), num_missing,
                  files.size(), fmt::join(missing, ", "), num_missing > kMaxNamed ? ", …" : "");
}

}  // namespace

Result<CheckpointTensors> CheckpointTensors::Open(const fs::path& folder) {
  CheckpointTensors checkpoint(folder);
  if (Exists(folder / kIndexName)) {
    EXPERTILE_RETURN_IF_ERROR(checkpoint.OpenIndexed(folder / kIndexName));
  } else if (Exists(folder / kSingleName)) {
    EXPERTILE_RETURN_IF_ERROR(checkpoint.OpenSingle(folder / kSingleName));
  } else {
    EXPERTILE_ASSIGN(const fs::path file, OnlySafetensorsFile(folder));
    EXPERTILE_RETURN_IF_ERROR(checkpoint.OpenSingle(file));
  }
  return checkpoint;
}

Status CheckpointTensors::OpenIndexed(const fs::path& index) {
  EXPERTILE_ASSIGN(const NamesByFile names_by_file, ReadIndex(index));
  EXPERTILE_RETURN_IF_ERROR(CheckAllThere(folder_, index, names_by_file));
  for (const auto& [file, names] : names_by_file) {
    const fs::path path = folder_ / file;
    EXPERTILE_ASSIGN(SafetensorsFile shard, SafetensorsFile::Open(path));
    for (const std::string& name : names) {
      if (!Add(shard, name)) {
        return InvalidData("{}: {}: no such tensor in {}", index.string(), OneLine(name),
                           path.string());
      }
    }
    files_.push_back(path);
    shards_.push_back(std::move(shard));
  }
  return {};
}

bool CheckpointTensors::Add(const SafetensorsFile& shard, const std::string& name) {
  const TensorView* tensor = shard.Find(name);
  if (tensor != nullptr) tensors_.emplace(name, tensor);
  const UnreadableTensor* unreadable = shard.FindUnreadable(name);
  if (unreadable != nullptr) unreadable_.emplace(name, unreadable);
  return tensor != nullptr || unreadable != nullptr;
}

Status CheckpointTensors::OpenSingle(const fs::path& file) {
  EXPERTILE_ASSIGN(SafetensorsFile shard, SafetensorsFile::Open(file));
  for (const auto& [name, tensor] : shard.tensors()) Add(shard, name);
  for (const auto& [name, tensor] : shard.unreadable()) Add(shard, name);
  files_.push_back(file);
  shards_.push_back(std::move(shard));
  return {};
}

const TensorView* CheckpointTensors::Find(std::string_view name) const {
  const auto tensor = tensors_.find(name);
  return tensor == tensors_.end() ? nullptr : tensor->second;
}

Result<TensorView> CheckpointTensors::Require(std::string_view name,
                                              const std::vector<int64_t>& shape) const {
  const TensorView* tensor = Find(name);
  if (const auto found = unreadable_.find(name); found != unreadable_.end()) {
    return CannotRead(name, *found->second);
  }
  if (tensor == nullptr) return NotFound("{}: {}: no such tensor", folder_.string(), OneLine(name));
  if (tensor->shape != shape) {
    return InvalidData("{}: shape {}, expected {}", OneLine(name), ShapeText(tensor->shape),
                       ShapeText(shape));
  }
  return *tensor;
}

bool CheckpointTensors::Contains(std::string_view name) const {
  return tensors_.contains(name) || unreadable_.contains(name);
}

std::vector<std::string> CheckpointTensors::names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors_) names.push_back(name);
  return names;
}

std::vector<std::string> CheckpointTensors::all_names() const {
  std::vector<std::string> all = names();
  for (const auto& [name, tensor] : unreadable_) all.push_back(name);
  std::ranges::sort(all);
  return all;
}

}  // namespace expertile
