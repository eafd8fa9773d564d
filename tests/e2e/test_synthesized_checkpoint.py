"""Checkpoints of tools/synthesize run."""

import json
import subprocess
import sys

import numpy
import pytest
from cases import ROOT, read_safetensors


@pytest.mark.parametrize("family", ["qwen3_moe", "gpt_oss", "granitemoe", "qwen3_vl_moe"])
def test_a_synthesized_checkpoint_gives_finite_logits(family, expertile, tmp_path):
    config = ROOT / "models" / f"tiny-{family}" / "config.json"
    command = [sys.executable, ROOT / "tools" / "synthesize", config, tmp_path / "model", "--layers", "2"]
    subprocess.run([*command, "--max-shard-bytes", "2000000"], check=True, stdout=subprocess.DEVNULL)
    (tmp_path / "ids.json").write_text(json.dumps([7 * i % 4000 for i in range(40)]))
    output = tmp_path / "out.safetensors"
    done = expertile("forward", tmp_path / "model", "--input-ids", tmp_path / "ids.json", "--output", output)
    assert (done.returncode, done.stderr) == (0, b"")
    logits = read_safetensors(output)["logits"]
    assert numpy.isfinite(logits).all()
    assert logits.std() > 1e-3
