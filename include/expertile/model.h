// Model, Program and Session: load a checkpoint, compile it for a target, run it.
// Not text (tokenizer.h) and not the loop that generates it (generation.h).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/dispatch.h"
#include "expertile/image.h"
#include "expertile/options.h"
#include "expertile/progress.h"
#include "expertile/result.h"

namespace expertile {

struct ExportedGraphs;
class Tokenizer;
class MoeTrace;
struct ModelBenchOptions;
struct ModelBenchResult;

// A vision tower.
struct VisionDescription {
  int num_blocks = 0;
  int64_t hidden_size = 0;
  int num_heads = 0;
  int64_t image_token_id = 0;
  int64_t num_parameters = 0;
  int64_t merge_size = 0;  // patches on a side of what becomes one image token
};

// What a checkpoint is, in the letters of the documentation.
struct ModelDescription {
  std::string model_type;
  int num_layers = 0;
  int num_moe_layers = 0;
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;  // H
  int num_heads = 0;
  int num_kv_heads = 0;
  int64_t head_dim = 0;  // D
  int64_t max_positions = 0;
  int num_experts = 0;                      // E
  int experts_per_token = 0;                // K
  int64_t moe_intermediate_size = 0;        // I
  std::optional<VisionDescription> vision;  // none in a model of text alone
  int64_t num_parameters = 0;               // the vision tower's included
  int64_t num_active_parameters = 0;        // read for one token: K of E experts
  int64_t checkpoint_bytes = 0;             // of tensors on disk
  std::string checkpoint_dtype;             // of most of them: "bfloat16"
  std::vector<int32_t> end_token_ids;       // generation ends at any of them
};

// Which experts lie on an NSP: expert e on NSP e mod N, in slot e div N.
struct NspPlacement {
  int num_nsp = 0;                        // N
  int local_experts = 0;                  // L, slots per NSP
  std::vector<std::vector<int>> experts;  // [N][<= L], in slot order
};

// What the NSPs did during a session's prefill, summed over MoE layers; empty when blocking is off.
struct NspLoad {
  std::vector<int64_t> rows;         // [N], token rows handled
  std::vector<double> busy_seconds;  // [N], of its experts, by whichever workers
  // [layers][E], the same by layer and expert; empty where a target does not tell (reference).
  std::vector<std::vector<double>> expert_seconds = {};
  // Summed over layers: what the busiest worker did, and the mean of the workers. Their ratio is
  // what waiting for the busiest costs. 0 where a target does not tell (reference).
  double busiest_worker_seconds = 0.0;
  double mean_worker_seconds = 0.0;
  WorkCut cut = {};  // how the target's workers cut the last step, where it tells
};

// How long a session's steps were in one stage of the forward pass: "attention", "experts", …
struct StageTime {
  std::string_view stage;
  double seconds = 0.0;
};

// In token_ids: no token. It is not routed, not kept and costs nothing; its logits are zero.
inline constexpr int32_t kPaddingToken = -1;

// Tokens that extend one sequence of a session.
struct Extension {
  int64_t sequence = 0;  // 0 <= sequence < batch_size
  // 0 <= id < vocab_size, or kPaddingToken anywhere; at least one token.
  std::span<const int32_t> token_ids;
  // Of the image tokens among token_ids, in order: whole images, as PlaceImages() places them.
  std::span<const EncodedImage> images = {};
  // RoPE's positions [A, tokens] (A axes: 1, or 3 of a model with images), by a caller who knows
  // them, as a graph's inputs have them. `images` may then be parts of images, whose grids do not
  // count: a prompt can be cut inside one. Each 0 to the token's index. Empty: as the images say.
  std::span<const int32_t> rope_positions = {};
};

enum class LogitsWanted {
  kLast,          // of each extension's last token
  kAll,           // of all tokens
  kAllUnchecked,  // likewise, NaN and infinities too: for looking into a damaged model
};

// What a session's cache holds of a sequence, as values.
struct KvState {
  struct Layer {
    int64_t num_kv_heads = 0;
    int64_t head_dim = 0;       // D
    std::vector<float> keys;    // [kv_heads, num_tokens, D], after RoPE
    std::vector<float> values;  // [kv_heads, num_tokens, D]
  };
  int64_t num_tokens = 0;
  std::vector<Layer> layers;
  // [num_tokens], as in docs/kv-cache-file.md; empty stands for zeros: text without images.
  std::vector<int32_t> next_deltas;
};

// The same, wherever the values lie.
struct KvView {
  struct Layer {
    int64_t num_kv_heads = 0;
    int64_t head_dim = 0;
    std::span<const float> keys;
    std::span<const float> values;
  };

