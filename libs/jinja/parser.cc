// Statements by Jinja's grammar, and how each is run. Not expressions (expression_parser.h).
#include "jinja/expression_parser.h"

namespace jinja {

Flow Run(Environment& environment, const Body& body) {
  for (const Statement& statement : body) {
    const auto nesting = environment.Enter(statement.line);
    if (const Flow flow = statement.run(environment); flow != Flow::kOn) return flow;
  }
  return Flow::kOn;
}

namespace {

constexpr int kMaxStatementDepth = 60;

using Names = std::initializer_list<std::string_view>;
using Runner = std::function<Flow(Environment&)>;

// What a for or set statement assigns to: names, or the attribute of one name.
struct Target {
  std::vector<std::string> names;
  std::string attribute;  // empty for none
  bool is_tuple = false;

  void Assign(Environment& environment, const Value& value) const {
    if (!attribute.empty()) return AssignAttribute(environment, value);
    if (!is_tuple) return environment.Set(names[0], value);
    const List items = Iterate(value);
    if (items.size() != names.size()) {
      Invalid("{} values for {} names", items.size(), names.size());
    }
    for (size_t i = 0; i < items.size(); ++i) environment.Set(names[i], items[i]);
  }

 private:
  void AssignAttribute(Environment& environment, const Value& value) const {
    const Value space = environment.Lookup(names[0]);
    if (space.kind() != Kind::kNamespace) {
      Invalid("cannot assign attribute '{}' on non-namespace object '{}'", attribute, names[0]);
    }
    CheckMemberName(attribute);
    space.space().attributes.Set(Value(attribute), value);
  }
};

struct ForStatement {
  Target target;
  Expression iterable;
  Expression filter;  // may be left out
  Body body;
  Body otherwise;
};

// One run of a for statement, and the variable `loop` in it.
class ForLoop : public Loop {
 public:
  ForLoop(Environment* environment, const ForStatement& statement)
      : environment_(*environment),
        statement_(statement),
        outer_(environment->scope),
        items_(Iterate(statement.iterable(*environment))) {
    environment_.Allocate(items_.size() * sizeof(Value));
  }

  // Runs the body for the next item; nullopt when there is none.
  std::optional<Flow> RunNext(const Value& self) {
    environment_.Step();
    if (!HasPassed(index0_ + 2)) return std::nullopt;
    const auto scope = environment_.Open(outer_);
    statement_.target.Assign(environment_, passed_[static_cast<size_t>(++index0_)]);
    environment_.Set("loop", self);
    return Run(environment_, statement_.body);
  }

  std::optional<Value> Attribute(std::string_view name) override {
    if (name == "index") return Value(index0_ + 1);
    if (name == "index0") return Value(index0_);
    if (name == "first") return Value(index0_ == 0);
    if (name == "last") return Value(!HasPassed(index0_ + 2));
    if (name == "previtem") return Neighbour(index0_ - 1);
    if (name == "nextitem") return Neighbour(index0_ + 1);
    if (name == "length") {
      HasPassed(static_cast<int64_t>(items_.size()));
      return Value(static_cast<int64_t>(passed_.size()));
    }
    for (const auto* other : {"cycle", "changed", "depth", "depth0", "revindex", "revindex0"}) {
      if (name == other) Unsupported("loop.{} is not supported", name);
    }
    return std::nullopt;
  }

 private:
  // Asks further items whether they pass the filter until `count` have passed; whether they did.
  bool HasPassed(int64_t count) {
    const auto wanted = static_cast<size_t>(count);
    while (passed_.size() < wanted && num_asked_ < items_.size()) {
      const Value& item = items_[num_asked_++];
      if (!statement_.filter || Passes(item)) passed_.push_back(item);
    }
    return passed_.size() >= wanted;
  }

  bool Passes(const Value& item) {
    const auto scope = environment_.Open(outer_);
    statement_.target.Assign(environment_, item);
    return statement_.filter(environment_).Truth();
  }

  Value Neighbour(int64_t index) {
    if (index >= 0 && HasPassed(index + 1)) return passed_[static_cast<size_t>(index)];
    return Value::MakeUndefined("there is no such item");
  }

