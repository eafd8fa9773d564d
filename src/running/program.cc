// Program: what it was compiled as, and the sessions that run it.
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dispatch/placement.h"
#include "expertile/model.h"
#include "running/session_state.h"

namespace expertile {

Result<NspPlacement> PlacementOf(int num_experts, int num_nsp) {
  EXPERTILE_ASSIGN(const Placement placement, Placement::Create(num_experts, num_nsp));
  NspPlacement lists{num_nsp, placement.local_experts(), {}};
  lists.experts.resize(num_nsp);
  for (int expert = 0; expert < num_experts; ++expert) {
    lists.experts[placement.NspOf(expert)].push_back(expert);
  }
  return lists;
}

Program::Program(std::shared_ptr<const State> state) : state_(std::move(state)) {}

const ModelDescription& Program::description() const { return state_->description; }

const CompileOptions& Program::options() const { return state_->options; }

const std::filesystem::path& Program::model_folder() const { return state_->model.folder; }

const std::vector<int32_t>& Program::end_token_ids() const { return state_->model.end_token_ids; }

std::optional<int32_t> Program::image_token_id() const {
  if (!state_->model.vision) return std::nullopt;
  return state_->model.vision->spec.prompt.image_token_id;
}

int64_t Program::vocab_size() const { return state_->model.spec.vocab_size; }

std::string Program::isa() const { return std::string(state_->target->isa()); }

std::optional<NspPlacement> Program::placement() const {
  if (!state_->options.moe_prefill_num_nsp) return std::nullopt;
  return PlacementOf(state_->model.spec.moe.num_experts, *state_->options.moe_prefill_num_nsp)
      .value();
}

Result<Session> Program::NewSession() const {
  EXPERTILE_ASSIGN(auto target,
                   CatchOutOfMemory("a session", [&] { return state_->target->NewSession(); }));
  return Session(std::make_unique<Session::State>(Session::State{
      state_, std::move(target), Sequences(state_->options.batch_size, *state_->options.ctx_len)}));
}

}  // namespace expertile
