// Walks a syntax tree and writes the output: expressions, scopes, loops, macros. What values do is
// elsewhere (operators.h, functions.h).
#include <algorithm>
#include <map>

#include "jinja/ast.h"
#include "jinja/functions.h"
#include "jinja/operators.h"
#include "jinja/value_text.h"

namespace jinja {

// One level of variables. Reading looks outward; setting changes the innermost level only. One
// difference from Jinja: a name that the template sets on its top level, and reads only in loops or
// macros that run before, is seen there as the caller gave it (Jinja has it undefined).
struct Scope {
  std::shared_ptr<Scope> parent;
  std::map<std::string, Value, std::less<>> names;
};

// The state behind the variable `loop` of one for statement.
struct Loop {
  const Node* statement = nullptr;
  std::shared_ptr<Scope> outer;  // the scope around the loop: what its filter and body see
  List items;                    // before the loop's `if`
  size_t num_asked = 0;          // items already asked whether they pass
  List passed;                   // items that passed, those before the current one included
  int64_t index0 = -1;           // of the current item in `passed`
};

namespace {

// Nodes that hand on a value that exists already.
bool MakesNoValue(NodeKind kind) {
  return kind == NodeKind::kLiteral || kind == NodeKind::kName || kind == NodeKind::kAnd ||
         kind == NodeKind::kOr || kind == NodeKind::kConditional;
}

class Interpreter {
 public:
  Interpreter(const RenderOptions& options, const Value& variables) : environment_(options) {
    auto global_scope = MakeScope(nullptr);
    for (const Function& row : Globals()) {
      const std::string name(row.names);
      global_scope->names.emplace(name, Value(Callable{name, "function", &row, Value()}));
    }
    global_scope->names.emplace("self", Value(environment_.MakeNamespace()));  // no blocks
    for (const auto& [key, value] : variables.dict().entries()) {
      if (key.is_string()) global_scope->names.insert_or_assign(key.string(), value);
    }
    scope_ = MakeScope(std::move(global_scope));
  }

  // Undoes the rings of macros and the scopes they live in.
  ~Interpreter() {
    for (const auto& scope : macro_scopes_) scope->names.clear();
  }

  // Errors name the line, but for those of raise_exception.
  std::string Run(const Body& body) {
    std::string output;
    output_ = &output;
    try {
      ExecuteBody(body);
    } catch (const Failure& failure) {
      if (failure.error.kind == ErrorKind::kRaised) throw;
      Fail(failure.error.kind, "template line {}: {}", line_, failure.error.message);
    }
    return output;
  }

  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

 private:
  enum class Flow { kOn, kBreak, kContinue };

  Flow ExecuteBody(const Body& body) {
    for (const NodePtr& node : body) {
      if (const Flow flow = Execute(*node); flow != Flow::kOn) return flow;
    }
    return Flow::kOn;
  }

  // Begins a node: counts it, and refuses it where it is nested too deep.
  Exchanged<int> Enter(const Node& node) {
    line_ = node.line;
    environment_.Step();
    if (depth_ < environment_.limits().max_depth) return {&depth_, depth_ + 1};
    Invalid("nested deeper than {}", environment_.limits().max_depth);
  }

  Flow Execute(const Node& node) {
    const auto nesting = Enter(node);
    switch (node.kind) {
      case NodeKind::kText:
        Write(node.name);
        break;
      case NodeKind::kPrint:
        WriteValue(Evaluate(*node.parts[0]));
        break;
      case NodeKind::kIf:
        return RunIf(node);
      case NodeKind::kFor:
        return RunLoop(node);
      case NodeKind::kSet:
        Assign(*node.parts[0], Evaluate(*node.parts[1]));
        break;
      case NodeKind::kSetBlock:
        Assign(*node.parts[0], Filtered(node.parts[1], Capture(node.bodies[0])));
        break;
      case NodeKind::kMacro:
        scope_->names.insert_or_assign(node.name, MakeMacro(node));
        break;
      case NodeKind::kCallBlock:
        RunCallBlock(node);
        break;
      case NodeKind::kFilterBlock:
        WriteValue(Filtered(node.parts[0], Capture(node.bodies[0])));
        break;
      case NodeKind::kScope: {
        const Exchanged scope(&scope_, MakeScope(scope_));
        return ExecuteBody(node.bodies[0]);
      }
      case NodeKind::kBreak:
        return Flow::kBreak;
      case NodeKind::kContinue:
        return Flow::kContinue;
      default:
        Unsupported("{} is not supported", node.name);
    }
    return Flow::kOn;
  }

