"""expertile forward against what transformers computed."""

import json

import numpy
import pytest
from cases import ARGMAX_GAP, BFLOAT16_RELATIVE_L2, FLOAT32_RELATIVE_L2, MODEL, relative_l2

CONFIG = json.loads((MODEL / "config.json").read_text())
CASES = ["short", "one", "long", "window"]


@pytest.mark.parametrize("target", ["reference", "cpu"])
@pytest.mark.parametrize("case", CASES)
def test_logits(forward, golden, target, case):
    ids = golden.ids(case)
    out = forward(ids, "--target", target, "--dtype", "float32", "--moe-prefill-num-nsp", 5)
    assert set(out) == {"logits", "argmax"}
    logits = out["logits"]
    assert logits.shape == (len(ids), CONFIG["vocab_size"]) and logits.dtype == numpy.float32
    assert relative_l2(logits[-1], golden.tensors[case + ".logits_last"]) <= FLOAT32_RELATIVE_L2
    top2 = numpy.sort(logits, axis=1)[:, -2:]
    is_clear = top2[:, 1] - top2[:, 0] > ARGMAX_GAP
    assert is_clear.any()
    assert (out["argmax"] == golden.tensors[case + ".argmax"])[is_clear].all()
    assert (out["argmax"] == logits.argmax(axis=1)).all()


@pytest.mark.parametrize("target", ["reference", "cpu"])
def test_moe_layers(forward, golden, target):
    ids = golden.ids("short")
    out = forward(ids, "--target", target, "--dtype", "float32", "--dump-moe", "--prefill-seq-len", 4)
    T, H = len(ids), CONFIG["hidden_size"]
    E, K = CONFIG["num_experts"], CONFIG["num_experts_per_tok"]
    for layer in range(CONFIG["num_hidden_layers"]):
        name = f"layer.{layer}."
        for tensor in ("moe_in", "moe_out"):
            assert out[name + tensor].shape == (T, H)
            expected = golden.tensors[f"short.{name}{tensor}"]
            assert relative_l2(out[name + tensor], expected) <= FLOAT32_RELATIVE_L2, name + tensor
        topk_ids, weights = out[name + "topk_ids"], out[name + "topk_weights"]
        assert topk_ids.shape == weights.shape == (T, K)
        assert topk_ids.min() >= 0 and topk_ids.max() < E
        assert all(len(set(row)) == K for row in topk_ids.tolist())
        assert numpy.allclose(weights.sum(axis=1), 1.0, atol=1e-5)  # norm_topk_prob
        assert (numpy.diff(weights, axis=1) <= 0).all()


def test_last_only(forward, golden):
    ids = golden.ids("short")
    every = forward(ids)
    last = forward(ids, "--last-only")
    assert last["logits"].shape == (1, CONFIG["vocab_size"])
    assert last["logits"].tobytes() == every["logits"][-1:].tobytes()
    assert (last["argmax"] == every["argmax"]).all()


def test_bfloat16(forward, golden):
    logits = forward(golden.ids("long"), "--dtype", "bfloat16", "--last-only")["logits"]
    error = relative_l2(logits[0], golden.tensors["long.logits_last"])
    assert FLOAT32_RELATIVE_L2 < error <= BFLOAT16_RELATIVE_L2
