#include "targets/reference/reference_program.h"

#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "formats/mxfp6.h"
#include "targets/block_writing.h"
#include "targets/decoder_program.h"
#include "targets/memory_store.h"
#include "targets/reference/reference_ops.h"

namespace expertile::reference {
namespace {

// Writes views as float32 values; with mxfp6_matmul those that MXFP6 has.
class FloatPacker : public Packer {
 public:
  FloatPacker(WeightWriter& writer, bool mxfp6_matmul)
      : writer_(writer), mxfp6_matmul_(mxfp6_matmul) {}

  Status Pack(const std::string& name, const WeightView& view, WeightRole role) override {
    switch (role) {
      case WeightRole::kVector:
        return WriteFloats(writer_, name, FloatsOf(view.linear.weight));
      case WeightRole::kEmbedding:
        return WriteTable(writer_, name, view.linear.weight);
      case WeightRole::kMatrix:
        return Write(name, view.linear, mxfp6_matmul_);
      case WeightRole::kRouter:
      case WeightRole::kHead:
      case WeightRole::kVisionMatrix:
        return Write(name, view.linear, /*rounds_to_mxfp6=*/false);
      case WeightRole::kMlp:
      case WeightRole::kExperts:
        break;
    }
    for (size_t e = 0; e < view.mlps.size(); ++e) {
      const std::string mlp = name + "." + std::to_string(e);
      EXPERTILE_RETURN_IF_ERROR(Write(mlp + ".gate", view.mlps[e].gate, mxfp6_matmul_));
      EXPERTILE_RETURN_IF_ERROR(Write(mlp + ".up", view.mlps[e].up, mxfp6_matmul_));
      EXPERTILE_RETURN_IF_ERROR(Write(mlp + ".down", view.mlps[e].down, mxfp6_matmul_));
    }
    return {};
  }

 private:
  Status Write(const std::string& name, const LinearView& view, bool rounds_to_mxfp6) {
    const MatrixView& weight = view.weight;
    const int64_t row_bytes = weight.cols * static_cast<int64_t>(sizeof(float));
    EXPERTILE_RETURN_IF_ERROR(
        writer_.Begin({name, "float32", weight.rows * weight.cols, weight.rows * row_bytes}));
    std::vector<float> row(weight.cols);
    for (int64_t r = 0; r < weight.rows; ++r) {
      weight.ReadRow(r, row);
      if (rounds_to_mxfp6 && !weight.is_mxfp4()) RoundToMxfp6(row);
      EXPERTILE_ASSIGN(const std::span<std::byte> piece, writer_.Piece(row_bytes));
      std::memcpy(piece.data(), row.data(), piece.size());
    }
    return view.bias ? WriteFloats(writer_, name + ".bias", FloatsOf(view.bias)) : Status();
  }

  WeightWriter& writer_;
  bool mxfp6_matmul_;
};

// Copies float32 values out of a store.
class FloatOpener {
 public:
  explicit FloatOpener(const WeightReader& reader) : reader_(reader) {}

  Status Open(const Weight& weight, Vector& slot) const {
    return Read(weight.name, weight.cols, slot);
  }

  Status Open(const Weight& weight, MatrixView& slot) const {
    EXPERTILE_ASSIGN(slot, ReadTable(reader_, weight.name, weight.rows, weight.cols));
    return {};
  }

  Status Open(const Weight& weight, Linear& slot) const {
    return Read(weight.name, weight.rows, weight.cols, weight.has_bias, slot);
  }

  Status Open(const Weight& weight, Mlp& slot) const { return ReadMlp(weight, 0, slot); }

  Status Open(const Weight& weight, Experts& slot) const {
    slot.resize(weight.count);
    for (int64_t e = 0; e < weight.count; ++e) {
      EXPERTILE_RETURN_IF_ERROR(ReadMlp(weight, e, slot[e]));
    }
    return {};
  }

 private:
  Status ReadMlp(const Weight& weight, int64_t index, Mlp& mlp) const {
    const std::string name = weight.name + "." + std::to_string(index);
    const int64_t I = weight.rows;
    const int64_t H = weight.cols;
    EXPERTILE_RETURN_IF_ERROR(Read(name + ".gate", I, H, weight.has_bias, mlp.gate));
    EXPERTILE_RETURN_IF_ERROR(Read(name + ".up", I, H, weight.has_bias, mlp.up));
    return Read(name + ".down", H, I, weight.has_bias, mlp.down);
  }

  Status Read(const std::string& name, int64_t rows, int64_t cols, bool has_bias,
              Linear& linear) const {
    linear.weight.rows = rows;
    linear.weight.width = cols;
    EXPERTILE_RETURN_IF_ERROR(Read(name, rows * cols, linear.weight.values));
    return has_bias ? Read(name + ".bias", rows, linear.bias) : Status();
  }

  Status Read(const std::string& name, int64_t count, Vector& values) const {
    EXPERTILE_ASSIGN(const std::span<const float> found, ReadFloats(reader_, name, count));
    values.assign(found.begin(), found.end());
    return {};
  }

  const WeightReader& reader_;
};

// Its C++ is what any x86-64 runs.
Result<std::string> ChooseIsa() { return "portable"; }

}  // namespace

TargetRow ReferenceTarget() {
  return {.name = "reference",
          .about = "plain C++ in float32, the truth that the others are held to",
          .honours = {OptionGroup::kBlockFormats},
          .in_process = {ChooseIsa, PackReference, OpenReference, NewMemoryStore}};
}

Status PackReference(const Checkpoint& checkpoint, const TargetOptions& options,
                     WeightWriter& writer) {
  FloatPacker packer(writer, options.mxfp6_matmul);
  return PackCheckpoint(checkpoint, options, writer, packer);
}

Result<std::unique_ptr<TargetProgram>> OpenReference(const TargetModel& model,
                                                     const TargetOptions& options,
                                                     std::shared_ptr<const WeightReader> weights) {
  EXPERTILE_ASSIGN(
      std::optional<Placement> placement,
      Placement::CreateIfBlocked(model.decoder.moe.num_experts, options.blocking.num_nsp));
  ReferenceOps::Context context{options, std::make_shared<WorkerPool>(options.num_workers),
                                std::move(placement)};
  FloatOpener opener(*weights);
  return OpenDecoderProgram<TimedOps<ReferenceOps>>(model, options, std::move(weights), opener,
                                                    std::move(context));
}

}  // namespace expertile::reference
