"""expertile eval against the loss that transformers computed."""

import json
import math

import pytest
from cases import FLOAT32_MEAN_NLL, MODEL


@pytest.mark.parametrize("target", ["reference", "cpu"])
@pytest.mark.parametrize("case", ["short", "long", "window"])
def test_mean_nll(expertile, golden, tmp_path, target, case):
    text = tmp_path / "text.txt"
    text.write_bytes(golden.cases[case]["text"].encode())
    done = expertile("eval", MODEL, "--text-file", text, "--json", "--target", target, "--dtype", "float32")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result) == {"tokens", "mean_nll", "perplexity", "tokens_per_second"}
    assert result["tokens"] == golden.cases[case]["tokens"]
    assert abs(result["mean_nll"] - golden.cases[case]["mean_nll"]) <= FLOAT32_MEAN_NLL
    assert math.isclose(result["perplexity"], math.exp(result["mean_nll"]), rel_tol=1e-12)
    assert result["tokens_per_second"] > 0
