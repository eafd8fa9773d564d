#!/bin/bash
# Prefills in one process and decodes in another, for a model and a prompt:
#   examples/disaggregated/run.sh [MODEL [PROMPT_FILE [NUM_TOKENS]]]
# with what is built in $BUILD (build/release). Prints the text; it is the one that `expertile run`
# makes in a single process.
set -euo pipefail
cd "$(dirname "$0")/../.."

model=${1:-models/tiny-qwen3_moe}
prompt=${2:-examples/prompt.txt}
num_tokens=${3:-40}
build=${BUILD:-build/release}
handoff=$(mktemp -d)
trap 'rm -rf "$handoff"' EXIT

first=$("$build"/disaggregated_prefill "$model" "$prompt" "$handoff/kv.safetensors")
ids=$("$build"/disaggregated_decode "$model" "$handoff/kv.safetensors" "$first" "$num_tokens")
"$build"/expertile tokenize "$model" --decode "$ids"
