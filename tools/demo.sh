#!/bin/bash
# Builds, then prefills one prompt with blocking off and on (examples/prefill_both_ways).
set -euo pipefail
cd "$(dirname "$0")/.."

cmake --preset release >/dev/null
cmake --build --preset release --target expertile prefill_both_ways
exec build/release/prefill_both_ways models/tiny-qwen3_moe examples/prompt.txt
