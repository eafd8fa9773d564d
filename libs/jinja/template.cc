#include "jinja/template.h"

#include "jinja/environment.h"
#include "jinja/functions.h"

namespace jinja {
namespace {

// What `make` returns, or its failure.
template <typename T, typename Make>
Result<T> Catch(Make make) {
  try {
    return make();
  } catch (const Failure& failure) {
    return tl::unexpected<Error>(failure.error);
  } catch (const std::exception& exception) {  // no memory
    return tl::unexpected<Error>(Error{ErrorKind::kInvalid, exception.what()});
  }
}

std::string RenderBody(const Body& body, const RenderOptions& options, const Value& variables) {
  Environment environment(options);
  SetGlobals(environment);
  for (const auto& [key, value] : variables.dict().entries()) environment.Set(key.string(), value);
  const auto scope = environment.Open(environment.scope);
  try {
    Run(environment, body);
  } catch (const Failure& failure) {
    if (failure.error.kind == ErrorKind::kRaised) throw;
    Fail(failure.error.kind, "template line {}: {}", environment.line, failure.error.message);
  }
  return std::move(environment.output);
}

}  // namespace

Result<Template> Template::Parse(std::string_view source) {
  return Catch<Template>([&] {
    if (source.size() > kMaxTemplateSize) {
      Invalid("template: {} bytes, limit {}", source.size(), kMaxTemplateSize);
    }
    Template parsed;
    parsed.body_ = std::make_shared<const Body>(ParseSource(source));
    return parsed;
  });
}

Result<std::string> Template::Render(const nlohmann::ordered_json& variables,
                                     const RenderOptions& options) const {
  return Catch<std::string>([&] {
    if (!variables.is_object()) {
      Invalid("template variables: a JSON {}, expected an object", variables.type_name());
    }
    return RenderBody(*body_, options, Value::FromJson(variables));
  });
}

}  // namespace jinja
