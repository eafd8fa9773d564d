#!/bin/sh
# Runs `expertile bench` of two builds in turns and prints medians and their ratios: what a change did, on a machine that
# other work slows now and then.
# usage: bench/compare.sh [--rounds N] OLD NEW moe|model [bench options]; OLD, NEW: build folders or their expertile
exec python3 "$(dirname "$0")/compare.py" "$@"
