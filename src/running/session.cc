// Session: extends sequences by steps of at most prefill_seq_len tokens each.
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "running/finite_logits.h"
#include "running/session_state.h"
#include "running/step_rows.h"

namespace expertile {
namespace {

int64_t CountTokens(const Extension& extension) {
  const auto num_padding = std::ranges::count(extension.token_ids, kPaddingToken);
  return static_cast<int64_t>(extension.token_ids.size()) - num_padding;
}

Status CheckExtensions(std::span<const Extension> extensions, std::span<const int64_t> lengths,
                       int64_t ctx_len, int64_t vocab_size) {
  std::vector<bool> named(lengths.size(), false);
  for (const Extension& extension : extensions) {
    const int64_t sequence = extension.sequence;
    if (sequence < 0 || sequence >= static_cast<int64_t>(lengths.size())) {
      return InvalidArgument("sequence {}: batch_size is {}", sequence, lengths.size());
    }
    if (named[sequence])
      return InvalidArgument("sequence {}: extended twice in one call", sequence);
    named[sequence] = true;
    const int64_t count = CountTokens(extension);
    if (count == 0) return InvalidArgument("sequence {}: no tokens", sequence);
    const int64_t length = lengths[sequence] + count;
    if (length > ctx_len) {
      return InvalidArgument("prompt: {} tokens, ctx_len is {}", length, ctx_len);
    }
    for (const int32_t id : extension.token_ids) {
      if (id != kPaddingToken && (id < 0 || id >= vocab_size)) {
        return InvalidArgument("token id {}: the vocabulary has {} tokens", id, vocab_size);
      }
    }
  }
  return {};
}

// A program that is compiled for prefill alone and without enable_chunking takes a prompt in one
// step: it has no input for what came before.
Status CheckWholePrompts(std::span<const Extension> extensions, std::span<const int64_t> lengths,
                         const CompileOptions& options) {
  if (!options.prefill_only.value_or(false) || options.enable_chunking) return {};
  for (const Extension& extension : extensions) {
    const int64_t count = CountTokens(extension);
    if (count > options.prefill_seq_len || lengths[extension.sequence] > 0) {
      return InvalidArgument(
          "prompt: {} tokens after {}, the program prefills at most {} at once and was compiled "
          "without enable_chunking",
          count, lengths[extension.sequence], options.prefill_seq_len);
    }
  }
  return {};
}

}  // namespace

Result<std::vector<float>> Session::State::Extend(std::span<const Extension> extensions,
                                                  StepKind kind, int64_t step_limit,
                                                  LogitsWanted wanted, MoeTrace* trace) {
  const int64_t V = program->model.spec.vocab_size;
  EXPERTILE_RETURN_IF_ERROR(CheckExtensions(extensions, lengths, *program->options.ctx_len, V));
  EXPERTILE_RETURN_IF_ERROR(CheckWholePrompts(extensions, lengths, program->options));
  int64_t longest = 0;
  int64_t total = 0;
  std::vector<PlacedExtension> placed;
  for (const Extension& extension : extensions) {
    const int64_t sequence = extension.sequence;
    EXPERTILE_ASSIGN(auto next, PlaceExtension(extension, lengths[sequence], rope_deltas[sequence],
                                               program->model));
    longest = std::max(longest, next.size());
    total += next.padded_size;
    placed.push_back(std::move(next));
  }
  const int64_t num_rows =
      wanted == LogitsWanted::kLast ? static_cast<int64_t>(extensions.size()) : total;
  std::vector<float> logits(num_rows * V);
  std::vector<float> step_logits;
  for (int64_t done = 0; done < longest; done += step_limit) {
    StepRows rows = RowsOf(placed, done, step_limit, wanted);
    step_logits.resize(rows.logit_rows.size() * V);
    const Step step{.kind = kind,
                    .token_ids = rows.token_ids,
                    .sequences = rows.sequences,
                    .positions = rows.positions,
                    .rope_positions = rows.rope_positions,
                    .logit_rows = rows.logit_rows,
                    .images = {rows.image_rows, rows.image_embeddings, std::move(rows.deepstack)},
                    .trace = trace};
    EXPERTILE_RETURN_IF_ERROR(target->Run(step, step_logits));
    if (wanted != LogitsWanted::kAllUnchecked) {
      EXPERTILE_RETURN_IF_ERROR(CheckFinite(*target, step, step_logits));
    }
    for (size_t r = 0; r < rows.destinations.size(); ++r) {
      std::copy_n(step_logits.begin() + r * V, V, logits.begin() + rows.destinations[r] * V);
    }
  }
  for (const PlacedExtension& extension : placed) {
    lengths[extension.sequence] += extension.size();
    rope_deltas[extension.sequence] = extension.rope_delta;
  }
  return logits;
}

Session::Session(std::unique_ptr<State> state) : state_(std::move(state)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

Result<std::vector<float>> Session::Prefill(std::span<const Extension> extensions,
                                            LogitsWanted wanted, MoeTrace* trace) {
  return state_->Extend(extensions, StepKind::kPrefill, prefill_seq_len(), wanted, trace);
}

Result<std::vector<float>> Session::Decode(std::span<const Extension> extensions) {
  if (state_->program->options.prefill_only.value_or(false)) {
    return InvalidArgument("decode: the program was compiled with prefill_only");
  }
  for (const Extension& extension : extensions) {
    if (CountTokens(extension) != 1) {
      return InvalidArgument("sequence {}: {} tokens, decode takes one", extension.sequence,
                             CountTokens(extension));
    }
  }
  return state_->Extend(extensions, StepKind::kDecode, 1, LogitsWanted::kLast, nullptr);
}

int64_t Session::batch_size() const { return static_cast<int64_t>(state_->lengths.size()); }

int64_t Session::ctx_len() const { return *state_->program->options.ctx_len; }

int64_t Session::prefill_seq_len() const { return state_->program->options.prefill_seq_len; }

Result<int64_t> Session::length(int64_t sequence) const {
  EXPERTILE_RETURN_IF_ERROR(state_->CheckSequence(sequence));
  return state_->lengths[sequence];
}

Status Session::Clear(int64_t sequence) {
  EXPERTILE_RETURN_IF_ERROR(state_->CheckSequence(sequence));
  state_->lengths[sequence] = 0;
  state_->rope_deltas[sequence] = 0;
  return {};
}

Status Session::State::CheckSequence(int64_t sequence) const {
  if (sequence >= 0 && sequence < static_cast<int64_t>(lengths.size())) return {};
  return InvalidArgument("sequence {}: batch_size is {}", sequence, lengths.size());
}

Result<KvHeader> Session::State::HeaderOf(int64_t sequence) const {
  EXPERTILE_RETURN_IF_ERROR(CheckSequence(sequence));
  EXPERTILE_ASSIGN(std::string model, program->model_digest());
  return KvHeader{std::move(model), program->kv_format, *program->options.ctx_len,
                  lengths[sequence], rope_deltas[sequence]};
}

Status Session::SaveKv(int64_t sequence, const std::filesystem::path& file) const {
  EXPERTILE_ASSIGN(const KvHeader header, state_->HeaderOf(sequence));
  if (header.num_tokens == 0) return InvalidArgument("sequence {}: no tokens", sequence);
  return WriteKvFile(file, header, state_->program->model.spec, *state_->target, sequence);
}

Status Session::LoadKv(int64_t sequence, const std::filesystem::path& file) {
  EXPERTILE_ASSIGN(const KvHeader expected, state_->HeaderOf(sequence));
  if (expected.num_tokens != 0) {
    return InvalidArgument("sequence {}: holds {} tokens, expected an empty one", sequence,
                           expected.num_tokens);
  }
  EXPERTILE_ASSIGN(const KvHeader header, ReadKvFile(file, expected, state_->program->model.spec,
                                                     *state_->target, sequence));
  state_->lengths[sequence] = header.num_tokens;
  state_->rope_deltas[sequence] = header.rope_delta;
  return {};
}

NspLoad Session::nsp_load() const {
  const NspStatistics& statistics = state_->target->nsp_statistics();
  return {statistics.rows, statistics.busy_seconds};
}

}  // namespace expertile
