#include "jinja/parser.h"

#include "jinja/expression_parser.h"
#include "jinja/token_stream.h"

namespace jinja {
namespace {

using Names = std::initializer_list<std::string_view>;

class Parser {
 public:
  explicit Parser(std::span<const Token> tokens) : tokens_(tokens), expressions_(&tokens_) {}

  Result<Body> ParseTemplate() { return ParseBody({}); }

 private:
  // Statements up to a block that begins with one of `ends`; that name is the next token. With no
  // `ends`, up to the end of the template.
  Result<Body> ParseBody(Names ends) {
    if (++depth_ > kMaxStatementDepth) {
      return Invalid("template line {}: blocks nested deeper than {}", tokens_.current().line,
                     kMaxStatementDepth);
    }
    Body body;
    while (true) {
      const Token& token = tokens_.current();
      if (token.kind == TokenKind::kEnd) {
        if (ends.size() != 0) return tokens_.Unexpected(*(ends.end() - 1));
        break;
      }
      tokens_.Next();
      if (token.kind == TokenKind::kData) {
        body.push_back({token.line, TextStatement{token.text}});
      } else if (token.kind == TokenKind::kPrintBegin) {
        JINJA_ASSIGN(ExpressionPtr expression, expressions_.ParseTuple());
        JINJA_RETURN_IF_ERROR(tokens_.ExpectKind(TokenKind::kPrintEnd));
        body.push_back({token.line, PrintStatement{std::move(expression)}});
      } else if (IsOneOf(tokens_.current(), ends)) {
        break;
      } else {
        JINJA_RETURN_IF_ERROR(ParseStatement(&body));
      }
    }
    --depth_;
    return body;
  }

  static bool IsOneOf(const Token& token, Names names) {
    return std::any_of(names.begin(), names.end(), [&](auto name) { return token.IsName(name); });
  }

  // The rest of an opening tag, its body, and the closing tag `end`.
  Result<Body> ParseBlock(std::string_view end) {
    JINJA_ASSIGN(Body body, ParseBodyAfterTag({end}));
    JINJA_RETURN_IF_ERROR(tokens_.ExpectName(end));
    JINJA_RETURN_IF_ERROR(tokens_.ExpectKind(TokenKind::kBlockEnd));
    return body;
  }

  Result<Body> ParseBodyAfterTag(Names ends) {
    tokens_.SkipOperator(":");
    JINJA_RETURN_IF_ERROR(tokens_.ExpectKind(TokenKind::kBlockEnd));
    return ParseBody(ends);
  }

  Status ParseStatement(Body* body) {
    struct TagRow {
      std::string_view name;
      Status (Parser::*parse)(Statement*);
    };
    static constexpr TagRow kTags[] = {
        {"if", &Parser::ParseIf},          {"for", &Parser::ParseFor},
        {"set", &Parser::ParseSet},        {"macro", &Parser::ParseMacro},
        {"call", &Parser::ParseCallBlock}, {"filter", &Parser::ParseFilterBlock},
        {"with", &Parser::ParseWith},      {"generation", &Parser::ParseGeneration},
        {"break", &Parser::ParseBreak},    {"continue", &Parser::ParseContinue}};
    const Token& token = tokens_.current();
    if (token.kind != TokenKind::kName) return tokens_.Unexpected("a tag name");
    for (const TagRow& row : kTags) {
      if (row.name != token.text) continue;
      tokens_.Next();
      Statement statement{token.line, TextStatement{}};
      JINJA_RETURN_IF_ERROR((this->*row.parse)(&statement));
      body->push_back(std::move(statement));
      return {};
    }
    static constexpr std::string_view kRefused[] = {
        "include", "extends", "import", "from", "block", "autoescape", "print", "do", "trans"};
    if (std::find(std::begin(kRefused), std::end(kRefused), token.text) != std::end(kRefused)) {
      return Unsupported("template line {}: the tag '{}' is not supported", token.line, token.text);
    }
    return Invalid("template line {}: unknown tag '{}'", token.line, Describe(token));
  }

