#!/bin/bash
# Runs the tests of the target cuda under compute-sanitizer, on a machine with a Hopper GPU:
#   tools/sanitize_cuda.sh [BUILD] [TOOL...]
# BUILD is build/release, the tools memcheck, racecheck and synccheck, unless named. Every test of the kernels runs under
# each; of those that run models, where kernels are some hundred times slower, one model of each number format.
# Goes on after a failure; the status says whether there was one.
set -euo pipefail
cd "$(dirname "$0")/.."

build=${1:-build/release}
shift || true
tools=("$@")
if [ ${#tools[@]} -eq 0 ]; then
  tools=(memcheck racecheck synccheck)
fi
command -v compute-sanitizer >/dev/null || {
  echo "compute-sanitizer is not on the PATH: it comes with CUDA" >&2
  exit 1
}

status=0
check() {  # TOOL BINARY FILTER
  echo "== $1: $2 $3"
  compute-sanitizer --tool "$1" --error-exitcode 1 --print-limit 5 \
    "$build/$2" --gtest_brief=1 --gtest_filter="$3" || status=1
}
for tool in "${tools[@]}"; do
  check "$tool" cuda_unit_test '*'
  check "$tool" cuda_test '*Logits*/tiny_gpt_oss:*Logits*/tiny_qwen3_moe'
  check "$tool" session_sequences_test '*/tiny_gpt_oss_cuda*'
done
exit $status
