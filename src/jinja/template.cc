#include "jinja/template.h"

#include "base/error.h"
#include "jinja/interpreter.h"
#include "jinja/lexer.h"
#include "jinja/parser.h"

namespace expertile::jinja {

struct Template::Tree {
  Body body;
};

Template::Template(std::unique_ptr<const Tree> tree) : tree_(std::move(tree)) {}
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;
Template::~Template() = default;

Result<Template> Template::Parse(std::string_view source) {
  if (source.size() > kMaxTemplateSize) {
    return InvalidData("template: {} bytes, limit {}", source.size(), kMaxTemplateSize);
  }
  EXPERTILE_ASSIGN(const std::vector<Token> tokens, Tokenize(source));
  EXPERTILE_ASSIGN(Body body, ParseTokens(tokens));
  return Template(std::make_unique<const Tree>(Tree{std::move(body)}));
}

Result<std::string> Template::Render(const nlohmann::ordered_json& variables,
                                     const RenderOptions& options) const {
  if (!variables.is_object()) {
    return InvalidArgument("template variables: a JSON {}, expected an object",
                           variables.type_name());
  }
  EXPERTILE_ASSIGN(const Value values, Value::FromJson(variables));
  return Interpreter(options, values).Run(tree_->body);
}

}  // namespace expertile::jinja
