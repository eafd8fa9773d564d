// The prefill half of a disaggregated pair: runs a prompt through a prefill-only program, writes
// its KV cache, and prints the first token's id.
//   disaggregated_prefill MODEL PROMPT_FILE KV_FILE [NUM_NSP]
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "expertile/model.h"
#include "expertile/tokenizer.h"

namespace {

using expertile::CompileOptions;
using expertile::Extension;
using expertile::Model;
using expertile::Program;
using expertile::Session;
using expertile::Status;
using expertile::TextTokenizer;

// Both halves must agree on ctx_len and on the KV cache's number format, and on nothing else.
constexpr int64_t kCtxLen = 2048;

Status Run(const std::string& folder, const std::string& prompt_file, const std::string& kv_file,
           int num_nsp) {
  EXPERTILE_ASSIGN(const Model model, Model::Load(folder));
  EXPERTILE_ASSIGN(const TextTokenizer tokenizer, TextTokenizer::Load(folder));
  std::ifstream stream(prompt_file, std::ios::binary);
  const std::string prompt{std::istreambuf_iterator<char>(stream), {}};
  EXPERTILE_ASSIGN(const std::vector<int32_t> ids, tokenizer.Encode(prompt));

  CompileOptions options;
  options.ctx_len = kCtxLen;
  options.prefill_only = true;
  options.enable_chunking = true;
  options.prefill_seq_len = 256;
  options.moe_prefill_num_nsp = num_nsp;
  EXPERTILE_ASSIGN(const Program program, model.Compile(options));
  EXPERTILE_ASSIGN(Session session, program.NewSession());
  const Extension extension{0, ids};
  EXPERTILE_ASSIGN(const std::vector<float> logits, session.Prefill({&extension, 1}));
  EXPERTILE_RETURN_IF_ERROR(session.SaveKv(0, kv_file));
  fmt::print("{}\n", std::ranges::max_element(logits) - logits.begin());
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    fmt::print(stderr, "usage: disaggregated_prefill MODEL PROMPT_FILE KV_FILE [NUM_NSP]\n");
    return 2;
  }
  const Status status = Run(argv[1], argv[2], argv[3], argc > 4 ? std::atoi(argv[4]) : 16);
  if (status) return 0;
  fmt::print(stderr, "disaggregated_prefill: {}\n", status.error().message);
  return 1;
}