  Status EndTag() { return tokens_.ExpectKind(TokenKind::kBlockEnd); }

  Status ParseIf(Statement* statement) {
    IfStatement result;
    while (true) {
      JINJA_ASSIGN(ExpressionPtr test, expressions_.ParseTuple(false));
      JINJA_ASSIGN(Body body, ParseBodyAfterTag({"elif", "else", "endif"}));
      result.branches.emplace_back(std::move(test), std::move(body));
      if (tokens_.SkipName("elif")) continue;
      if (tokens_.SkipName("else")) {
        JINJA_ASSIGN(result.otherwise, ParseBlock("endif"));
      } else {
        JINJA_RETURN_IF_ERROR(tokens_.ExpectName("endif"));
        JINJA_RETURN_IF_ERROR(EndTag());
      }
      statement->node = std::move(result);
      return {};
    }
  }

  Status ParseFor(Statement* statement) {
    ForStatement result;
    JINJA_ASSIGN(result.target, expressions_.ParseTarget(false));
    if (Assigns(result.target, "loop")) {
      return Invalid("template line {}: a for loop can't assign to 'loop'", statement->line);
    }
    JINJA_RETURN_IF_ERROR(tokens_.ExpectName("in"));
    JINJA_ASSIGN(result.iterable, expressions_.ParseTuple(false, "recursive"));
    if (tokens_.SkipName("if")) {
      JINJA_ASSIGN(result.filter, expressions_.ParseExpression());
    }
    result.recursive = tokens_.SkipName("recursive");
    ++loop_depth_;
    JINJA_ASSIGN(result.body, ParseBodyAfterTag({"else", "endfor"}));
    --loop_depth_;
    if (tokens_.SkipName("else")) {
      JINJA_ASSIGN(result.otherwise, ParseBlock("endfor"));
    } else {
      JINJA_RETURN_IF_ERROR(tokens_.ExpectName("endfor"));
      JINJA_RETURN_IF_ERROR(EndTag());
    }
    statement->node = std::move(result);
    return {};
  }

  static bool Assigns(const Target& target, std::string_view name) {
    return target.name == name || std::any_of(target.parts.begin(), target.parts.end(),
                                              [&](auto& part) { return Assigns(part, name); });
  }

  Status ParseSet(Statement* statement) {
    JINJA_ASSIGN(Target target, expressions_.ParseTarget(true));
    if (tokens_.SkipOperator("=")) {
      JINJA_ASSIGN(ExpressionPtr expression, expressions_.ParseTuple());
      statement->node = SetStatement{std::move(target), std::move(expression)};
      return EndTag();
    }
    JINJA_ASSIGN(ExpressionPtr filter, expressions_.ParseFilterChain(false));
    JINJA_ASSIGN(Body body, ParseOutsideLoops("endset"));
    statement->node = SetBlockStatement{std::move(target), std::move(filter), std::move(body)};
    return {};
  }

  // A block whose body is not part of the loop around it: break and continue are refused in it.
  Result<Body> ParseOutsideLoops(std::string_view end) {
    const int loop_depth = std::exchange(loop_depth_, 0);
    JINJA_ASSIGN(Body body, ParseBlock(end));
    loop_depth_ = loop_depth;
    return body;
  }

  Status ParseParameters(std::vector<Parameter>* parameters) {
    JINJA_RETURN_IF_ERROR(tokens_.ExpectOperator("("));
    while (!tokens_.current().IsOperator(")")) {
      if (!parameters->empty()) JINJA_RETURN_IF_ERROR(tokens_.ExpectOperator(","));
      Parameter parameter;
      JINJA_ASSIGN(parameter.name, tokens_.ExpectAnyName());
      if (tokens_.SkipOperator("=")) {
        JINJA_ASSIGN(parameter.fallback, expressions_.ParseExpression());
      } else if (!parameters->empty() && parameters->back().fallback) {
        return tokens_.Unexpected("a default value");
      }
      parameters->push_back(std::move(parameter));
    }
    tokens_.Next();
    return {};
  }