  KvView() = default;
  KvView(const KvState& state)  // NOLINT: a state is one
      : num_tokens(state.num_tokens), next_deltas(state.next_deltas) {
    for (const KvState::Layer& layer : state.layers) {
      layers.push_back({layer.num_kv_heads, layer.head_dim, layer.keys, layer.values});
    }
  }
  int64_t num_tokens = 0;
  std::vector<Layer> layers;
  std::span<const int32_t> next_deltas;
};

// Runs a program on sequences of tokens. A sequence is a number: 0 to batch_size - 1 are there from
// the start, more can be made. Their keys and values share one pool, which has room for batch_size
// sequences of ctx_len tokens: more of them fit if they are shorter, or forks of each other.
//
// Whatever else is extended with it, in the same call or before, and however it came to hold its
// tokens, a sequence's logits are the same bits.
class Session {
 public:
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  // Extends the named sequences, each at most once in a call, some by a whole prompt, others by a
  // token: in steps of at most prefill_seq_len tokens of each of batch_size sequences. Returns the
  // logits of each extension's last token [num_extensions, V], or of all tokens, extension by
  // extension [sum of tokens, V]. `trace` may be null. Errors, which change nothing: a sequence
  // that is not there or would outgrow ctx_len; a pool without the room; kNotFinite, with the
  // position and the first layer, for wanted logits that are NaN or infinite.
  Result<std::vector<float>> Run(std::span<const Extension> extensions,
                                 LogitsWanted wanted = LogitsWanted::kLast,
                                 MoeTrace* trace = nullptr);
  // Run(), by the name of what most do with it.
  Result<std::vector<float>> Prefill(std::span<const Extension> extensions,
                                     LogitsWanted wanted = LogitsWanted::kLast,
                                     MoeTrace* trace = nullptr) {
    return Run(extensions, wanted, trace);
  }
  // The same for one token per sequence. Returns [num_extensions, V]. Error: a program of prefill
  // alone.
  Result<std::vector<float>> Decode(std::span<const Extension> extensions);

  int64_t batch_size() const;
  int64_t ctx_len() const;
  int64_t prefill_seq_len() const;

  // A new, empty sequence.
  int64_t NewSequence();
  // All of these: error: a sequence that is not there.
  Status DropSequence(int64_t sequence);
  // A new sequence that holds what `sequence` does, in the same memory until one of them grows.
  Result<int64_t> Fork(int64_t sequence);
  Result<int64_t> length(int64_t sequence) const;  // tokens held
  // Forgets the tokens from `length` on. Errors: 0 <= length <= length(sequence) does not hold, or
  // it is inside the tokens of an image, unless the sequence ends there.
  Status Truncate(int64_t sequence, int64_t length);
  Status Clear(int64_t sequence);  // forgets them all
  NspLoad nsp_load() const;
  // Of all steps so far, prompts and single tokens, in the order of the forward pass; together they
  // are the steps' whole time. Empty where a target does not tell.
  std::vector<StageTime> stage_times() const;
  // A device tells its stages' times of the steps from TimeStages(true) on, and is a little slower
  // as long. The processor's targets always tell.
  void TimeStages(bool on);

  // Asked before every layer of every step. Once it says so, the running call returns kCancelled
  // and leaves all sequences as they were; the session can be used again. Empty = never.
  void SetIsCancelled(IsCancelled is_cancelled);

