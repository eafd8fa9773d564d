#!/bin/bash
# Builds with a preset that has a sanitizer, and runs every ctest case and the pytest folders named:
#   tools/test_sanitized.sh asan|tsan FOLDER...
# Uses all processors, or $JOBS of them. Goes on after a failure; the status says whether there was one.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=$1
shift
jobs=${JOBS:-$(nproc)}
workers=$(((jobs + 1) / 2))  # each has two processors: tests/conftest.py

# Status 99 is a report: no command ends with it. What cannot be allocated is the product's to handle.
options=exitcode=99:allocator_may_return_null=1
export ASAN_OPTIONS=$options:detect_stack_use_after_return=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}
export UBSAN_OPTIONS=$options:print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}
export TSAN_OPTIONS=$options:halt_on_error=1:second_deadlock_stack=1${TSAN_OPTIONS:+:$TSAN_OPTIONS}

# A sanitizer's own memory lies at fixed addresses, where a random layout of 32 bits puts other things.
run=()
if setarch --addr-no-randomize true 2>/dev/null; then
  run=(setarch --addr-no-randomize)
fi

cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset" --parallel "$jobs"
status=0
"${run[@]}" ctest --preset "$preset" --parallel "$jobs" || status=1
"${run[@]}" .venv/bin/python -m pytest --quiet -rs --numprocesses "$workers" "$@" \
  --expertile "build/$preset/expertile" || status=1
exit "$status"
