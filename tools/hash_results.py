#!/usr/bin/env python3
"""Hashes what a build computes and writes, one line a case: two builds agree to the bit if their lists do.

    tools/hash_results.py build/release > before.txt    # and after a change: diff before.txt after.txt

Over the tiny models: logits (families, targets, number formats, blockings, prefill_seq_len), images'
rows, KV files, the weights in programs' manifests, and what onnxruntime makes of exported graphs,
which needs .venv. EXPERTILE_ISA holds for the cpu target. A line is a case and a SHA-256.
"""

import argparse
import hashlib
import itertools
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FAMILIES = ["qwen3_moe", "gpt_oss", "granitemoe", "qwen3_vl_moe"]
NUM_TOKENS = 75
FORMATS = {
    "float32": [],
    "bfloat16": ["--dtype", "bfloat16"],
    "mxfp6": ["--mxfp6-matmul"],
    "mxint8": ["--dtype", "mxint8"],
    "mxint8 kv": ["--mxint8-kv-cache"],
    "bfloat16 mxfp6 mxint8 kv": ["--dtype", "bfloat16", "--mxfp6-matmul", "--mxint8-kv-cache"],
}
# num_nsp, packed_chunk_size, prefill_seq_len: off, blocked in chunks of the prompt, every token by itself.
STEPS = [("none", 256, 512), (3, 7, 20), ("none", 256, 1)]
# A KV file of version 2 says more of RoPE than one of version 1; what it holds is to be the same.
NOT_HASHED = ("__metadata__", "checksum", "next_deltas")
GRAPH_BLOCKINGS = [("none", 256), (3, 7), (16, 16)]