  // What the cache holds of a sequence. Error: an empty one.
  Result<KvState> ReadKv(int64_t sequence) const;
  // Continues, on an empty sequence, what ReadKv() of a session of the same model gave: the next
  // token's logits are the same bits, if both caches have one number format. The values are copied
  // once, into the cache. Errors, which change nothing: sizes that are not the model's, more tokens
  // than ctx_len.
  Status WriteKv(int64_t sequence, const KvView& state);

  // Writes what the cache holds of a sequence, for LoadKv() of another session, in this process or
  // another (docs/kv-cache-file.md). Errors: an empty sequence; an I/O error, which leaves no file.
  Status SaveKv(int64_t sequence, const std::filesystem::path& file) const;
  // Continues, on an empty sequence, what SaveKv() wrote: the next token's logits are the same
  // bits. Errors, which change nothing: a file of another model, number format or ctx_len, of a
  // newer version, or damaged; each with the reason.
  Status LoadKv(int64_t sequence, const std::filesystem::path& file);

 private:
  friend class Program;
  struct State;
  explicit Session(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Patches of an image: grid_t, grid_h, grid_w.
using PatchGrid = std::array<int64_t, 3>;

// One program for a Cloud AI 100 (a QPC), from one graph.
struct QaicProgramFolder {
  std::string name;              // of the graph: vision, prefill or decode
  std::filesystem::path folder;  // .../qpc, which the SDK's runtime loads
  enum class State { kCompiledBefore, kCompiled, kToBeRun } state = State::kToBeRun;
  std::string
      command;  // kToBeRun, as there is no SDK here: the line for a shell where there is one
};

// What Model::CompileToDisk made or found.
struct CompiledProgram {
  // What Program::Open() opens; of the targets onnx and qaic, of the graphs.
  std::filesystem::path folder;
  bool was_found = false;  // an earlier compile with the same weights and options made it
  std::vector<QaicProgramFolder> qaic;  // of target qaic
};

// A checkpoint compiled for one target and one set of shapes. Sessions share its weights and keep
// it alive.
class Program {
 public:
  // Opens a program's folder. Weights are mapped and used in place; only what is touched is read.
  // Errors: a damaged or newer package, kUnsupported for an instruction set that this machine
  // lacks.
  static Result<Program> Open(const std::filesystem::path& folder);
  // The model of a config.json alone, or its first `num_layers` layers (0 = all), with random
  // weights that the target makes where it keeps them: for measuring models whose checkpoint is not
  // at hand. Errors: those of Model::Load() and Model::Compile(); kUnsupported for a target that
  // makes none.
  static Result<Program> WithRandomWeights(const std::filesystem::path& config, int num_layers,
                                           const CompileOptions& options);
  // Whether a folder is a program's, rather than a checkpoint's.
  static bool IsProgram(const std::filesystem::path& folder);
  Result<Session> NewSession() const;
  // A PNG, JPEG, WebP, GIF or BMP file through the model's preprocessor and vision tower; of an
  // animation its first frame. `is_cancelled` (may be empty) is asked before every block of the
  // tower. Errors: a model without images, a program compiled with skip_vision, a file that is no
  // image or over 178,956,970 pixels; kCancelled.
  Result<EncodedImage> EncodeImage(const std::filesystem::path& file,
                                   const IsCancelled& is_cancelled = nullptr) const;
  // The same from a file's bytes; `name` is what errors call it.
  Result<EncodedImage> EncodeImage(std::span<const std::byte> bytes, std::string_view name,
                                   const IsCancelled& is_cancelled = nullptr) const;
  // The vision tower alone, on pixels as the model's preprocessor makes them: `grid_t` x `grid_h` x
  // `grid_w` patches, as many rows of pixel_values. Errors: those of EncodeImage(); another number
  // of values than the grid says.
  Result<EncodedImage> EncodePixels(int64_t grid_t, int64_t grid_h, int64_t grid_w,
                                    std::vector<float> pixel_values,
                                    const IsCancelled& is_cancelled = nullptr) const;
  // The token that stands for a row of an image; none in a model of text alone.
  std::optional<int32_t> image_token_id() const;
  // The prompt with as many image tokens for each image as it has rows: a chat template writes one
  // per image. A prompt without any gets the images in front, each between the model's start and
  // end tokens.
  Result<std::vector<int32_t>> PlaceImages(std::span<const int32_t> token_ids,
                                           std::span<const EncodedImage> images) const;
  // The patches (grid_t, grid_h, grid_w) that the model's preprocessor makes of an image of this
  // size in pixels. Errors: those of EncodeImage(); a size that it refuses.
  Result<PatchGrid> GridOf(int64_t height, int64_t width) const;
  // Holds config.json, tokenizer.json and the like.
  const std::filesystem::path& model_folder() const;
  const std::vector<int32_t>& end_token_ids() const;  // generation ends at any of them
  int64_t vocab_size() const;
  // The model that it computes. What is about a checkpoint's bytes is 0 and empty in a program that
  // was opened from a folder, which has none.
  const ModelDescription& description() const;
  const CompileOptions& options() const;  // as resolved: ctx_len, num_cores and num_nsp hold values
  std::string isa() const;                // the instruction set of its kernels
  std::optional<NspPlacement> placement() const;  // none when blocking is off

 private:
  friend class Model;
  friend class Session;
  friend Result<ModelBenchResult> BenchModel(const Program&, const ModelBenchOptions&);
  struct State;
  explicit Program(std::shared_ptr<const State> state);
  std::shared_ptr<const State> state_;
};

// A checkpoint folder as the Hugging Face hub has them, opened: its files stay mapped while a Model
// or Program lives.
class Model {
 public:
  // Reads config.json and the tensors' headers; weights are read when a program is compiled.
  static Result<Model> Load(const std::filesystem::path& folder);

  const ModelDescription& description() const;
  const std::filesystem::path& folder() const;
  // Prepares the weights for options.target, in memory, or with compile_dir or cache_dir through
  // CompileToDisk(). Compiling again, with other options, is independent of this call.
  // `on_progress` (may be empty) is told how many layers are packed. `is_cancelled` (may be empty)
  // is asked as often: once it says so, the error is kCancelled. There is no program then, at most
  // whole sections in the cache, which the next compile uses.
  Result<Program> Compile(const CompileOptions& options, const OnProgress& on_progress = nullptr,
                          const IsCancelled& is_cancelled = nullptr) const;
  // The same as a folder that Program::Open() opens, here or elsewhere: in options.compile_dir,
  // else in the compile cache, options.cache_dir (none: $EXPERTILE_HOME, else
  // $XDG_CACHE_HOME/expertile, else ~/.cache/expertile). The same weights and options are compiled
  // once, by one process. Memory is bounded by one layer. `on_progress` is told bytes hashed, then
  // layers packed, each with its own total.
  Result<CompiledProgram> CompileToDisk(const CompileOptions& options,
                                        const OnProgress& on_progress = nullptr,
                                        const IsCancelled& is_cancelled = nullptr) const;
  Result<NspPlacement> PlacementOn(int num_nsp) const;
  // RoPE's positions [3, tokens] (time, height, width) of a prompt that holds the image tokens of
  // images with these patches, from 0 on. Errors: a model of text alone; other image tokens than
  // the grids ask for.
  Result<std::vector<int32_t>> RopePositions(std::span<const int32_t> token_ids,
                                             std::span<const PatchGrid> grids) const;

 private:
  friend Result<ExportedGraphs> ExportOnnx(const Model&, const CompileOptions&,
                                           const std::filesystem::path&, const OnProgress&,
                                           const IsCancelled&);
  struct State;
  explicit Model(std::shared_ptr<const State> state);
  std::shared_ptr<const State> state_;
};

}  // namespace expertile
