#!/bin/sh
# Compares the MoE block with transformers' experts on torch, side by side; --plugin: the plug-in as transformers runs it.
# Opt-in: it installs torch and transformers from PyPI into build/torch, which only `make test-torch` uses beside it.
# usage: bench/torch_moe/run.sh [compare.py options] | --plugin [plugin.py options]; needs `make build`, --plugin `make python`
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
environment=$root/build/torch
if [ ! -x "$environment/bin/python" ]; then
  python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet torch -r "$root/tests/torch/requirements.txt"
fi
export PYTHONPATH="$root/build/release/python"
if [ "${1:-}" = --plugin ]; then
  shift
  exec "$environment/bin/python" "$here/plugin.py" "$@"
fi
exec "$environment/bin/python" "$here/compare.py" --expertile "$root/build/release/expertile" "$@"
