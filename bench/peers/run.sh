#!/bin/sh
# Prefill and decode of a Qwen3-MoE checkpoint, ours and other engines' in turns, in one run. Opt-in: it installs each engine from
# PyPI into a virtual environment of its own under build/peers/, which nothing else uses; llama.cpp and ik_llama.cpp are
# built there from source, some minutes each.
# usage: bench/peers/run.sh CHECKPOINT [compare.py options]; needs build/release/expertile (make build)
# e.g.   tools/synthesize tools/shapes/qwen3-30b-a3b.json /tmp/qwen3 --layers 2 && bench/peers/run.sh /tmp/qwen3 --tokens 512,2048
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
exec python3 "$here/compare.py" --expertile "$root/build/release/expertile" --environments "$root/build/peers" "$@"
