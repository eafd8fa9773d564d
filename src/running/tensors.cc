// WriteTensors: the public face of the safetensors writer.
#include "expertile/tensors.h"

#include "base/error.h"
#include "formats/safetensors_writer.h"

namespace expertile {

Status WriteTensors(const std::filesystem::path& path, std::span<const OutputTensor> tensors) {
  std::vector<NamedTensor> named;
  for (const OutputTensor& tensor : tensors) {
    const auto dtype = DTypeFromName(tensor.dtype);
    if (!dtype)
      return InvalidArgument("{}: dtype: {}, expected F32 or I32", tensor.name, tensor.dtype);
    named.push_back({tensor.name, {*dtype, tensor.shape, tensor.bytes}});
  }
  return WriteSafetensors(path, named);
}

}  // namespace expertile