  void Write(std::string_view text) {
    environment_.CheckSize(output_->size() + text.size());
    environment_.Allocate(text.size());
    *output_ += text;
  }

  void WriteValue(const Value& value) {
    value.is_string() ? Write(value.string()) : Write(ToText(environment_, value));
  }

  // The output of `body`, run in a scope of its own.
  Value Capture(const Body& body) {
    std::string text;
    const Exchanged output(&output_, &text);
    const Exchanged scope(&scope_, MakeScope(scope_));
    ExecuteBody(body);
    return Value(std::move(text));
  }

  // `text` through a chain of filters without input, if there is one.
  Value Filtered(const NodePtr& chain, Value text) {
    if (!chain) return text;
    const Exchanged<const Value*> captured(&captured_, &text);
    return Evaluate(*chain);
  }

  Flow RunIf(const Node& node) {
    for (size_t i = 0; i < node.parts.size(); ++i) {
      if (Evaluate(*node.parts[i]).Truth()) return ExecuteBody(node.bodies[i]);
    }
    return ExecuteBody(node.bodies.back());
  }

  Flow RunLoop(const Node& node) {
    const Value iterable = Evaluate(*node.parts[1]);
    const auto loop = std::make_shared<Loop>();
    loop->statement = &node;
    loop->outer = scope_;
    loop->items = Iterate(iterable);
    environment_.Allocate(loop->items.size() * sizeof(Value));
    bool completed_one = false;
    while (true) {
      environment_.Step();
      const size_t index = static_cast<size_t>(loop->index0 + 1);
      LookAhead(*loop, index + 1);
      if (index == loop->passed.size()) break;
      ++loop->index0;
      const Exchanged scope(&scope_, MakeScope(loop->outer));
      Assign(*node.parts[0], loop->passed[index]);
      scope_->names.insert_or_assign("loop", Value(loop));
      const Flow flow = ExecuteBody(node.bodies[0]);
      if (flow == Flow::kBreak) break;
      completed_one = completed_one || flow == Flow::kOn;
    }
    // As in Jinja, `else` also runs when every round was cut short by break or continue.
    if (completed_one || node.bodies[1].empty()) return Flow::kOn;
    const Exchanged scope(&scope_, MakeScope(loop->outer));
    return ExecuteBody(node.bodies[1]);
  }

  // Looks for further items that pass the loop's filter until `count` have passed.
  void LookAhead(Loop& loop, size_t count) {
    const NodePtr& filter = loop.statement->parts[2];
    while (loop.passed.size() < count && loop.num_asked < loop.items.size()) {
      const Value item = loop.items[loop.num_asked++];
      const Exchanged scope(&scope_, MakeScope(loop.outer));
      if (filter) Assign(*loop.statement->parts[0], item);
      if (!filter || Evaluate(*filter).Truth()) loop.passed.push_back(item);
    }
  }

