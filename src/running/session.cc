// Session: extends sequences by steps of at most prefill_seq_len tokens each.
#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/stopwatch.h"
#include "running/finite_logits.h"
#include "running/session_state.h"
#include "running/step_rows.h"

namespace expertile {
namespace {

int64_t CountTokens(const Extension& extension) {
  const auto num_padding = std::ranges::count(extension.token_ids, kPaddingToken);
  return static_cast<int64_t>(extension.token_ids.size()) - num_padding;
}

Status CheckExtensions(std::span<const Extension> extensions, const Sequences& sequences,
                       int64_t ctx_len, int64_t vocab_size) {
  std::set<int64_t> named;
  for (const Extension& extension : extensions) {
    const int64_t sequence = extension.sequence;
    EXPERTILE_RETURN_IF_ERROR(sequences.Check(sequence));
    if (!named.insert(sequence).second) {
      return InvalidArgument("sequence {}: extended twice in one call", sequence);
    }
    const int64_t count = CountTokens(extension);
    if (count == 0) return InvalidArgument("sequence {}: no tokens", sequence);
    const int64_t length = sequences.length(sequence) + count;
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
Status CheckWholePrompts(std::span<const Extension> extensions, const Sequences& sequences,
                         const CompileOptions& options) {
  if (!options.prefill_only.value_or(false) || options.enable_chunking) return {};
  for (const Extension& extension : extensions) {
    const int64_t count = CountTokens(extension);
    const int64_t held = sequences.length(extension.sequence);
    if (count > options.prefill_seq_len || held > 0) {
      return InvalidArgument(
          "prompt: {} tokens after {}, the program prefills at most {} at once and was compiled "
          "without enable_chunking",
          count, held, options.prefill_seq_len);
    }
  }
  return {};
}

}  // namespace

Status Session::State::Reserve(std::span<const Sequences::Growth> growths) {
  EXPERTILE_ASSIGN(const std::vector<BlockCopy> copies, sequences.Reserve(growths));
  for (const BlockCopy& copy : copies) {
    EXPERTILE_RETURN_IF_ERROR(target->CopyBlock(copy.from, copy.to));
  }
  return {};
}

Result<std::vector<float>> Session::State::Extend(std::span<const Extension> extensions,
                                                  int64_t step_limit, LogitsWanted wanted,
                                                  MoeTrace* trace) {
  EXPERTILE_RETURN_IF_ERROR(CheckExtensions(extensions, sequences, *program->options.ctx_len,
                                            program->model.spec.vocab_size));
  EXPERTILE_RETURN_IF_ERROR(CheckWholePrompts(extensions, sequences, program->options));
  std::vector<PlacedExtension> placed;
  std::vector<Sequences::Growth> growths;
  for (const Extension& extension : extensions) {
    const int64_t sequence = extension.sequence;
    EXPERTILE_ASSIGN(auto next, PlaceExtension(extension, sequences.length(sequence),
                                               sequences.rope_delta(sequence), program->model));
    growths.push_back({sequence, next.size()});
    placed.push_back(std::move(next));
  }
  EXPERTILE_RETURN_IF_ERROR(Reserve(growths));
  const int64_t V = program->model.spec.vocab_size;
  // A step has rows of at most batch_size sequences.
  std::vector<float> logits;
  Status outcome;
  const auto batch_size = static_cast<size_t>(program->options.batch_size);
  for (std::span<const PlacedExtension> rest = placed; outcome && !rest.empty();) {
    const auto batch = rest.first(std::min(batch_size, rest.size()));
    rest = rest.subspan(batch.size());
    const size_t done = logits.size();
    logits.resize(done + NumLogitRows(batch, wanted) * V);
    outcome = RunSteps(batch, step_limit, wanted, trace, std::span(logits).subspan(done));
  }
  for (const PlacedExtension& extension : placed) {
    if (outcome) sequences.Append(extension.sequence, extension.next_deltas);
    sequences.Trim(extension.sequence);
  }
  EXPERTILE_RETURN_IF_ERROR(outcome);
  return logits;
}

Status Session::State::RunSteps(std::span<const PlacedExtension> placed, int64_t step_limit,
                                LogitsWanted wanted, MoeTrace* trace, std::span<float> logits) {
  const int64_t V = program->model.spec.vocab_size;
  int64_t longest = 0;
  std::vector<BlockTable> block_tables;
  for (const PlacedExtension& extension : placed) {
    longest = std::max(longest, extension.size());
    block_tables.push_back(sequences.blocks(extension.sequence));
  }
  std::vector<float> step_logits;
  StepCancellation cancellation(is_cancelled);
  for (int64_t done = 0; done < longest; done += step_limit) {
    const StepRows rows = RowsOf(placed, done, step_limit, wanted);
    // Rows that follow each other in the result are made there.
    const std::vector<int64_t>& places = rows.destinations;
    const bool follow = std::ranges::adjacent_find(places, [](int64_t a, int64_t b) {
                          return b != a + 1;
                        }) == places.end();
    const size_t num_logits = places.size() * V;
    if (!follow) step_logits.resize(num_logits);
    const std::span<float> made =
        follow ? logits.subspan(places.empty() ? 0 : places[0] * V, num_logits) : step_logits;
    const Step step{.token_ids = rows.token_ids,
                    .sequences = rows.sequences,
                    .positions = rows.positions,
                    .rope_positions = rows.rope_positions,
                    .block_tables = block_tables,
                    .logit_rows = rows.logit_rows,
                    .images = {rows.image_rows,
                               rows.image_embeddings,
                               {rows.deepstack.begin(), rows.deepstack.end()}},
                    .trace = trace,
                    .cancellation = &cancellation};
    const Stopwatch watch;
    EXPERTILE_RETURN_IF_ERROR(target->Run(step, made));
    if (wanted != LogitsWanted::kAllUnchecked) {
      EXPERTILE_RETURN_IF_ERROR(CheckFinite(*target, step, placed, made));
    }
    Log(LogLevel::kDebug, "step: {} tokens in {:.3f} ms", step.num_tokens(), watch.seconds() * 1e3);
    for (size_t r = 0; !follow && r < places.size(); ++r) {
      std::copy_n(step_logits.begin() + r * V, V, logits.begin() + places[r] * V);
    }
  }
  return {};
}

Session::Session(std::unique_ptr<State> state) : state_(std::move(state)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

Result<std::vector<float>> Session::Run(std::span<const Extension> extensions, LogitsWanted wanted,
                                        MoeTrace* trace) {
  return state_->Extend(extensions, prefill_seq_len(), wanted, trace);
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
  return state_->Extend(extensions, 1, LogitsWanted::kLast, nullptr);
}

int64_t Session::batch_size() const { return state_->program->options.batch_size; }

int64_t Session::ctx_len() const { return *state_->program->options.ctx_len; }

int64_t Session::prefill_seq_len() const { return state_->program->options.prefill_seq_len; }

int64_t Session::NewSequence() { return state_->sequences.Add(); }

Status Session::DropSequence(int64_t sequence) { return state_->sequences.Drop(sequence); }

Result<int64_t> Session::Fork(int64_t sequence) { return state_->sequences.Fork(sequence); }

Result<int64_t> Session::length(int64_t sequence) const {
  EXPERTILE_RETURN_IF_ERROR(state_->sequences.Check(sequence));
  return state_->sequences.length(sequence);
}

Status Session::Truncate(int64_t sequence, int64_t length) {
  return state_->sequences.Truncate(sequence, length);
}

Status Session::Clear(int64_t sequence) { return Truncate(sequence, 0); }

Result<KvHeader> Session::State::HeaderOf(int64_t sequence) const {
  EXPERTILE_RETURN_IF_ERROR(sequences.Check(sequence));
  EXPERTILE_ASSIGN(std::string model, program->model_digest());
  return KvHeader{std::move(model), program->kv_format, *program->options.ctx_len,
                  sequences.length(sequence), sequences.rope_delta(sequence)};
}

Status Session::SaveKv(int64_t sequence, const std::filesystem::path& file) const {
  EXPERTILE_ASSIGN(const KvHeader header, state_->HeaderOf(sequence));
  if (header.num_tokens == 0) return InvalidArgument("sequence {}: no tokens", sequence);
  if (header.rope_delta == Sequences::kNoDelta) {
    return InvalidArgument("sequence {}: it ends inside an image", sequence);
  }
  return WriteKvFile(file, header, state_->program->model.spec, *state_->target,
                     state_->sequences.blocks(sequence), state_->sequences.next_deltas(sequence));
}

Status Session::LoadKv(int64_t sequence, const std::filesystem::path& file) {
  EXPERTILE_ASSIGN(const KvHeader expected, state_->HeaderOf(sequence));
  if (expected.num_tokens != 0) {
    return InvalidArgument("sequence {}: holds {} tokens, expected an empty one", sequence,
                           expected.num_tokens);
  }
  EXPERTILE_ASSIGN(const KvFile kv, KvFile::Open(file, expected, state_->program->model.spec));
  const Sequences::Growth growth{sequence, kv.header().num_tokens};
  EXPERTILE_RETURN_IF_ERROR(state_->Reserve({&growth, 1}));
  const Status read = kv.ReadInto(*state_->target, state_->sequences.blocks(sequence));
  if (read) state_->sequences.Append(sequence, kv.next_deltas());
  state_->sequences.Trim(sequence);
  return read;
}

void Session::SetIsCancelled(IsCancelled is_cancelled) {
  state_->is_cancelled = std::move(is_cancelled);
}

NspLoad Session::nsp_load() const {
  const NspStatistics& statistics = state_->target->nsp_statistics();
  return {statistics.rows,
          statistics.busy_seconds,
          statistics.expert_seconds,
          statistics.busiest_worker_seconds,
          statistics.mean_worker_seconds,
          statistics.cut};
}

void Session::TimeStages(bool on) { state_->target->TimeStages(on); }

std::vector<StageTime> Session::stage_times() const {
  std::vector<StageTime> times;
  const StageClock* clock = state_->target->stage_clock();
  for (size_t i = 0; clock != nullptr && i < kNumStages; ++i) {
    const auto stage = static_cast<Stage>(i);
    times.push_back({NameOf(stage), clock->seconds()[stage]});
  }
  return times;
}

}  // namespace expertile
