#!/bin/bash
# Runs the tests that need torch (tests/torch) on the package in build/release. torch is some gigabytes: CPU-only wheels are
# taken where they can be had (TORCH_INDEX, the project's own index), else PyPI's, which bring CUDA. Says so where it skips;
# TORCH_INDEX=none asks for that.
set -euo pipefail
cd "$(dirname "$0")/.."
environment=build/torch
index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}
needed_gib=8  # PyPI's torch, 5.4 installed
# In a quarter of an hour, or not at all.
skip() { echo "test-torch: SKIPPED: $1"; exit 0; }
install() { timeout 900 "$environment/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --no-compile "$@"; }

[ "$index" != none ] || skip "TORCH_INDEX is none"
if ! "$environment/bin/python" -c 'import torch, transformers' 2>/dev/null; then
  python3 -m venv "$environment"
  if ! install --retries 1 --timeout 20 --index-url "$index" torch 2>/dev/null; then
    free_gib=$(($(df --output=avail -k . | tail -1) / 1048576))
    [ "$free_gib" -ge "$needed_gib" ] || skip "no CPU-only torch at $index, and $free_gib GiB free for PyPI's, which takes $needed_gib"
    install torch || skip "torch cannot be installed"
  fi
  install -r tests/torch/requirements.txt || skip "transformers cannot be installed"
fi
exec "$environment/bin/python" -m pytest --quiet tests/torch "$@"
