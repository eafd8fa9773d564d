#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/input.h"
#include "cli/program_source.h"
#include "expertile/model.h"
#include "expertile/moe_trace.h"
#include "expertile/tensors.h"

namespace expertile::cli {
namespace {

struct Flags {
  std::string input_ids;
  std::string output;
  std::vector<std::string> images;
  bool last_only = false;
  bool dump_moe = false;
  bool dump_vision = false;
  ProgramSource source;
};

template <typename T>
OutputTensor TensorOf(std::string name, const std::vector<T>& values, std::vector<int64_t> shape) {
  return {std::move(name), std::is_same_v<T, float> ? "F32" : "I32", std::move(shape),
          std::as_bytes(std::span(values))};
}

// Collects what every MoE layer saw, chunk after chunk.
class MoeDump : public MoeTrace {
 public:
  void Record(int layer, std::span<const float> moe_in, std::span<const int32_t> topk_ids,
              std::span<const float> topk_weights, std::span<const float> moe_out) override {
    Layer& dump = layers_[layer];
    dump.moe_in.insert(dump.moe_in.end(), moe_in.begin(), moe_in.end());
    dump.topk_ids.insert(dump.topk_ids.end(), topk_ids.begin(), topk_ids.end());
    dump.topk_weights.insert(dump.topk_weights.end(), topk_weights.begin(), topk_weights.end());
    dump.moe_out.insert(dump.moe_out.end(), moe_out.begin(), moe_out.end());
  }

  void AppendTo(std::vector<OutputTensor>& tensors, int64_t T) const {
    for (const auto& [index, layer] : layers_) {
      const std::string name = "layer." + std::to_string(index) + ".";
      const auto width = [&](const auto& values) {
        return static_cast<int64_t>(values.size()) / T;
      };
      tensors.push_back(TensorOf(name + "moe_in", layer.moe_in, {T, width(layer.moe_in)}));
      tensors.push_back(TensorOf(name + "moe_out", layer.moe_out, {T, width(layer.moe_out)}));
      tensors.push_back(TensorOf(name + "topk_ids", layer.topk_ids, {T, width(layer.topk_ids)}));
      tensors.push_back(
          TensorOf(name + "topk_weights", layer.topk_weights, {T, width(layer.topk_weights)}));
    }
  }

