// Forward passes with damaged weights: numbers of a checkpoint or bytes of a program are changed,
// and whatever still opens runs random steps. No weight may become an index or a size, logits that
// are given are finite, and an error is one line.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/temporary_folder.h"
#include "expertile/model.h"
#include "fuzz/tiny_checkpoint.h"

namespace expertile::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kCtxLen = 48;

// A PNG of 2 x 2 grey pixels.
constexpr auto kPicture = std::to_array<uint8_t>(
    {0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44,
     0x52, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x02, 0x08, 0x00, 0x00, 0x00, 0x00, 0x57,
     0xdd, 0x52, 0xf8, 0x00, 0x00, 0x00, 0x0e, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0x50,
     0x78, 0xc0, 0x30, 0x81, 0x15, 0x00, 0x05, 0x4b, 0x01, 0x96, 0x0c, 0x5b, 0xcb, 0x3a, 0x00,
     0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82});

// The input, taken as one decision after another; zeros after its end.
class Choices {
 public:
  explicit Choices(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  bool is_empty() const { return at_ >= bytes_.size(); }
  uint8_t Byte() { return is_empty() ? 0 : bytes_[at_++]; }
  int64_t Below(int64_t count) { return Byte() % count; }
  uint32_t Word() {
    uint32_t word = 0;
    for (int i = 0; i < 4; ++i) word = word << 8 | Byte();
    return word;
  }

 private:
  std::span<const uint8_t> bytes_;
  size_t at_ = 0;
};

void WriteBytes(const fs::path& path, std::span<const char> bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), std::ssize(bytes));
}

std::vector<char> ReadBytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Changes numbers from offset `begin` on: special bfloat16 values, or any byte.
void Damage(Choices& choices, size_t begin, std::vector<char>& bytes) {
  constexpr std::array<uint16_t, 10> kSpecial = {0x7fc0, 0xffc0, 0x7f80, 0xff80, 0x7f7f,
                                                 0xff7f, 0x0001, 0x8000, 0x7fff, 0x7f00};
  const size_t size = bytes.size() - begin;
  if (size < 2) return;
  const int64_t count = choices.Below(9);
  for (int64_t i = 0; i < count; ++i) {
    const size_t at = begin + choices.Word() % (size - 1);
    const uint8_t kind = choices.Byte();
    if (kind >= kSpecial.size() * 16) {
      bytes[at] = static_cast<char>(choices.Byte());
      continue;
    }
    const uint16_t value = kSpecial[kind / 16];
    const size_t even = at / 2 * 2;
    const size_t end = std::min(bytes.size() - 1, even + (kind % 2 == 0 ? 2 : 64));
    for (size_t j = even; j < end; j += 2) {
      bytes[j] = static_cast<char>(value & 0xff);
      bytes[j + 1] = static_cast<char>(value >> 8);
    }
  }
}

// The five checkpoints on disk, undamaged, and what is written over them for each input.
class Bench {
 public:
  Bench() {
    fs::create_directories(model());
    fs::create_directories(folder_ / "cache");
    WriteBytes(folder_ / "picture.png",
               {reinterpret_cast<const char*>(kPicture.data()), kPicture.size()});
    const std::string preprocessor = R"({"size":{"shortest_edge":64,"longest_edge":1024},
        "patch_size":4,"temporal_patch_size":1,"merge_size":2,
        "image_processor_type":"Qwen2VLImageProcessorFast"})";
    WriteBytes(model() / "preprocessor_config.json", preprocessor);
    for (const TinyCheckpoint& tiny : {TinyQwen3Moe(), TinyGptOss(false), TinyGptOss(true),
                                       TinyGraniteMoe(), TinyQwen3VlMoe()}) {
      auto writer = SafetensorsWriter::Create(folder_ / "whole.safetensors", tiny.tensors);
      if (!writer || !writer->Append(tiny.data) || !writer->Finish()) std::abort();
      const std::vector<char> bytes = ReadBytes(folder_ / "whole.safetensors");
      checkpoints_.push_back({tiny.config, bytes, bytes.size() - tiny.data.size()});
    }
  }

  fs::path model() const { return folder_ / "model"; }
  fs::path picture() const { return folder_ / "picture.png"; }
  fs::path cache() const { return folder_ / "cache"; }
  fs::path kv_file() const { return folder_ / "kv.safetensors"; }

  // One of the checkpoints with damaged numbers.
  Result<Model> Load(Choices& choices) const {
    const Checkpoint& checkpoint = checkpoints_[choices.Below(std::ssize(checkpoints_))];
    std::vector<char> bytes = checkpoint.bytes;
    Damage(choices, checkpoint.data_begin, bytes);
    WriteBytes(model() / "config.json", checkpoint.config);
    WriteBytes(model() / "model.safetensors", bytes);
    return Model::Load(model());
  }

 private:
  struct Checkpoint {
    std::string config;
    std::vector<char> bytes;  // model.safetensors
    size_t data_begin;
  };
  TemporaryFolder folder_;
  std::vector<Checkpoint> checkpoints_;
};

void CheckError(const Error& error) {
  if (error.message.empty() || error.message.find('\n') != std::string::npos) std::abort();
}