class Hasher:
    def __init__(self, build, families, scratch):
        self.build = build
        self.families = families
        self.scratch = scratch

    def run(self, binary, *arguments):
        command = [str(self.build / binary), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, check=False, text=True)
        if done.returncode != 0:
            sys.exit(f"hash_results.py: {' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def forward(self, family, options):
        ids = self.scratch / "ids.json"
        output = self.scratch / "out.safetensors"
        ids.write_text(json.dumps(prompt(family)))
        self.run("expertile", "forward", model(family), "--input-ids", ids, "-o", output, *options)
        return hash_of_tensors(output)


def model(family):
    return ROOT / "models" / f"tiny-{family}"


def prompt(family):
    """Ids below all the special ones."""
    rng = random.Random(family)
    return [rng.randrange(1, 400) for _ in range(NUM_TOKENS)]


def show(case, digest):
    print(f"{digest}  {' | '.join(map(str, case))}", flush=True)


def hash_of_tensors(path):
    """Of a safetensors file's values in the order of the file, not of names and other metadata."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    spans = sorted(tensor["data_offsets"] for name, tensor in header.items() if name not in NOT_HASHED)
    digest = hashlib.sha256()
    for first, last in spans:
        digest.update(data[start + first : start + last])
    return digest.hexdigest()


def is_refused(target, options):
    return target == "reference" and "bfloat16" in options


def hash_logits(hasher):
    for family, target, name in itertools.product(hasher.families, ("reference", "cpu"), FORMATS):
        if is_refused(target, FORMATS[name]):
            continue
        for num_nsp, chunk, seq_len in STEPS:
            blocking = ["--moe-prefill-num-nsp", num_nsp, "--moe-prefill-packed-chunk-size", chunk]
            options = ["--target", target, *FORMATS[name], *blocking, "--prefill-seq-len", seq_len, "--ctx-len", 128]
            show(["logits", family, target, name, num_nsp, chunk, seq_len], hasher.forward(family, options))


def hash_images(hasher):
    if "qwen3_vl_moe" not in hasher.families:
        return
    image = min((model("qwen3_vl_moe") / "images").iterdir())
    ids = hasher.scratch / "ids.json"
    output = hasher.scratch / "out.safetensors"
    ids.write_text(json.dumps([5, 6, *image_placeholder(), 7]))
    for target, name in itertools.product(("reference", "cpu"), FORMATS):
        if is_refused(target, FORMATS[name]):
            continue
        options = ["--target", target, *FORMATS[name], "--image", image, "--dump-vision", "--moe-prefill-num-nsp", 3]
        arguments = ["forward", model("qwen3_vl_moe"), "--input-ids", ids, "-o", output, *options]
        hasher.run("expertile", *arguments)
        show(["image", target, name], hash_of_tensors(output))


def image_placeholder():
    config = json.loads((model("qwen3_vl_moe") / "config.json").read_text())
    return [config[name] for name in ("vision_start_token_id", "image_token_id", "vision_end_token_id")]


def hash_kv_files(hasher):
    file = hasher.scratch / "kv.safetensors"
    for family, num_nsp in itertools.product(hasher.families, (1, 5)):
        first = hasher.run("disaggregated_prefill", model(family), ROOT / "examples" / "prompt.txt", file, num_nsp)
        show(["kv file", family, num_nsp, f"then {first.strip()}"], hash_of_tensors(file))


def hash_manifests(hasher):
    """Names, formats, places and hashes of all weights, and the fingerprint of what made them."""
    for family, target, name in itertools.product(hasher.families, ("reference", "cpu"), FORMATS):
        if is_refused(target, FORMATS[name]):
            continue
        options = ["--target", target, *FORMATS[name], "--cache-dir", hasher.scratch / "cache"]
        folder = hasher.run("expertile", "compile", model(family), *options).splitlines()[-1]
        manifest = json.loads((Path(folder) / "manifest.json").read_text())
        weights = {key: manifest[key] for key in ("sections", "blocks", "fingerprint")}
        show(["weights", family, target, name], hashlib.sha256(json.dumps(weights, sort_keys=True).encode()).hexdigest())


def run_graph(path, family):
    """The outputs of a graph, on inputs that are the same in every run."""
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options)
    rng = numpy.random.default_rng(1)
    sizes = {"batch_size": 1, "seq_len": 1 if path.stem == "decode" else 16, "ctx_len": 64, "vision_batch_size": 1, "vision_size": 16}
    inputs = {}
    for value in session.get_inputs():
        shape = [sizes.get(size, size) for size in value.shape]
        if "int" in value.type:
            inputs[value.name] = numpy.zeros(shape, numpy.int64)
        else:
            inputs[value.name] = rng.standard_normal(shape, numpy.float32)
    if "input_ids" in inputs:
        length = inputs["input_ids"].shape[1]
        inputs["input_ids"][:] = prompt(family)[:length]
        inputs["position_ids"][:] = range(length)
    digest = hashlib.sha256()
    for name, values in sorted(zip([output.name for output in session.get_outputs()], session.run(None, inputs))):
        digest.update(name.encode() + values.tobytes())
    return digest.hexdigest()


def hash_graphs(hasher):
    for family, (num_nsp, chunk), functions in itertools.product(hasher.families, GRAPH_BLOCKINGS, (False, True)):
        folder = hasher.scratch / "-".join(map(str, ["graphs", family, num_nsp, functions]))
        options = ["--moe-prefill-num-nsp", num_nsp, "--moe-prefill-packed-chunk-size", chunk, "--ctx-len", 64]
        options += ["--prefill-seq-len", 16, "--onnx-sentinel", "in-bounds"] + ["--use-onnx-subfunctions"] * functions
        options += ["--height", 64, "--width", 64] if "vl" in family else []
        hasher.run("expertile", "export", model(family), "-o", folder, *options)
        for graph in sorted(folder.glob("*.onnx")):
            show(["graph", family, graph.stem, num_nsp, chunk, functions], run_graph(graph, family))


PARTS = {
    "logits": hash_logits,
    "images": hash_images,
    "kv": hash_kv_files,
    "weights": hash_manifests,
    "graphs": hash_graphs,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, help="folder of the binaries: expertile, disaggregated_prefill")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this one; again for each further one")
    parser.add_argument("--family", choices=FAMILIES, action="append", help="the same of families")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        hasher = Hasher(arguments.build.resolve(), arguments.family or FAMILIES, Path(scratch))
        for part in arguments.part or PARTS:
            PARTS[part](hasher)


if __name__ == "__main__":
    main()
