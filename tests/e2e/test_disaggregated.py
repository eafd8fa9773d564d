"""examples/disaggregated: two processes make the text that one makes."""

import os
import subprocess

import pytest
from cases import ROOT


@pytest.mark.parametrize("family", ["qwen3_moe", "gpt_oss", "granitemoe", "qwen3_vl_moe"])
def test_two_processes_make_the_text_of_one(expertile, build, tmp_path, family):
    if not (build / "disaggregated_prefill").exists():
        pytest.skip("the examples are not built")
    model = f"models/tiny-{family}"
    script = ROOT / "examples" / "disaggregated" / "run.sh"
    environment = os.environ | {"EXPERTILE_HOME": str(tmp_path), "BUILD": str(build)}
    command = [script, model, "examples/prompt.txt", "24"]
    apart = subprocess.run(command, capture_output=True, check=True, env=environment).stdout
    prompt = ["--prompt-file", ROOT / "examples" / "prompt.txt"]
    options = ["--max-new-tokens", 24, "--ignore-eos", "--no-statistics"]
    together = expertile("run", ROOT / model, *prompt, *options)
    assert together.returncode == 0
    assert apart == together.stdout
