#!/bin/sh
# Compares the MoE block with transformers' experts on torch, side by side. Opt-in: it installs torch and
# transformers from PyPI into a virtual environment under build/, which nothing else uses.
# usage: bench/torch_moe/run.sh [compare.py options]; needs build/release/expertile (make build)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
environment=$root/build/torch_moe
if [ ! -x "$environment/bin/python" ]; then
  python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet -r "$here/requirements.txt"
fi
exec "$environment/bin/python" "$here/compare.py" --expertile "$root/build/release/expertile" "$@"