  Environment& environment_;
  const ForStatement& statement_;
  const ScopePtr outer_;  // what the filter and the body see
  const List items_;      // before the filter
  size_t num_asked_ = 0;  // items already asked whether they pass
  List passed_;           // items that passed, those before the current one included
  int64_t index0_ = -1;   // of the current item in `passed_`
};

Flow RunFor(Environment& environment, const ForStatement& statement) {
  const auto loop = std::make_shared<ForLoop>(&environment, statement);
  bool completed_one = false;
  while (const std::optional<Flow> flow = loop->RunNext(Value(std::shared_ptr<Loop>(loop)))) {
    if (*flow == Flow::kBreak) break;
    completed_one = completed_one || *flow == Flow::kOn;
  }
  // As in Jinja, `else` also runs when every round was cut short by break or continue.
  if (completed_one || statement.otherwise.empty()) return Flow::kOn;
  const auto scope = environment.Open(environment.scope);
  return Run(environment, statement.otherwise);
}

// The output of `body`, run in a scope inside of `outer` that `bind` fills first.
template <typename Bind>
Value Capture(Environment& environment, const Body& body, const ScopePtr& outer, Bind bind) {
  Exchanged output(&environment.output, std::string());
  const auto scope = environment.Open(outer);
  bind();
  Run(environment, body);
  return Value(std::move(environment.output));
}

struct Macro {
  std::string name;
  std::vector<Argument> parameters;
  Body body;
  bool uses_caller = false;  // its body reads the variable `caller`
};

void BindMacro(Environment& environment, const Macro& macro, const Arguments& arguments) {
  const List& given = arguments.positional;
  if (given.size() > macro.parameters.size()) {
    Invalid("macro '{}' takes at most {} arguments", macro.name, macro.parameters.size());
  }
  for (size_t i = 0; i < given.size(); ++i) environment.Set(macro.parameters[i].name, given[i]);
  const auto& names = environment.scope->names;
  for (const auto& [name, value] : arguments.keyword) {
    const auto is_named = [&](const Argument& parameter) { return parameter.name == name; };
    const bool known = std::ranges::any_of(macro.parameters, is_named);
    if (names.contains(name) || !(known || (name == "caller" && macro.uses_caller))) {
      Invalid("macro '{}' takes no keyword argument '{}'", macro.name, name);
    }
    environment.Set(name, value);
  }
  for (const auto& [name, fallback] : macro.parameters) {
    if (names.contains(name)) continue;
    const auto missing = Value::MakeUndefined("parameter '" + name + "' was not provided");
    environment.Set(name, fallback ? fallback(environment) : missing);
  }
  if (macro.uses_caller && !names.contains("caller")) {
    environment.Set("caller", Value::MakeUndefined("No caller defined"));
  }
}

Value MakeMacro(Environment& environment, const std::shared_ptr<const Macro>& macro) {
  return Value(Callable{[macro, scope = environment.KeepScope()](Environment& caller,
                                                                 const Arguments& arguments) {
    const int line = caller.line;
    Value text = Capture(caller, macro->body, scope, [&] { BindMacro(caller, *macro, arguments); });
    caller.line = line;
    return text;
  }});
}

class Parser : private ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Body ParseTemplate() { return ParseBody({}); }

 private:
  // Statements up to a block that begins with one of `ends`; that name is the next token. With no
  // `ends`, up to the end of the template.
  Body ParseBody(Names ends) {
    const Exchanged depth(&depth_, depth_ + 1);
    if (depth_ > kMaxStatementDepth) Unexpected("blocks that are nested less deep");
    Body body;
    while (true) {
      const Token& token = current();
      if (token.kind == TokenKind::kEnd) {
        if (ends.size() != 0) Unexpected(*(ends.end() - 1));
        return body;
      }
      Next();
      if (token.kind == TokenKind::kData) {
        body.push_back({token.line, [text = token.text](Environment& environment) {
                          environment.Write(text);
                          return Flow::kOn;
                        }});
      } else if (token.text == "{{") {
        body.push_back({token.line, MakePrint(ParseTuple())});
        Expect("}}");
      } else if (std::any_of(ends.begin(), ends.end(), [&](auto end) { return At(end); })) {
        return body;
      } else {
        body.push_back({current().line, ParseStatement()});
      }
    }
  }

