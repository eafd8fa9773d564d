"""Fixtures of the end-to-end tests: the binary, and what it is asked most often."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cases import MODEL, Golden, read_safetensors


@pytest.fixture(scope="session")
def golden():
    return Golden()


@pytest.fixture(scope="session")
def expertile(binary, sanitizer):
    """Runs the binary; returns the finished process."""
    timeout = 3000 if sanitizer else 300

    def run(*arguments, stdin=""):
        command = [str(binary), *map(str, arguments)]
        return subprocess.run(command, input=stdin.encode(), capture_output=True, timeout=timeout, check=False)

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
