// Finding the tensors of a checkpoint folder by name, whether it has one safetensors file or many.
// Not a loader: tensors stay in the mapped files, and what their names mean is model/families/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/tensor.h"
#include "expertile/result.h"
#include "formats/safetensors.h"

namespace expertile {

// Reads model.safetensors.index.json if the folder has one, else model.safetensors, else the only
// *.safetensors. Each file is opened once. The views live as long as this object does, moves
// included.
class CheckpointTensors {
 public:
  static Result<CheckpointTensors> Open(const std::filesystem::path& folder);

  // Null if there is none that can be read.
  const TensorView* Find(std::string_view name) const;
  // Whether there is one, readable or not: what tells one layout of a checkpoint from another.
  bool Contains(std::string_view name) const;
  // A tensor that must be there with this shape. Errors: "folder: name: no such tensor",
  // "name: dtype F8_E4M3, expected one of …" and
  // "model.layers.3.mlp.gate.weight: shape [32,192], expected [16,192]".
  Result<TensorView> Require(std::string_view name, const std::vector<int64_t>& shape) const;

  // Gives back the memory of what was read so far; views stay valid.
  void ReleasePages() const {
    for (const SafetensorsFile& shard : shards_) shard.ReleasePages();
  }

  std::vector<std::string> names() const;      // of those that can be read, in byte order
  std::vector<std::string> all_names() const;  // in byte order
  const std::vector<std::filesystem::path>& files() const { return files_; }  // each one once

 private:
  explicit CheckpointTensors(std::filesystem::path folder) : folder_(std::move(folder)) {}

  Status OpenIndexed(const std::filesystem::path& index);
  // False if the shard has no tensor of that name.
  bool Add(const SafetensorsFile& shard, const std::string& name);
  Status OpenSingle(const std::filesystem::path& file);

  std::filesystem::path folder_;
  std::vector<std::filesystem::path> files_;
  std::vector<SafetensorsFile> shards_;  // one for each of files_
  std::map<std::string, const TensorView*, std::less<>> tensors_;
  std::map<std::string, const UnreadableTensor*, std::less<>> unreadable_;
};

}  // namespace expertile
