#!/bin/bash
# run_fuzzers.sh BUILD_FOLDER SECONDS: runs every fuzzer of a fuzz build from its seed corpus. What it
# finds, and the inputs that reproduce it, stay in BUILD_FOLDER.
set -euo pipefail

build=$1
seconds=$2
for fuzzer in "$build"/fuzz_*; do
  [[ -x $fuzzer && -f $fuzzer ]] || continue
  name=$(basename "$fuzzer")
  corpus=$build/corpus/$name
  mkdir -p "$corpus"
  echo "$name: $seconds s"
  "$fuzzer" -max_total_time="$seconds" -verbosity=0 -print_final_stats=1 \
    -artifact_prefix="$build/$name-" "$corpus" "fuzz/corpus/${name#fuzz_}" 2>&1 |
    sed "s,^,  ,"
done
