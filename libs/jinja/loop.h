// The state behind the variable `loop` of one for statement. Not the statement itself (ast.h), and
// not what moves it forward (interpreter.h).
#pragma once

#include <memory>
#include <optional>

#include "jinja/value.h"

namespace jinja {

struct ForStatement;

struct Loop {
  const ForStatement* statement = nullptr;
  std::shared_ptr<Scope> outer;  // the scope around the loop: what its filter and body see
  List items;                    // before the loop's `if`
  size_t num_taken = 0;          // items already asked whether they pass
  int64_t index0 = -1;
  int64_t depth0 = 0;        // of recursive loops
  std::vector<Value> ahead;  // items that passed and wait for their turn
  size_t num_ahead_taken = 0;
  Value current;
  std::optional<Value> previous;
  std::optional<List> last_changed;
  int depth_of_items = 0;

  size_t num_ahead() const { return ahead.size() - num_ahead_taken; }
};

}  // namespace jinja