  // Body and closing tag of a macro, and which of the implicit variables the body reads.
  Status ParseMacroBody(std::string_view end, MacroStatement* macro) {
    auto names_before = std::exchange(expressions_.names_read(), {});
    JINJA_ASSIGN(macro->body, ParseOutsideLoops(end));
    const auto& names = expressions_.names_read();
    macro->uses_caller = names.contains("caller");
    macro->uses_keywords = names.contains("kwargs");
    macro->uses_positionals = names.contains("varargs");
    expressions_.names_read().merge(names_before);
    return {};
  }

  Status ParseMacro(Statement* statement) {
    MacroStatement macro;
    JINJA_ASSIGN(macro.name, tokens_.ExpectAnyName());
    JINJA_RETURN_IF_ERROR(ParseParameters(&macro.parameters));
    JINJA_RETURN_IF_ERROR(ParseMacroBody("endmacro", &macro));
    statement->node = std::move(macro);
    return {};
  }

  Status ParseCallBlock(Statement* statement) {
    CallBlockStatement result;
    result.caller.name = "caller";
    if (tokens_.current().IsOperator("(")) {
      JINJA_RETURN_IF_ERROR(ParseParameters(&result.caller.parameters));
    }
    JINJA_ASSIGN(result.call, expressions_.ParseExpression());
    if (!std::holds_alternative<CallExpression>(result.call->node)) {
      return tokens_.Unexpected("a call");
    }
    JINJA_RETURN_IF_ERROR(ParseMacroBody("endcall", &result.caller));
    statement->node = std::move(result);
    return {};
  }

  Status ParseFilterBlock(Statement* statement) {
    JINJA_ASSIGN(ExpressionPtr filter, expressions_.ParseFilterChain(true));
    JINJA_ASSIGN(Body body, ParseOutsideLoops("endfilter"));
    statement->node = FilterBlockStatement{std::move(filter), std::move(body)};
    return {};
  }

  Status ParseWith(Statement* statement) {
    ScopeStatement result;
    while (tokens_.current().kind != TokenKind::kBlockEnd) {
      if (!result.assignments.empty()) JINJA_RETURN_IF_ERROR(tokens_.ExpectOperator(","));
      Target target;
      JINJA_ASSIGN(target.name, tokens_.ExpectAnyName());
      JINJA_RETURN_IF_ERROR(tokens_.ExpectOperator("="));
      JINJA_ASSIGN(ExpressionPtr value, expressions_.ParseExpression());
      result.assignments.emplace_back(std::move(target), std::move(value));
    }
    JINJA_ASSIGN(result.body, ParseBlock("endwith"));
    statement->node = std::move(result);
    return {};
  }

  Status ParseGeneration(Statement* statement) {
    ScopeStatement result;
    JINJA_ASSIGN(result.body, ParseOutsideLoops("endgeneration"));
    statement->node = std::move(result);
    return {};
  }

  Status ParseBreak(Statement* statement) {
    statement->node = BreakStatement{};
    return EndLoopControl();
  }

  Status ParseContinue(Statement* statement) {
    statement->node = ContinueStatement{};
    return EndLoopControl();
  }

  Status EndLoopControl() {
    if (loop_depth_ == 0) {
      return Invalid("template line {}: break or continue outside of a loop",
                     tokens_.current().line);
    }
    return EndTag();
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  int depth_ = 0;
  int loop_depth_ = 0;
};

}  // namespace

Result<Body> ParseTokens(std::span<const Token> tokens) { return Parser(tokens).ParseTemplate(); }

}  // namespace jinja
