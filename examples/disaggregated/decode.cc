// The decode half of a disaggregated pair: goes on from a KV cache file and the first token, one
// token at a time, and prints the ids, the first included.
//   disaggregated_decode MODEL KV_FILE FIRST_TOKEN NUM_TOKENS
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "expertile/model.h"

namespace {

using expertile::CompileOptions;
using expertile::Extension;
using expertile::Model;
using expertile::Program;
using expertile::Session;
using expertile::Status;

constexpr int64_t kCtxLen = 2048;  // as the prefill half's

Status Run(const std::string& folder, const std::string& kv_file, int32_t first, int num_tokens) {
  EXPERTILE_ASSIGN(const Model model, Model::Load(folder));
  CompileOptions options;
  options.ctx_len = kCtxLen;
  options.prefill_seq_len = 1;  // a decode program
  EXPERTILE_ASSIGN(const Program program, model.Compile(options));
  EXPERTILE_ASSIGN(Session session, program.NewSession());
  EXPERTILE_RETURN_IF_ERROR(session.LoadKv(0, kv_file));
  std::vector<int32_t> ids = {first};
  while (static_cast<int>(ids.size()) < num_tokens) {
    const Extension next{0, {&ids.back(), 1}};
    EXPERTILE_ASSIGN(const std::vector<float> logits, session.Decode({&next, 1}));
    ids.push_back(static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin()));
  }
  fmt::print("{}\n", ids);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    fmt::print(stderr, "usage: disaggregated_decode MODEL KV_FILE FIRST_TOKEN NUM_TOKENS\n");
    return 2;
  }
  const Status status = Run(argv[1], argv[2], std::atoi(argv[3]), std::atoi(argv[4]));
  if (status) return 0;
  fmt::print(stderr, "disaggregated_decode: {}\n", status.error().message);
  return 1;
}
