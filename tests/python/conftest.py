"""Fixtures of the tests of the Python package, which is imported from the build folder."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def pytest_configure(config):
    build = (ROOT / config.getoption("--expertile")).resolve().parent
    sys.path.insert(0, str(build / "python"))


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def models():
    return ROOT / "models"


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A compile cache for the session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def qwen(models, cache):
    """The tiny Qwen3-MoE, compiled with blocking on."""
    import expertile

    model = expertile.AutoModelForCausalLM.from_pretrained(models / "tiny-qwen3_moe")
    model.compile(
        prefill_seq_len=128, ctx_len=512, batch_size=2, num_cores=2, moe_prefill_num_nsp=8, cache_dir=cache, progress=False
    )
    return model


@pytest.fixture
def session(qwen):
    return qwen.session()
