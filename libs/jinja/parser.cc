// Turns a template into a syntax tree by Jinja's grammar, whose precedence differs from Python's in
// places (a filter binds tighter than a minus sign). Not a validator of names or types.
#include "jinja/expression_parser.h"

namespace jinja {
namespace {

constexpr int kMaxStatementDepth = 60;

using Names = std::initializer_list<std::string_view>;

class Parser : private ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Body ParseTemplate() {
    Body body = ParseBody({});
    if (!unknown_.empty()) throw Failure{unknown_.front()};
    return body;
  }

 private:
  // Statements up to a block that begins with one of `ends`; that name is the next token. With no
  // `ends`, up to the end of the template.
  Body ParseBody(Names ends) {
    if (++depth_ > kMaxStatementDepth) Unexpected("blocks that are nested less deep");
    Body body;
    while (true) {
      const Token& token = current();
      if (token.kind == TokenKind::kEnd) {
        if (ends.size() != 0) Unexpected(*(ends.end() - 1));
        break;
      }
      Next();
      if (token.kind == TokenKind::kData) {
        body.push_back(MakeNamed(NodeKind::kText, token.line, token.text));
      } else if (token.kind == TokenKind::kPrintBegin) {
        body.push_back(Make(NodeKind::kPrint, token.line, ParseTuple()));
        ExpectKind(TokenKind::kPrintEnd);
      } else if (std::any_of(ends.begin(), ends.end(), [&](auto end) { return At(end); })) {
        break;
      } else {
        body.push_back(ParseStatement());
      }
    }
    --depth_;
    return body;
  }

  NodePtr ParseStatement() {
    struct TagRow {
      std::string_view name;
      NodeKind kind;
      void (Parser::*parse)(Node&);
    };
    static constexpr TagRow kTags[] = {
        {"if", NodeKind::kIf, &Parser::ParseIf},
        {"for", NodeKind::kFor, &Parser::ParseFor},
        {"set", NodeKind::kSet, &Parser::ParseSet},
        {"macro", NodeKind::kMacro, &Parser::ParseMacro},
        {"call", NodeKind::kCallBlock, &Parser::ParseCallBlock},
        {"filter", NodeKind::kFilterBlock, &Parser::ParseFilterBlock},
        {"generation", NodeKind::kScope, &Parser::ParseGeneration},
        {"break", NodeKind::kBreak, &Parser::ParseLoopControl},
        {"continue", NodeKind::kContinue, &Parser::ParseLoopControl},
        {"include", NodeKind::kUnsupported, &Parser::ParseLoading},
        {"import", NodeKind::kUnsupported, &Parser::ParseLoading},
        {"from", NodeKind::kUnsupported, &Parser::ParseLoading},
        {"extends", NodeKind::kUnsupported, &Parser::ParseLoading}};
    const Token& token = current();
    if (token.kind != TokenKind::kName) Unexpected("a tag name");
    for (const TagRow& row : kTags) {
      if (row.name != token.text) continue;
      Next();
      NodePtr node = MakeNamed(row.kind, token.line, fmt::format("the tag '{}'", token.text));
      (this->*row.parse)(*node);
      return node;
    }
    for (const std::string_view other : {"block", "autoescape", "with"}) {
      if (At(other)) {
        Unsupported("template line {}: the tag '{}' is not supported", token.line, other);
      }
    }
    Invalid("template line {}: unknown tag '{}'", token.line, Describe(token));
  }

  void EndTag() { ExpectKind(TokenKind::kBlockEnd); }

  Body ParseBodyAfterTag(Names ends) {
    Skip(":");
    EndTag();
    return ParseBody(ends);
  }

  // The rest of an opening tag, its body, and the closing tag `end`.
  void ParseBlock(std::string_view end, Node& node) {
    node.bodies.push_back(ParseBodyAfterTag({end}));
    Expect(end);
    EndTag();
  }

  // A block with a frame of its own: no part of the loop or the if around it.
  void ParseOwnBlock(std::string_view end, Node& node) {
    const Exchanged loop_depth(&loop_depth_, 0);
    const Exchanged soft(&soft_, false);
    ParseBlock(end, node);
  }

