#!/bin/bash
# Prefills in one process and decodes in another, for a model and a prompt:
#   examples/disaggregated/run.sh [MODEL [PROMPT_FILE [NUM_TOKENS]]]
# Prints the text; it is the one that `expertile run` makes in a single process.
set -euo pipefail
cd "$(dirname "$0")/../.."

model=${1:-models/tiny-qwen3_moe}
prompt=${2:-examples/prompt.txt}
num_tokens=${3:-40}
handoff=$(mktemp -d)
trap 'rm -rf "$handoff"' EXIT

first=$(build/release/disaggregated_prefill "$model" "$prompt" "$handoff/kv.safetensors")
ids=$(build/release/disaggregated_decode "$model" "$handoff/kv.safetensors" "$first" "$num_tokens")
build/release/expertile tokenize "$model" --decode "$ids"
