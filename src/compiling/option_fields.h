// Every compile option by name, once: for manifests, fingerprints and messages.
// Not their meaning or bounds (compiling/options.cc), and not the command line's flags.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "expertile/options.h"
#include "formats/json.h"

namespace expertile {

// Calls visit(name, field) for every option that makes a program what it is: not compile_dir and
// cache_dir, which say where it goes.
template <typename Options, typename Visitor>
void VisitOptions(Options& options, Visitor visit) {
  visit("target", options.target);
  visit("dtype", options.dtype);
  visit("batch_size", options.batch_size);
  visit("prefill_seq_len", options.prefill_seq_len);
  visit("ctx_len", options.ctx_len);
  visit("num_cores", options.num_cores);
  visit("num_devices", options.num_devices);
  visit("moe_prefill_num_nsp", options.moe_prefill_num_nsp);
  visit("moe_prefill_packed_chunk_size", options.moe_prefill_packed_chunk_size);
  visit("mxfp6_matmul", options.mxfp6_matmul);
  visit("mxint8_kv_cache", options.mxint8_kv_cache);
  visit("prefill_only", options.prefill_only);
  visit("enable_chunking", options.enable_chunking);
  visit("retain_full_kv", options.retain_full_kv);
  visit("skip_vision", options.skip_vision);
  visit("skip_lang", options.skip_lang);
  visit("height", options.height);
  visit("width", options.width);
  visit("use_onnx_subfunctions", options.use_onnx_subfunctions);
}

// {"target":"cpu",…}; an option without a value is null.
nlohmann::json OptionsToJson(const CompileOptions& options);

// The options of OptionsToJson(). Errors: a field that is missing or has another type.
Result<CompileOptions> OptionsFromJson(const JsonObject& object);

}  // namespace expertile
