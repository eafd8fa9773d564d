#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "expertile/model.h"

namespace expertile::cli {
namespace {

using Json = nlohmann::ordered_json;

Json ToJson(const VisionDescription& v) {
  return {{"num_blocks", v.num_blocks},
          {"hidden_size", v.hidden_size},
          {"num_heads", v.num_heads},
          {"image_token_id", v.image_token_id},
          {"num_parameters", v.num_parameters}};
}

Json ToJson(const ModelDescription& m) {
  return {{"model_type", m.model_type},
          {"num_layers", m.num_layers},
          {"num_moe_layers", m.num_moe_layers},
          {"vocab_size", m.vocab_size},
          {"hidden_size", m.hidden_size},
          {"num_heads", m.num_heads},
          {"num_kv_heads", m.num_kv_heads},
          {"head_dim", m.head_dim},
          {"max_positions", m.max_positions},
          {"num_experts", m.num_experts},
          {"experts_per_token", m.experts_per_token},
          {"moe_intermediate_size", m.moe_intermediate_size},
          {"vision", m.vision ? ToJson(*m.vision) : Json(nullptr)},
          {"num_parameters", m.num_parameters},
          {"num_active_parameters", m.num_active_parameters},
          {"checkpoint_bytes", m.checkpoint_bytes},
          {"checkpoint_dtype", m.checkpoint_dtype},
          {"end_token_ids", m.end_token_ids}};
}

Json ToJson(const NspPlacement& placement) {
  return {{"num_nsp", placement.num_nsp},
          {"local_experts", placement.local_experts},
          {"experts", placement.experts}};
}

void PrintDescription(const ModelDescription& m) {
  const auto row = [](const char* name, const std::string& value) {
    fmt::print("{:<22}{}\n", name, value);
  };
  row("model type", m.model_type);
  row("layers", fmt::format("{} ({} MoE)", m.num_layers, m.num_moe_layers));
  row("hidden size H", fmt::format("{}", m.hidden_size));
  row("experts", fmt::format("E = {}, K = {} per token, I = {}", m.num_experts, m.experts_per_token,
                             m.moe_intermediate_size));
  row("attention",
      fmt::format("{} heads, {} key-value heads, D = {}", m.num_heads, m.num_kv_heads, m.head_dim));
  if (m.vision) {
    row("vision",
        fmt::format("{} blocks, {} heads, V = {}, {:.3f} M parameters", m.vision->num_blocks,
                    m.vision->num_heads, m.vision->hidden_size, m.vision->num_parameters * 1e-6));
  }
  row("vocabulary", fmt::format("{}", m.vocab_size));
  row("positions", fmt::format("{}", m.max_positions));
  row("parameters", fmt::format("{:.3f} M, {:.3f} M active per token", m.num_parameters * 1e-6,
                                m.num_active_parameters * 1e-6));
  row("checkpoint",
      fmt::format("{:.2f} MiB, mostly {}", m.checkpoint_bytes / 1048576.0, m.checkpoint_dtype));
  row("end tokens", fmt::format("{}", fmt::join(m.end_token_ids, ", ")));
}

void PrintPlacement(const NspPlacement& placement) {
  fmt::print("\n{} NSPs, {} slots each: expert e lies on NSP e mod {}, in slot e div {}\n",
             placement.num_nsp, placement.local_experts, placement.num_nsp, placement.num_nsp);
  for (int nsp = 0; nsp < placement.num_nsp; ++nsp) {
    fmt::print("  NSP {:>3}: {}\n", nsp, fmt::join(placement.experts[nsp], " "));
  }
}

}  // namespace

CommandBody AddInspectCommand(CLI::App& app) {
  struct Flags {
    std::string model;
    int num_nsp = 0;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  AddModelArgument(app, flags->model);
  app.add_option("--moe-prefill-num-nsp", flags->num_nsp, "Show the experts' placement on N NSPs");
  app.add_flag("--json", flags->json, "One JSON object");
  CLI::Option* num_nsp = app.get_option("--moe-prefill-num-nsp");
  return [flags, num_nsp]() -> Status {
    const auto model = Model::Load(flags->model);
    if (!model) return tl::unexpected(model.error());
    std::optional<NspPlacement> placement;
    if (num_nsp->count() > 0) {
      auto lists = model->PlacementOn(flags->num_nsp);
      if (!lists) return tl::unexpected(lists.error());
      placement = *std::move(lists);
    }
    if (flags->json) {
      Json json = ToJson(model->description());
      if (placement) json["placement"] = ToJson(*placement);
      fmt::print("{}\n", json.dump());
      return {};
    }
    PrintDescription(model->description());
    if (placement) PrintPlacement(*placement);
    return {};
  };
}

}  // namespace expertile::cli
