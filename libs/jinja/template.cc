#include "jinja/template.h"

#include "jinja/ast.h"

namespace jinja {

struct Template::Tree {
  Body body;
};

Template::Template(std::unique_ptr<const Tree> tree) : tree_(std::move(tree)) {}
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;
Template::~Template() = default;

Result<Template> Template::Parse(std::string_view source) {
  try {
    if (source.size() > kMaxTemplateSize) {
      Invalid("template: {} bytes, limit {}", source.size(), kMaxTemplateSize);
    }
    return Template(std::make_unique<const Tree>(Tree{ParseSource(source)}));
  } catch (const Failure& failure) {
    return tl::unexpected<Error>(failure.error);
  } catch (const std::exception& exception) {  // no memory
    return tl::unexpected<Error>(Error{ErrorKind::kInvalid, exception.what()});
  }
}

Result<std::string> Template::Render(const nlohmann::ordered_json& variables,
                                     const RenderOptions& options) const {
  try {
    if (!variables.is_object()) {
      Invalid("template variables: a JSON {}, expected an object", variables.type_name());
    }
    return Interpret(tree_->body, options, Value::FromJson(variables));
  } catch (const Failure& failure) {
    return tl::unexpected<Error>(failure.error);
  } catch (const std::exception& exception) {  // no memory
    return tl::unexpected<Error>(Error{ErrorKind::kInvalid, exception.what()});
  }
}

}  // namespace jinja
