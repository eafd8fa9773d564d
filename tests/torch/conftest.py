"""The package of the build folder, and one thread for torch: the models are small."""

import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]


def pytest_configure(config):
    build = (ROOT / config.getoption("--expertile")).resolve().parent
    sys.path.insert(0, str(build / "python"))
    torch.set_num_threads(1)
