#!/bin/bash
# Builds, prefills one prompt with blocking off and on (examples/prefill_both_ways), and describes a
# picture.
set -euo pipefail
cd "$(dirname "$0")/.."

cmake --preset release >/dev/null
cmake --build --preset release --target expertile prefill_both_ways
build/release/prefill_both_ways models/tiny-qwen3_moe examples/prompt.txt

vision_model=models/tiny-qwen3_vl_moe
picture=$vision_model/images/0.png
printf '\n%s looks at %s:\n' "$vision_model" "$picture"
exec build/release/expertile run "$vision_model" --image "$picture" --chat --prompt "Describe the image." \
  --moe-prefill-num-nsp 8
