"""The tiny model of the end-to-end tests, its goldens, the bounds, and a reader of what expertile writes."""

import json
from pathlib import Path

import numpy

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "tiny-qwen3_moe"
GOLDEN = ROOT / "tests" / "goldens" / "tiny-qwen3_moe"

# The bounds and their reasons: tests/tolerances.h.
FLOAT32_RELATIVE_L2 = 1e-5
FLOAT32_MEAN_NLL = 1e-5
BFLOAT16_RELATIVE_L2 = 3e-2
ARGMAX_GAP = 1e-4

DTYPES = {"F32": numpy.float32, "I32": numpy.int32}


def read_safetensors(path):
    """Name to array, for the dtypes that expertile writes."""
    data = Path(path).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    arrays = {}
    for name, entry in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        values = numpy.frombuffer(data[start + first : start + last], DTYPES[entry["dtype"]])
        arrays[name] = values.reshape(entry["shape"])
    return arrays


def relative_l2(actual, expected):
    difference = numpy.linalg.norm(actual.astype(float) - expected.astype(float))
    return difference / numpy.linalg.norm(expected.astype(float))


class Golden:
    """What transformers computed in float32."""

    def __init__(self):
        self.cases = json.loads(GOLDEN.with_suffix(".json").read_text(encoding="utf-8"))["cases"]
        self.tensors = read_safetensors(GOLDEN.with_suffix(".safetensors"))

    def ids(self, case):
        return self.tensors[case + ".input_ids"].tolist()