  std::optional<Value> LoopAttribute(Loop& loop, std::string_view name) {
    const size_t index = static_cast<size_t>(loop.index0);
    if (name == "index") return Value(loop.index0 + 1);
    if (name == "index0") return Value(loop.index0);
    if (name == "first") return Value(loop.index0 == 0);
    if (name == "previtem") {
      return index > 0 ? loop.passed[index - 1] : Value::MakeUndefined("there is no previous item");
    }
    if (name == "last" || name == "nextitem") {
      LookAhead(loop, index + 2);
      const bool last = loop.passed.size() < index + 2;
      if (name == "last") return Value(last);
      return last ? Value::MakeUndefined("there is no next item") : loop.passed[index + 1];
    }
    if (name == "length" || name == "revindex" || name == "revindex0") {
      LookAhead(loop, loop.items.size());
      const auto length = static_cast<int64_t>(loop.passed.size());
      if (name == "length") return Value(length);
      return Value(length - loop.index0 - (name == "revindex" ? 0 : 1));
    }
    for (const std::string_view other : {"cycle", "changed", "depth", "depth0"}) {
      if (name == other) Unsupported("loop.{} is not supported", name);
    }
    return std::nullopt;
  }

  void RunCallBlock(const Node& node) {
    const Node& call = *node.parts[0];
    const Value callee = Evaluate(*call.parts[0]);
    Arguments arguments = EvaluateArguments(call);
    arguments.keyword.emplace_back("caller", MakeMacro(*node.parts[1]));
    WriteValue(CallValue(callee, arguments));
  }

  Value MakeMacro(const Node& macro) {
    macro_scopes_.push_back(scope_);
    return Value(Callable{macro.name, "macro", nullptr, Value(), &macro, scope_.get()});
  }

  void Assign(const Node& target, Value value) {
    if (target.kind == NodeKind::kTuple) {
      List items = Iterate(value);
      if (items.size() != target.parts.size()) {
        Invalid("{} values for {} names", items.size(), target.parts.size());
      }
      for (size_t i = 0; i < items.size(); ++i) Assign(*target.parts[i], items[i]);
      return;
    }
    if (target.parts.empty()) {
      scope_->names.insert_or_assign(target.name, std::move(value));
      return;
    }
    const std::string& attribute = target.parts[0]->name;
    const Value space = Lookup(target.name);
    if (space.kind() != Kind::kNamespace) {
      Invalid("cannot assign attribute '{}' on non-namespace object '{}'", attribute, target.name);
    }
    if (attribute.starts_with('_')) {
      Invalid("a namespace can't hold '{}': it begins with an underscore", attribute);
    }
    space.space().attributes.Set(attribute, std::move(value));
  }

  Value Lookup(const std::string& name) const {
    for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get()) {
      const auto place = scope->names.find(name);
      if (place != scope->names.end()) return place->second;
    }
    if (name == "varargs" || name == "kwargs") {
      Unsupported("the variable '{}' is not supported", name);
    }
    return Value::MakeUndefined("'" + name + "' is undefined");
  }

  Value CallValue(const Value& callee, const Arguments& arguments) {
    if (callee.is_undefined()) Invalid("{}", callee.reason());
    if (callee.kind() != Kind::kCallable) Invalid("'{}' is not callable", callee.type_name());
    const Callable& callable = callee.callable();
    if (callable.macro != nullptr) return CallMacro(callable, arguments);
    return Apply(environment_, callable.what, callable.name, *callable.function, callable.self,
                 arguments);
  }

  Value CallMacro(const Callable& callable, const Arguments& arguments) {
    std::string text;
    const Exchanged output(&output_, &text);
    auto inner = std::make_shared<Scope>();
    inner->parent = std::shared_ptr<Scope>(std::shared_ptr<Scope>(), callable.scope);
    const Exchanged scope(&scope_, inner);
    const int line = line_;
    BindMacro(*callable.macro, arguments);
    ExecuteBody(callable.macro->bodies[0]);
    line_ = line;
    return Value(std::move(text));
  }