  static Runner MakePrint(Expression expression) {
    return [expression = std::move(expression)](Environment& environment) {
      environment.Write(ToText(environment, expression(environment)));
      return Flow::kOn;
    };
  }

  Runner ParseStatement() {
    struct TagRow {
      std::string_view name;
      Runner (Parser::*parse)();
    };
    static constexpr TagRow kTags[] = {{"if", &Parser::ParseIf},
                                       {"for", &Parser::ParseFor},
                                       {"set", &Parser::ParseSet},
                                       {"macro", &Parser::ParseMacro},
                                       {"call", &Parser::ParseCallBlock},
                                       {"filter", &Parser::ParseFilterBlock},
                                       {"generation", &Parser::ParseGeneration},
                                       {"break", &Parser::ParseLoopControl<Flow::kBreak>},
                                       {"continue", &Parser::ParseLoopControl<Flow::kContinue>}};
    const Token& token = current();
    if (token.kind != TokenKind::kName) Unexpected("a tag name");
    for (const TagRow& row : kTags) {
      if (Skip(row.name)) return (this->*row.parse)();
    }
    for (const std::string_view other :
         {"autoescape", "block", "extends", "from", "import", "include", "with"}) {
      if (At(other)) {
        Unsupported("template line {}: the tag '{}' is not supported", token.line, other);
      }
    }
    Invalid("template line {}: unknown tag '{}'", token.line, Describe(token));
  }

  Body ParseBodyAfterTag(Names ends) {
    Skip(":");
    Expect("%}");
    return ParseBody(ends);
  }

  // The rest of an opening tag, its body, and the closing tag `end`.
  Body ParseBlock(std::string_view end) {
    Body body = ParseBodyAfterTag({end});
    Expect(end);
    Expect("%}");
    return body;
  }

  // A block with a frame of its own: no part of the loop around it.
  Body ParseOwnBlock(std::string_view end) {
    const Exchanged loop_depth(&loop_depth_, 0);
    return ParseBlock(end);
  }

  // The body behind `else`, or an empty one, and the closing tag.
  Body ParseElse(std::string_view end) {
    if (Skip("else")) return ParseBlock(end);
    Expect(end);
    Expect("%}");
    return {};
  }

  Runner ParseIf() {
    std::vector<std::pair<Expression, Body>> branches;
    do {
      Expression condition = ParseTuple(false);
      branches.emplace_back(std::move(condition), ParseBodyAfterTag({"elif", "else", "endif"}));
    } while (Skip("elif"));
    return [branches = std::move(branches), otherwise = ParseElse("endif")](Environment& env) {
      const auto branch = std::find_if(branches.begin(), branches.end(),
                                       [&](const auto& pair) { return pair.first(env).Truth(); });
      return Run(env, branch == branches.end() ? otherwise : branch->second);
    };
  }

  // A name, with `attributes` also name.attribute, or several with commas.
  Target ParseTarget(bool attributes) {
    Target target;
    const bool in_brackets = Skip("(");
    do {
      if (At("("))
        Unsupported("template line {}: nested targets are not supported", current().line);
      if (std::count(std::begin(kConstants), std::end(kConstants), current().text) != 0) {
        Unexpected("a name to assign to");
      }
      target.names.push_back(ExpectName());
      if (At(",")) target.is_tuple = true;
    } while (Skip(",") && !At("in") && !At("=") && !At(")"));
    if (in_brackets) Expect(")");
    if (attributes && !target.is_tuple && Skip(".")) target.attribute = ExpectName();
    return target;
  }

  Runner ParseFor() {
    ForStatement loop;
    loop.target = ParseTarget(false);
    const auto& names = loop.target.names;
    if (std::count(names.begin(), names.end(), "loop") != 0) {
      Unexpected("another variable than 'loop'");
    }
    Expect("in");
    loop.iterable = ParseTuple(false, "recursive");
    if (Skip("if")) loop.filter = ParseExpression();
    const bool is_recursive = Skip("recursive");
    ++loop_depth_;
    loop.body = ParseBodyAfterTag({"else", "endfor"});
    --loop_depth_;
    loop.otherwise = ParseElse("endfor");
    return [=, loop = std::move(loop)](Environment& environment) {
      if (is_recursive) Unsupported("a recursive loop is not supported");
      return RunFor(environment, loop);
    };
  }