CompileOptions OptionsFrom(Choices& choices) {
  CompileOptions options;
  const uint8_t flags = choices.Byte();
  options.target = (flags & 1) != 0 ? "reference" : "cpu";
  if ((flags & 2) != 0 && options.target == "cpu") options.dtype = "bfloat16";
  options.mxfp6_matmul = (flags & 4) != 0;
  options.mxint8_kv_cache = (flags & 8) != 0;
  options.num_cores = (flags & 16) != 0 ? 2 : 1;
  if ((flags & 32) != 0) options.moe_prefill_num_nsp = 1 + static_cast<int>(choices.Below(E));
  constexpr std::array<int64_t, 5> kChunkSizes = {1, 2, 3, 16, 256};
  options.moe_prefill_packed_chunk_size = kChunkSizes[choices.Below(std::ssize(kChunkSizes))];
  options.batch_size = 1 + choices.Below(3);
  options.prefill_seq_len = 1 + choices.Below(33);
  options.ctx_len = kCtxLen;
  return options;
}

// A program of the model: in memory, or through a package whose sections are damaged.
Result<Program> Compile(const Bench& bench, const Model& model, CompileOptions options,
                        Choices& choices) {
  if (choices.Below(4) != 0) return model.Compile(options);
  options.cache_dir = bench.cache();
  EXPERTILE_ASSIGN(const CompiledProgram compiled, model.CompileToDisk(options));
  for (const auto& entry : fs::directory_iterator(compiled.folder / "sections")) {
    std::vector<char> bytes = ReadBytes(entry.path());
    Damage(choices, 0, bytes);
    fs::permissions(entry.path(), fs::perms::owner_write, fs::perm_options::add);
    WriteBytes(entry.path(), bytes);
  }
  return Program::Open(compiled.folder);
}

std::vector<int32_t> IdsFrom(Choices& choices, int64_t count) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t byte = choices.Byte();
    ids.push_back(byte == 255 ? kPaddingToken : byte % (V + 1));  // one too many
  }
  return ids;
}

// One call of the session, whatever becomes of it.
class Steps {
 public:
  Steps(const Bench& bench, const Program& program, Session session)
      : bench_(bench), program_(program), session_(std::move(session)) {}

  void Run(Choices& choices) {
    switch (choices.Below(8)) {
      case 0:
        return Check(session_.Decode(ExtensionsFrom(choices, 1)));
      case 1:
        return CheckStatus(session_.Clear(choices.Below(4) - 1));
      case 2:
        return CheckStatus(session_.SaveKv(choices.Below(3), bench_.kv_file()));
      case 3:
        return CheckStatus(session_.LoadKv(choices.Below(3), bench_.kv_file()));
      case 4:
        return Check(session_.Prefill(ExtensionsFrom(choices, 40), LogitsWanted::kAll));
      case 5:
        return Ignore(session_.Prefill(ExtensionsFrom(choices, 40), LogitsWanted::kAllUnchecked));
      case 6:
        return PrefillPicture(choices);
      default:
        return Check(session_.Prefill(ExtensionsFrom(choices, 40)));
    }
  }

 private:
  static void CheckStatus(const Status& status) {
    if (!status) CheckError(status.error());
  }
  static void Ignore(const Result<std::vector<float>>& logits) {
    if (!logits) CheckError(logits.error());
  }
  static void Check(const Result<std::vector<float>>& logits) {
    if (!logits) return CheckError(logits.error());
    if (!std::ranges::all_of(*logits, [](float x) { return std::isfinite(x); })) std::abort();
  }

  // Of some of the sequences, with ids that stay valid until the next call.
  std::vector<Extension> ExtensionsFrom(Choices& choices, int64_t max_tokens) {
    ids_.clear();
    std::vector<Extension> extensions;
    const int64_t count = 1 + choices.Below(session_.batch_size());
    ids_.reserve(count);
    for (int64_t i = 0; i < count; ++i) {
      ids_.push_back(IdsFrom(choices, 1 + choices.Below(max_tokens)));
      extensions.push_back({i, ids_.back()});
    }
    return extensions;
  }

  void PrefillPicture(Choices& choices) {
    const auto image = program_.EncodeImage(bench_.picture());
    if (!image) return CheckError(image.error());
    const auto ids = program_.PlaceImages(IdsFrom(choices, choices.Below(8)), {&*image, 1});
    if (!ids) return CheckError(ids.error());
    const Extension extension{choices.Below(3), *ids, {&*image, 1}};
    Check(session_.Prefill({&extension, 1}, LogitsWanted::kAll));
  }

  const Bench& bench_;
  const Program& program_;
  Session session_;
  std::vector<std::vector<int32_t>> ids_;
};

void RunInput(const Bench& bench, Choices& choices) {
  const CompileOptions options = OptionsFrom(choices);
  const auto model = bench.Load(choices);
  if (!model) return CheckError(model.error());
  const auto program = Compile(bench, *model, options, choices);
  if (!program) return CheckError(program.error());
  auto session = program->NewSession();
  if (!session) return CheckError(session.error());
  Steps steps(bench, *program, *std::move(session));
  do steps.Run(choices);
  while (!choices.is_empty());
}

}  // namespace
}  // namespace expertile::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace expertile::fuzz;
  static const Bench bench;
  Choices choices({data, std::min<size_t>(size, 2048)});
  RunInput(bench, choices);
  std::error_code ignored;
  std::filesystem::remove_all(bench.cache(), ignored);
  return 0;
}
