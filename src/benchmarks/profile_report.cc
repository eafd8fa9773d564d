// A profile as JSON, and as a page: the JSON in the place that profile_report.html keeps for it.
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "benchmarks/profile_template.h"
#include "expertile/profile.h"
#include "expertile/version.h"

namespace expertile {
namespace {

using Json = nlohmann::ordered_json;

std::string_view NameOf(PlacementKind kind) {
  switch (kind) {
    case PlacementKind::kInterleaved:
      return "interleaved (e mod N)";
    case PlacementKind::kContiguous:
      return "contiguous (e div L)";
    case PlacementKind::kFitted:
      return "fitted to this prompt";
  }
  return "";
}

void AddBalance(const MoeProfile::Balance& balance, Json& json) {
  json["nsp_imbalance"] = balance.nsp_imbalance;
  json["worker_imbalance"] = balance.worker_imbalance;
  json["num_chunks"] = balance.num_chunks;
}

Json ToJson(const MoeProfile& profile) {
  Json json = {{"version", kVersion},
               {"name", profile.name},
               {"model_type", profile.model_type},
               {"target", profile.target},
               {"isa", profile.isa},
               {"num_cores", profile.num_cores},
               {"num_experts", profile.num_experts},
               {"experts_per_token", profile.experts_per_token},
               {"num_nsp", profile.num_nsp},
               {"packed_chunk_size", profile.packed_chunk_size},
               {"prefill_seq_len", profile.prefill_seq_len},
               {"num_tokens", profile.num_tokens},
               {"prefill_seconds", profile.prefill_seconds},
               {"layers", profile.layers},
               {"expert_rows", profile.expert_rows},
               {"expert_seconds", profile.expert_seconds},
               {"layer_imbalance", profile.layer_imbalance}};
  AddBalance(profile.balance, json);
  json["numbers"] = Json::array();
  for (const MoeProfile::Number& number : profile.numbers) {
    Json row = {{"num_nsp", number.num_nsp}, {"placement", NameOf(number.placement)}};
    AddBalance(number.balance, row);
    json["numbers"].push_back(std::move(row));
  }
  json["chunk_sizes"] = Json::array();
  for (const MoeProfile::ChunkSize& size : profile.chunk_sizes) {
    const double chunks = std::max<double>(1.0, static_cast<double>(size.balance.num_chunks));
    const double mean_rows = static_cast<double>(size.balance.num_rows) / chunks;
    Json row = {{"packed_chunk_size", size.packed_chunk_size},
                {"mean_rows", mean_rows},
                {"filled", mean_rows / static_cast<double>(size.packed_chunk_size)}};
    AddBalance(size.balance, row);
    json["chunk_sizes"].push_back(std::move(row));
  }
  return json;
}

}  // namespace

std::string ProfileToJson(const MoeProfile& profile) {
  return ToJson(profile).dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

Status WriteProfileReport(const MoeProfile& profile, const std::filesystem::path& file) {
  constexpr std::string_view kPlace = "@PROFILE@";
  std::string json = ProfileToJson(profile);
  // In a script element "</" would end it.
  for (size_t at = json.find("</"); at != std::string::npos; at = json.find("</", at + 3)) {
    json.replace(at, 2, "<\\/");
  }
  std::string page(kProfileTemplate);
  page.replace(page.find(kPlace), kPlace.size(), json);
  EXPERTILE_ASSIGN(AtomicFile out, AtomicFile::Create(file));
  EXPERTILE_RETURN_IF_ERROR(out.Append(page));
  return out.Commit();
}

}  // namespace expertile
