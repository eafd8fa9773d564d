#!/bin/bash
# Runs the tests that need torch (tests/torch) on the package in build/release. torch is some gigabytes: CPU-only wheels are
# taken where they can be had (TORCH_INDEX, the project's own index), else PyPI's. Says so where it skips.
set -euo pipefail
cd "$(dirname "$0")/.."
environment=build/torch
index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}
skip() { echo "test-torch: SKIPPED: $1"; exit 0; }

if ! "$environment/bin/python" -c 'import torch, transformers' 2>/dev/null; then
  free_gib=$(($(df --output=avail -k . | tail -1) / 1048576))
  python3 -m venv "$environment"
  pip=("$environment/bin/pip" install --quiet --disable-pip-version-check)
  if ! "${pip[@]}" --index-url "$index" torch 2>/dev/null; then
    [ "$free_gib" -ge 10 ] || skip "no CPU-only torch at $index, and $free_gib GiB free for PyPI's, which takes 8"
    "${pip[@]}" torch || skip "torch cannot be installed"
  fi
  "${pip[@]}" -r tests/torch/requirements.txt || skip "transformers cannot be installed"
fi
exec "$environment/bin/python" -m pytest --quiet tests/torch "$@"
