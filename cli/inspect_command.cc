#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/numbers.h"
#include "cli/output.h"
#include "expertile/model.h"
#include "expertile/program_description.h"

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
    Print("{:<22}{}\n", name, value);
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
  Print("\n{} NSPs, {} slots each: expert e lies on NSP e mod {}, in slot e div {}\n",
        placement.num_nsp, placement.local_experts, placement.num_nsp, placement.num_nsp);
  for (int nsp = 0; nsp < placement.num_nsp; ++nsp) {
    Print("  NSP {:>3}: {}\n", nsp, fmt::join(placement.experts[nsp], " "));
  }
}

double BitsPerWeight(const ProgramFormat& format) {
  return 8.0 * static_cast<double>(format.num_bytes) /
         static_cast<double>(std::max<int64_t>(1, format.num_elements));
}

Json ToJson(const ProgramDescription& p) {
  Json options = Json::object();
  for (const auto& [name, value] : p.options) options[name] = Json::parse(value);
  Json specializations = Json::array();
  for (const ProgramSpecialization& each : p.specializations) {
    specializations.push_back({{"name", each.name},
                               {"batch_size", each.batch_size},
                               {"seq_len", each.seq_len},
                               {"ctx_len", each.ctx_len}});
  }
  Json formats = Json::object();
  for (const ProgramFormat& each : p.formats) {
    formats[each.format] = {{"elements", each.num_elements},
                            {"bytes", each.num_bytes},
                            {"bits_per_weight", BitsPerWeight(each)}};
  }
  Json sections = Json::array();
  for (const ProgramSection& each : p.sections) {
    sections.push_back({{"group", each.group}, {"bytes", each.num_bytes}, {"sha256", each.sha256}});
  }
  return {{"fingerprint", p.fingerprint},
          {"model_type", p.model_type},
          {"model_digest", p.model_digest},
          {"target", p.target},
          {"isa", p.isa},
          {"options", options},
          {"specializations", specializations},
          {"formats", formats},
          {"sections", sections},
          {"bytes", p.num_bytes}};
}

void PrintProgram(const ProgramDescription& p) {
  const auto row = [](const std::string& name, const std::string& value) {
    Print("{:<32}{}\n", name, value);
  };
  row("program", p.fingerprint);
  row("made of", fmt::format("{}, {}", p.model_type, p.model_digest));
  row("target", fmt::format("{}, {}", p.target, p.isa));
  for (const ProgramSpecialization& each : p.specializations) {
    row(each.name, fmt::format("batch_size {}, seq_len {}, ctx_len {}", each.batch_size,
                               each.seq_len, each.ctx_len));
  }
  Print("\noptions\n");
  for (const auto& [name, value] : p.options) row("  " + name, value);
  Print("\nweights\n");
  for (const ProgramFormat& each : p.formats) {
    row("  " + each.format,
        fmt::format("{:>10.3f} M weights {:>10.2f} MiB {:>6.2f} bits per weight",
                    each.num_elements * 1e-6, each.num_bytes / 1048576.0, BitsPerWeight(each)));
  }
  Print("\nsections\n");
  for (const ProgramSection& each : p.sections) {
    row("  " + each.group,
        fmt::format("{:>10.2f} MiB  {}", each.num_bytes / 1048576.0, each.sha256.substr(0, 16)));
  }
  row("  all", fmt::format("{:>10.2f} MiB", p.num_bytes / 1048576.0));
}

Status InspectProgram(const std::string& folder, bool verify, bool json) {
  if (verify) EXPERTILE_RETURN_IF_ERROR(VerifyProgram(folder));
  EXPERTILE_ASSIGN(const ProgramDescription description, DescribeProgram(folder));
  if (json) {
    Print("{}\n", ToJson(description).dump());
  } else {
    PrintProgram(description);
  }
  return {};
}

Status InspectModel(const std::string& folder, std::optional<int> num_nsp, bool json) {
  EXPERTILE_ASSIGN(const Model model, Model::Load(folder));
  std::optional<NspPlacement> placement;
  if (num_nsp) {
    EXPERTILE_ASSIGN(placement, model.PlacementOn(*num_nsp));
  }
  if (json) {
    Json object = ToJson(model.description());
    if (placement) object["placement"] = ToJson(*placement);
    Print("{}\n", object.dump());
    return {};
  }
  PrintDescription(model.description());
  if (placement) PrintPlacement(*placement);
  return {};
}

}  // namespace

CommandBody AddInspectCommand(CLI::App& app) {
  struct Flags {
    std::string path;
    std::optional<int> num_nsp;
    bool verify = false;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  app.add_option("MODEL", flags->path, "Checkpoint folder, or a program's folder")->required();
  AddInteger(app, "--moe-prefill-num-nsp", flags->num_nsp,
             "Of a checkpoint: show the experts' placement on N NSPs", 1);
  app.add_flag("--verify", flags->verify, "Of a program: check every byte");
  app.add_flag("--json", flags->json, "One JSON object");
  return [flags]() -> Status {
    const bool is_program = Program::IsProgram(flags->path);
    if (is_program && !flags->num_nsp) {
      return InspectProgram(flags->path, flags->verify, flags->json);
    }
    if (!is_program && !flags->verify) {
      return InspectModel(flags->path, flags->num_nsp, flags->json);
    }
    return tl::unexpected(Error{ErrorCode::kInvalidArgument,
                                is_program ? "--moe-prefill-num-nsp: a program has its own"
                                           : "--verify: a checkpoint is not a program"});
  };
}

}  // namespace expertile::cli
