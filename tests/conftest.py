"""What every Python test shares: the build that it looks at, and whether that is under a sanitizer."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser):
    parser.addoption("--expertile", default="build/release/expertile", help="the binary to test, in its build folder")


def pytest_configure():
    """With pytest-xdist each worker, and what it starts, has two processors to itself."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker:
        all_processors = sorted(os.sched_getaffinity(0))
        first = 2 * int(worker.removeprefix("gw"))
        os.sched_setaffinity(0, {all_processors[(first + i) % len(all_processors)] for i in range(2)})


@pytest.fixture(scope="session")
def binary(pytestconfig):
    path = (ROOT / pytestconfig.getoption("--expertile")).resolve()
    assert path.exists(), f"{path} is not built"
    return path


@pytest.fixture(scope="session")
def build(binary):
    """The folder of the binary, the examples and CMake's files."""
    return binary.parent


@pytest.fixture(scope="session")
def sanitizer(build):
    """Of the build: "address,undefined", "thread" or nothing. Under one, code runs some ten times slower: smaller cases, not fewer."""
    cache = build / "CMakeCache.txt"
    found = re.search(r"^EXPERTILE_SANITIZE:\w+=(.*)$", cache.read_text(), re.MULTILINE) if cache.exists() else None
    return found[1] if found else ""
