// Compile options as JSON, for manifests and fingerprints: every option whose row in the table does
// not say otherwise is in. Not their meaning or bounds (compiling/options.cc).
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "expertile/options.h"
#include "formats/json.h"
#include "targets/target_row.h"

namespace expertile {

// {"target":"cpu",…}: what rows with Fingerprinted::kAlways hold, and what of kUnlessDefault is not
// the default. An option without a value is null.
nlohmann::json OptionsToJson(const CompileOptions& options);

// The options of OptionsToJson(). Errors: a field of another type, one that is missing from those
// that are always there, kUnsupported for one that this version does not know.
Result<CompileOptions> OptionsFromJson(const JsonObject& object);

// `options` with every option that `target` does not honour left at its default.
CompileOptions OptionsHonouredBy(const TargetRow& target, CompileOptions options);

// Of options that `target` does not honour: those of kUnlessDefault that are not the default.
nlohmann::json OptionsBeyond(const TargetRow& target, const CompileOptions& options);

}  // namespace expertile
