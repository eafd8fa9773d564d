"""Fixtures of the end-to-end tests: the binary, and what it is asked most often."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cases import MODEL, ROOT, Golden, read_safetensors


def pytest_addoption(parser):
    parser.addoption("--expertile", default="build/release/expertile", help="the binary to test")


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