  // Puts the text of `body` into Environment::captured.
  static Runner MakeCapture(Body body) {
    return [body = std::move(body)](Environment& environment) {
      environment.captured = Capture(environment, body, environment.scope, [] {});
      return Flow::kOn;
    };
  }

  Runner ParseSet() {
    Target target = ParseTarget(true);
    Runner capture;
    Expression value;
    if (Skip("=")) {
      value = ParseTuple();
      Expect("%}");
    } else {
      value = ParseFilterChain(MakeCaptured());
      capture = MakeCapture(ParseOwnBlock("endset"));
    }
    return [=, value = std::move(value)](Environment& environment) {
      if (capture) capture(environment);
      target.Assign(environment, value(environment));
      return Flow::kOn;
    };
  }

  Runner ParseFilterBlock() {
    Runner print = MakePrint(ParseFilterChain(ParseApplied("filter", MakeCaptured())));
    return [print, capture = MakeCapture(ParseOwnBlock("endfilter"))](Environment& environment) {
      capture(environment);
      return print(environment);
    };
  }

  std::vector<Argument> ParseParameters() {
    std::vector<Argument> parameters;
    Expect("(");
    while (!Skip(")")) {
      if (!parameters.empty()) Expect(",");
      Argument parameter{ExpectName(), {}};
      if (Skip("=")) {
        parameter.value = ParseExpression();
      } else if (!parameters.empty() && parameters.back().value) {
        Unexpected("a default value");
      }
      parameters.push_back(std::move(parameter));
    }
    return parameters;
  }

  // Body and closing tag of a macro.
  std::shared_ptr<const Macro> ParseMacroBody(std::string_view end, const std::string& name,
                                              std::vector<Argument> parameters) {
    const size_t begin = position_;
    Body body = ParseOwnBlock(end);
    const auto tokens = tokens_.subspan(begin, position_ - begin);
    const bool uses_caller = std::any_of(tokens.begin(), tokens.end(), [](const Token& token) {
      return token.kind == TokenKind::kName && token.text == "caller";
    });
    return std::make_shared<const Macro>(
        Macro{name, std::move(parameters), std::move(body), uses_caller});
  }

  Runner ParseMacro() {
    const std::string name = ExpectName();
    auto parameters = ParseParameters();
    const auto macro = ParseMacroBody("endmacro", name, std::move(parameters));
    return [macro](Environment& environment) {
      environment.Set(macro->name, MakeMacro(environment, macro));
      return Flow::kOn;
    };
  }

  // {% call(parameters) name(arguments) %}: the call gets the block as one more argument, `caller`.
  Runner ParseCallBlock() {
    auto parameters = At("(") ? ParseParameters() : std::vector<Argument>();
    const int line = current().line;
    Expression callee = MakeName(line, ExpectName());
    auto arguments = ParseArguments();
    const auto macro = ParseMacroBody("endcall", "caller", std::move(parameters));
    arguments.push_back({"caller", Make(line, [macro](Environment& environment) {
                           return MakeMacro(environment, macro);
                         })});
    return MakePrint(Make(line, CallOf, std::move(callee), std::move(arguments)));
  }

  Runner ParseGeneration() {
    return [body = ParseOwnBlock("endgeneration")](Environment& environment) {
      const auto scope = environment.Open(environment.scope);
      return Run(environment, body);
    };
  }

  template <Flow kFlow>
  Runner ParseLoopControl() {
    if (loop_depth_ == 0) Unexpected("break and continue inside of a loop");
    Expect("%}");
    return [](Environment&) { return kFlow; };
  }

  int depth_ = 0;
  int loop_depth_ = 0;
};

}  // namespace

Body ParseSource(std::string_view source) {
  const std::vector<Token> tokens = Tokenize(source);
  return Parser(tokens).ParseTemplate();
}

}  // namespace jinja
