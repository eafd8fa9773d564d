#!/usr/bin/env python3
"""Fidelity of the number formats on the tiny checkpoints: the table of docs/number-formats.md.

    python3 bench/number_formats.py

Evaluates every checkpoint in models/ in every format on a text that none of them was trained on:
the licences that every Debian system carries, more than 20,000 tokens. Takes some minutes.
"""

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXPERTILE = ROOT / "build" / "release" / "expertile"
LICENCES = [Path("/usr/share/common-licenses") / name for name in ("GPL-3", "GPL-2", "Apache-2.0")]
FEWEST_TOKENS = 20_000
FORMATS = {
    "float32": [],
    "bfloat16": ["--dtype", "bfloat16"],
    "MXINT8 matrices and activations": ["--dtype", "mxint8"],
    "MXFP6 matrices": ["--mxfp6-matmul"],
    "MXINT8 KV cache": ["--mxint8-kv-cache"],
    "both": ["--mxfp6-matmul", "--mxint8-kv-cache"],
    "both, bfloat16 arithmetic": ["--mxfp6-matmul", "--mxint8-kv-cache", "--dtype", "bfloat16"],
}


def evaluate(model, text, options):
    command = [EXPERTILE, "eval", model, "--text-file", text, "--json", "--prefill-seq-len", "512", *options]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def main():
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        text.write_bytes(b"".join(path.read_bytes() for path in LICENCES))
        print("| checkpoint | format | tokens | perplexity | mean NLL | against float32 |")
        print("|---|---|---|---|---|---|")
        for model in sorted((ROOT / "models").iterdir()):
            baseline = None
            for name, options in FORMATS.items():
                result = evaluate(model, text, options)
                if result["tokens"] < FEWEST_TOKENS:
                    sys.exit(f"{model}: {result['tokens']} tokens, expected {FEWEST_TOKENS} or more")
                baseline = baseline or result["mean_nll"]
                change = math.exp(result["mean_nll"] - baseline) - 1
                print(
                    f"| {model.name} | {name} | {result['tokens']} | {result['perplexity']:.2f} "
                    f"| {result['mean_nll']:.5f} | {100 * change:+.3f} % |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
