"""What the end-to-end tests share: the binary, the tiny model, its goldens."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy
import pytest

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "tiny-qwen3_moe"
GOLDEN = ROOT / "tests" / "goldens" / "tiny-qwen3_moe"

# The bounds and their reasons: tests/tolerances.h.
FLOAT32_RELATIVE_L2 = 1e-5
FLOAT32_MEAN_NLL = 1e-5
BFLOAT16_RELATIVE_L2 = 3e-2
ARGMAX_GAP = 1e-4

DTYPES = {"F32": numpy.float32, "I32": numpy.int32}


def pytest_addoption(parser):
    parser.addoption("--expertile", default="build/release/expertile", help="the binary to test")


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


@pytest.fixture(scope="session")
def golden():
    return Golden()


@pytest.fixture(scope="session")
def expertile(pytestconfig):
    """Runs the binary; returns the finished process."""
    binary = (ROOT / pytestconfig.getoption("--expertile")).resolve()
    assert binary.exists(), f"{binary} is not built"

    def run(*arguments, stdin=""):
        command = [str(binary), *map(str, arguments)]
        return subprocess.run(command, input=stdin.encode(), capture_output=True, timeout=300, check=False)

    return run


@pytest.fixture
def forward(expertile, tmp_path):
    """Runs `expertile forward` on ids; returns what it wrote, name to array."""

    def run(ids, *options):
        (tmp_path / "ids.json").write_text(json.dumps(ids))
        output = tmp_path / "out.safetensors"
        done = expertile("forward", MODEL, "--input-ids", tmp_path / "ids.json", "--output", output, *options)
        assert (done.returncode, done.stderr) == (0, b"")
        return read_safetensors(output)

    return run


@pytest.fixture
def model_copy(tmp_path):
    """A copy of the model that a test may spoil."""
    return Path(shutil.copytree(MODEL, tmp_path / "model"))