  void BindMacro(const Node& macro, const Arguments& arguments) {
    const List& given = arguments.positional;
    const size_t num_parameters = macro.arguments.size();
    if (given.size() > num_parameters) {
      Invalid("macro '{}' takes not more than {} argument(s)", macro.name, num_parameters);
    }
    auto& names = scope_->names;
    for (const auto& [name, value] : arguments.keyword) {
      bool known = name == "caller" && macro.uses_caller;
      for (size_t i = given.size(); i < num_parameters; ++i) {
        known = known || macro.arguments[i].name == name;
      }
      if (!known) Invalid("macro '{}' takes no keyword argument '{}'", macro.name, name);
      names.insert_or_assign(name, value);
    }
    for (size_t i = 0; i < num_parameters; ++i) {
      const auto& [name, fallback] = macro.arguments[i];
      if (i < given.size()) {
        names.insert_or_assign(name, given[i]);
      } else if (!names.contains(name)) {
        names.emplace(name,
                      fallback ? Evaluate(*fallback)
                               : Value::MakeUndefined("parameter '" + name + "' was not provided"));
      }
    }
    if (macro.uses_caller) names.emplace("caller", Value::MakeUndefined("No caller defined"));
  }

  Value Evaluate(const Node& node) {
    const auto nesting = Enter(node);
    Value value = EvaluateNode(node);
    if (value.depth() > kMaxValueDepth) Invalid("values nested deeper than {}", kMaxValueDepth);
    if (!MakesNoValue(node.kind)) environment_.Allocate(value.shallow_size());
    return value;
  }

  Value EvaluateNode(const Node& node) {
    switch (node.kind) {
      case NodeKind::kLiteral:
        return node.value;
      case NodeKind::kName:
        return Lookup(node.name);
      case NodeKind::kList:
      case NodeKind::kTuple:
      case NodeKind::kDict:
        return EvaluateItems(node);
      case NodeKind::kAttribute:
      case NodeKind::kSubscript:
        return EvaluateAttribute(node);
      case NodeKind::kSlice:
        return EvaluateSlice(node);
      case NodeKind::kCall: {
        const Value callee = Evaluate(*node.parts[0]);
        const Arguments arguments = EvaluateArguments(node);
        return CallValue(callee, arguments);
      }
      case NodeKind::kFilter:
      case NodeKind::kTest:
        return EvaluateFunction(node);
      case NodeKind::kNot:
        return Value(!Evaluate(*node.parts[0]).Truth());
      case NodeKind::kNegate:
        return Negate(Evaluate(*node.parts[0]));
      case NodeKind::kArithmetic: {
        const Value left = Evaluate(*node.parts[0]);
        const Value right = Evaluate(*node.parts[1]);
        return Arithmetic(environment_, node.operators[0], left, right);
      }
      case NodeKind::kConcat:
        return Concatenated(*node.parts[0], *node.parts[1]);
      case NodeKind::kAnd:
      case NodeKind::kOr: {
        Value left = Evaluate(*node.parts[0]);
        if (left.Truth() != (node.kind == NodeKind::kAnd)) return left;
        return Evaluate(*node.parts[1]);
      }
      case NodeKind::kCompare:
        return EvaluateCompare(node);
      default:
        return EvaluateConditional(node);
    }
  }

  Value EvaluateItems(const Node& node) {
    List items;
    for (const NodePtr& item : node.parts) items.push_back(Evaluate(*item));
    if (node.kind == NodeKind::kList) return Value::MakeList(std::move(items));
    if (node.kind == NodeKind::kTuple) {
      return Value::MakeSequence(SequenceKind::kTuple, std::move(items));
    }
    Dict dict;
    for (size_t i = 0; i + 1 < items.size(); i += 2) dict.Set(items[i], items[i + 1]);
    return Value(std::move(dict));
  }

  Value EvaluateAttribute(const Node& node) {
    const Value object = Evaluate(*node.parts[0]);
    Value key(node.name);
    if (node.kind == NodeKind::kSubscript) key = Evaluate(*node.parts[1]);
    if (object.kind() == Kind::kLoop && key.is_string()) {
      std::optional<Value> attribute = LoopAttribute(*object.loop(), key.string());
      if (attribute) return *std::move(attribute);
    }
    if (node.kind == NodeKind::kSubscript) return GetItem(environment_, object, key);
    return GetAttribute(object, node.name);
  }