  void ParseIf(Node& node) {
    const Exchanged soft(&soft_, true);
    do {
      node.parts.push_back(ParseTuple(false));
      node.bodies.push_back(ParseBodyAfterTag({"elif", "else", "endif"}));
    } while (Skip("elif"));
    ParseElse("endif", node);
  }

  // The body behind `else`, or an empty one, and the closing tag.
  void ParseElse(std::string_view end, Node& node) {
    if (Skip("else")) return ParseBlock(end, node);
    node.bodies.emplace_back();
    Expect(end);
    EndTag();
  }

  static bool Assigns(const Node& target, std::string_view name) {
    return target.name == name || std::any_of(target.parts.begin(), target.parts.end(),
                                              [&](auto& part) { return Assigns(*part, name); });
  }

  void ParseFor(Node& node) {
    node.parts.push_back(ParseTarget(false));
    if (Assigns(*node.parts[0], "loop")) Unexpected("another variable than 'loop'");
    Expect("in");
    node.parts.push_back(ParseTuple(false, "recursive"));
    const Exchanged soft(&soft_, false);
    node.parts.push_back(Skip("if") ? ParseExpression() : nullptr);
    if (Skip("recursive")) {
      node.kind = NodeKind::kUnsupported;
      node.name = "a recursive loop";
    }
    ++loop_depth_;
    node.bodies.push_back(ParseBodyAfterTag({"else", "endfor"}));
    --loop_depth_;
    ParseElse("endfor", node);
  }

  void ParseSet(Node& node) {
    node.parts.push_back(ParseTarget(true));
    if (Skip("=")) {
      node.parts.push_back(ParseTuple());
      return EndTag();
    }
    node.kind = NodeKind::kSetBlock;
    node.parts.push_back(ParseFilterChain(false));
    ParseOwnBlock("endset", node);
  }

  void ParseParameters(Node& node) {
    Expect("(");
    while (!Skip(")")) {
      if (!node.arguments.empty()) Expect(",");
      Argument parameter{ExpectName(), nullptr};
      if (Skip("=")) {
        parameter.value = ParseExpression();
      } else if (!node.arguments.empty() && node.arguments.back().value) {
        Unexpected("a default value");
      }
      node.arguments.push_back(std::move(parameter));
    }
  }

  // Body and closing tag of a macro, and whether the body reads `caller`.
  void ParseMacroBody(std::string_view end, Node& macro) {
    const size_t begin = position_;
    ParseOwnBlock(end, macro);
    const auto body = tokens_.subspan(begin, position_ - begin);
    macro.uses_caller = std::any_of(body.begin(), body.end(), [](const Token& token) {
      return token.Is(TokenKind::kName, "caller");
    });
  }

  void ParseMacro(Node& node) {
    node.name = ExpectName();
    ParseParameters(node);
    ParseMacroBody("endmacro", node);
  }

  void ParseCallBlock(Node& node) {
    NodePtr caller = MakeNamed(NodeKind::kMacro, node.line, "caller");
    if (At("(")) ParseParameters(*caller);
    node.parts.push_back(ParseExpression());
    if (node.parts[0]->kind != NodeKind::kCall) Unexpected("a call");
    ParseMacroBody("endcall", *caller);
    node.parts.push_back(std::move(caller));
  }

  void ParseFilterBlock(Node& node) {
    const Exchanged soft(&soft_, false);
    node.parts.push_back(ParseFilterChain(true));
    ParseOwnBlock("endfilter", node);
  }

  void ParseGeneration(Node& node) { ParseOwnBlock("endgeneration", node); }

  void ParseLoopControl(Node&) {
    if (loop_depth_ == 0) Unexpected("break and continue inside of a loop");
    EndTag();
  }

  // Tags that load another template: there is none.
  void ParseLoading(Node&) {
    while (current().kind != TokenKind::kBlockEnd && current().kind != TokenKind::kEnd) Next();
    EndTag();
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
