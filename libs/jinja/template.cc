#include "jinja/template.h"

#include "jinja/error.h"
#include "jinja/interpreter.h"
#include "jinja/lexer.h"
#include "jinja/parser.h"

namespace jinja {

struct Template::Tree {
  Body body;
};

Template::Template(std::unique_ptr<const Tree> tree) : tree_(std::move(tree)) {}
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;
Template::~Template() = default;

Result<Template> Template::Parse(std::string_view source) {
  if (source.size() > kMaxTemplateSize) {
    return Invalid("template: {} bytes, limit {}", source.size(), kMaxTemplateSize);
  }
  JINJA_ASSIGN(const std::vector<Token> tokens, Tokenize(source));
  JINJA_ASSIGN(Body body, ParseTokens(tokens));
  return Template(std::make_unique<const Tree>(Tree{std::move(body)}));
}

Result<std::string> Template::Render(const nlohmann::ordered_json& variables,
                                     const RenderOptions& options) const {
  if (!variables.is_object()) {
    return Invalid("template variables: a JSON {}, expected an object", variables.type_name());
  }
  JINJA_ASSIGN(const Value values, Value::FromJson(variables));
  return Interpreter(options, values).Run(tree_->body);
}

}  // namespace jinja