  Value EvaluateSlice(const Node& node) {
    List operands;
    for (const NodePtr& part : node.parts) operands.push_back(part ? Evaluate(*part) : Value());
    return Slice(environment_, operands[0], operands[1], operands[2], operands[3]);
  }

  Value EvaluateFunction(const Node& node) {
    const std::string_view what = node.kind == NodeKind::kFilter ? "filter" : "test";
    if (node.function == nullptr) Invalid("no {} named '{}'", what, node.name);
    Value input = captured_ != nullptr ? *captured_ : Value();
    if (node.parts[0]) input = Evaluate(*node.parts[0]);
    const Arguments arguments = EvaluateArguments(node);
    line_ = node.line;
    return Apply(environment_, what, node.name, *node.function, input, arguments);
  }

  Value Concatenated(const Node& left, const Node& right) {
    const std::string text = ToText(environment_, Evaluate(left));
    return Value(text + ToText(environment_, Evaluate(right)));
  }

  Value EvaluateCompare(const Node& node) {
    Value left = Evaluate(*node.parts[0]);
    for (size_t i = 0; i < node.operators.size(); ++i) {
      Value right = Evaluate(*node.parts[i + 1]);
      environment_.Step(2 +
                        static_cast<int64_t>((left.shallow_size() + right.shallow_size()) / 256));
      if (!Compare(environment_, node.operators[i], left, right)) return Value(false);
      left = std::move(right);
    }
    return Value(true);
  }

  Value EvaluateConditional(const Node& node) {
    if (Evaluate(*node.parts[0]).Truth()) return Evaluate(*node.parts[1]);
    if (node.parts[2]) return Evaluate(*node.parts[2]);
    return Value::MakeUndefined("the inline if-expression has no else and its test was false");
  }

  Arguments EvaluateArguments(const Node& node) {
    Arguments arguments;
    for (const Argument& given : node.arguments) {
      Value value = Evaluate(*given.value);
      if (given.name.empty()) {
        arguments.positional.push_back(std::move(value));
      } else if (given.name.starts_with('*')) {
        Spread(given.name, value, &arguments);
      } else {
        arguments.keyword.emplace_back(given.name, std::move(value));
      }
    }
    return arguments;
  }

  void Spread(const std::string& stars, const Value& value, Arguments* arguments) {
    environment_.Step(1 + static_cast<int64_t>(value.shallow_size() / 256));
    if (stars == "*") {
      const List items = Iterate(value);
      arguments->positional.insert(arguments->positional.end(), items.begin(), items.end());
      return;
    }
    if (!value.is_dict()) Invalid("** needs a dict, not '{}'", value.type_name());
    for (const auto& [key, element] : value.dict().entries()) {
      if (!key.is_string()) Invalid("** needs strings as keys");
      for (const auto& [name, before] : arguments->keyword) {
        if (name == key.string()) Invalid("the argument '{}' is given twice", name);
      }
      arguments->keyword.emplace_back(key.string(), element);
    }
  }

  std::shared_ptr<Scope> MakeScope(std::shared_ptr<Scope> parent) const {
    return std::make_shared<Scope>(Scope{std::move(parent), {}});
  }

  Environment environment_;
  std::shared_ptr<Scope> scope_;
  std::vector<std::shared_ptr<Scope>> macro_scopes_;
  std::string* output_ = nullptr;
  const Value* captured_ = nullptr;  // what a chain of filters without input works on
  int depth_ = 0;
  int line_ = 1;
};

}  // namespace

std::string Interpret(const Body& body, const RenderOptions& options, const Value& variables) {
  return Interpreter(options, variables).Run(body);
}

}  // namespace jinja
