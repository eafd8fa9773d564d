#include <fmt/format.h>

#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/input.h"
#include "cli/output.h"
#include "cli/program_source.h"
#include "expertile/tokenizer.h"

namespace expertile::cli {
namespace {

struct Flags {
  std::string model;
  std::string text;
  std::string ids;
  bool json = false;
  bool no_special = false;
  bool skip_special = false;
};

Status Decode(const TextTokenizer& tokenizer, const Flags& flags) {
  const auto ids = ParseIds(flags.ids, "--decode");
  if (!ids) return tl::unexpected(ids.error());
  const auto text = tokenizer.Decode(*ids, flags.skip_special);
  if (!text) return tl::unexpected(text.error());
  if (flags.json) {
    Print("{}\n", nlohmann::ordered_json{{"text", *text}}.dump());
  } else {
    Print("{}\n", *text);
  }
  return {};
}

Status Encode(const TextTokenizer& tokenizer, const Flags& flags, const std::string& text) {
  const auto ids = tokenizer.Encode(text, !flags.no_special);
  if (!ids) return tl::unexpected(ids.error());
  nlohmann::ordered_json json{{"ids", *ids}, {"tokens", nlohmann::ordered_json::array()}};
  for (const int32_t id : *ids) json["tokens"].push_back(tokenizer.TokenText(id).value_or(""));
  if (flags.json) {
    Print("{}\n", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return {};
  }
  for (size_t i = 0; i < ids->size(); ++i) {
    Print("{:>8}  {}\n", (*ids)[i], json["tokens"][i].get<std::string>());
  }
  return {};
}

}  // namespace

CommandBody AddTokenizeCommand(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  AddModelArgument(app, flags->model);
  CLI::Option* text = app.add_option("--text", flags->text, "Text to encode [standard input]");
  CLI::Option* decode = app.add_option("--decode", flags->ids,
                                       "Ids to decode: a JSON list, or numbers between commas");
  text->excludes(decode);
  app.add_flag("--no-special-tokens", flags->no_special,
               "Don't add the tokenizer's own first and last tokens");
  app.add_flag("--skip-special-tokens", flags->skip_special,
               "Leave special tokens out when decoding");
  app.add_flag("--json", flags->json, "One JSON object: ids and tokens, or text");
  return [flags, text, decode]() -> Status {
    const auto tokenizer = TextTokenizer::Load(ModelFolderOf(flags->model));
    if (!tokenizer) return tl::unexpected(tokenizer.error());
    if (decode->count() > 0) return Decode(*tokenizer, *flags);
    if (text->count() > 0) return Encode(*tokenizer, *flags, flags->text);
    return Encode(*tokenizer, *flags, {std::istreambuf_iterator<char>(std::cin), {}});
  };
}

}  // namespace expertile::cli