 private:
  struct Layer {
    std::vector<float> moe_in;        // [T,H]
    std::vector<int32_t> topk_ids;    // [T,K]
    std::vector<float> topk_weights;  // [T,K]
    std::vector<float> moe_out;       // [T,H]
  };
  std::map<int, Layer> layers_;
};

// What the vision tower got and gave for image `index`; `grid` is (t, h, w).
void AppendImage(size_t index, const EncodedImage& image, const std::vector<int32_t>& grid,
                 std::vector<OutputTensor>& tensors) {
  const std::string name = "image." + std::to_string(index) + ".";
  const auto add = [&](const std::string& part, const std::vector<float>& values, int64_t rows) {
    tensors.push_back(
        TensorOf(name + part, values, {rows, static_cast<int64_t>(values.size()) / rows}));
  };
  tensors.push_back(TensorOf(name + "grid_thw", grid, {3}));
  add("pixel_values", image.pixel_values, image.grid_t * image.grid_h * image.grid_w);
  add("vision_embeds", image.embeddings, image.num_tokens);
  for (size_t i = 0; i < image.deepstack.size(); ++i) {
    add("deepstack." + std::to_string(i), image.deepstack[i], image.num_tokens);
  }
}

// argmax of every row of V; ties to the lower id; no NaN where there is a number.
std::vector<int32_t> ArgmaxRows(std::span<const float> logits, int64_t V) {
  std::vector<int32_t> argmax;
  for (size_t start = 0; start < logits.size(); start += V) {
    const auto row = logits.subspan(start, V);
    const auto is_less = [](float a, float b) {
      return a < b || (std::isnan(a) && !std::isnan(b));
    };
    argmax.push_back(static_cast<int32_t>(std::ranges::max_element(row, is_less) - row.begin()));
  }
  return argmax;
}

// The error of logits that are not finite: what a damaged model gives is written, too, for looking
// into it, but no success.
Status CheckLogits(Session& session, const Extension& prompt, LogitsWanted wanted,
                   std::span<const float> logits) {
  if (std::ranges::all_of(logits, [](float logit) { return std::isfinite(logit); })) return {};
  EXPERTILE_RETURN_IF_ERROR(session.Clear(prompt.sequence));
  EXPERTILE_RETURN_IF_ERROR(session.Prefill({&prompt, 1}, wanted));
  return {};
}

Status Forward(const Flags& flags) {
  EXPERTILE_ASSIGN(const std::string text, ReadFile(flags.input_ids));
  EXPERTILE_ASSIGN(std::vector<int32_t> ids, ParseIds(text, flags.input_ids));
  EXPERTILE_RETURN_IF_ERROR(CheckOutput(flags.output));
  EXPERTILE_ASSIGN(const Program program, OpenProgram(flags.source));
  EXPERTILE_ASSIGN(const std::vector<EncodedImage> images, EncodeImages(program, flags.images));
  EXPERTILE_ASSIGN(ids, program.PlaceImages(ids, images));
  EXPERTILE_ASSIGN(Session session, program.NewSession());
  MoeDump dump;
  const Extension prompt{0, ids, images};
  EXPERTILE_ASSIGN(
      const std::vector<float> logits,
      session.Prefill({&prompt, 1}, LogitsWanted::kAllUnchecked, flags.dump_moe ? &dump : nullptr));
  const auto T = static_cast<int64_t>(ids.size());
  const int64_t V = program.vocab_size();
  const std::vector<int32_t> argmax = ArgmaxRows(logits, V);
  std::vector<OutputTensor> tensors;
  tensors.push_back(TensorOf("logits", logits, {T, V}));
  if (flags.last_only) {
    tensors[0].shape = {1, V};
    tensors[0].bytes = tensors[0].bytes.last(V * sizeof(float));
  }
  tensors.push_back(TensorOf("argmax", argmax, {T}));
  if (flags.dump_moe) dump.AppendTo(tensors, T);
  std::vector<std::vector<int32_t>> grids;
  if (flags.dump_vision) {
    for (const EncodedImage& image : images) {
      grids.push_back({static_cast<int32_t>(image.grid_t), static_cast<int32_t>(image.grid_h),
                       static_cast<int32_t>(image.grid_w)});
    }
    for (size_t i = 0; i < images.size(); ++i) AppendImage(i, images[i], grids[i], tensors);
  }
  EXPERTILE_RETURN_IF_ERROR(WriteTensors(flags.output, tensors));
  return CheckLogits(session, prompt, flags.last_only ? LogitsWanted::kLast : LogitsWanted::kAll,
                     flags.last_only ? std::span(logits).last(V) : logits);
}

}  // namespace

CommandBody AddForwardCommand(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  AddProgramSource(app, flags->source);
  app.add_option("--input-ids", flags->input_ids, "File with a JSON list of token ids")->required();
  app.add_option("--output,-o", flags->output,
                 "Safetensors file to write: logits float32 [T,V], argmax int32 [T]")
      ->required();
  app.add_flag("--last-only", flags->last_only, "Write only the last token's logits, [1,V]");
  app.add_flag("--dump-moe", flags->dump_moe,
               "Add layer.<i>.moe_in, moe_out [T,H], topk_ids, topk_weights [T,K]");
  AddImageOption(app, flags->images);
  app.add_flag("--dump-vision", flags->dump_vision,
               "Add image.<i>.grid_thw, pixel_values, vision_embeds [M,H] and deepstack.<j> [M,H]");
  return [flags] { return Forward(*flags); };
}

}  // namespace expertile::cli
