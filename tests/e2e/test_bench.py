"""expertile bench: number formats of the MoE layer, and programs."""

import json

import pytest
from cases import MODEL
from test_bad_input import assert_refusal

MOE = ["bench", "moe", "--shape", "8,2,128,64", "--tokens", 32, "--runs", 1, "--json"]
EXPERT = 3 * 128 * 64  # weights of one
BITS = {"float32": 32, "bfloat16": 16, "mxfp6": 6.25, "mxfp4": 4.25}


@pytest.fixture
def bench(expertile):
    def run(*arguments):
        done = expertile(*arguments)
        assert (done.returncode, done.stderr) == (0, b""), done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("dtype, arithmetic", [
    ("float32", "float32"), ("bfloat16", "bfloat16"), ("bfloat16", "float32"),
    ("mxfp4", "float32"), ("mxfp4", "bfloat16"), ("mxfp6", "float32"), ("mxfp6", "bfloat16"),
])  # fmt: skip
def test_formats(bench, sanitizer, dtype, arithmetic):
    result = bench(*MOE, "--dtype", dtype, "--arithmetic", arithmetic)
    assert (result["dtype"], result["arithmetic"]) == (dtype, arithmetic)
    assert result["weight_bytes"] == 8 * EXPERT * BITS[dtype] / 8  # 32 tokens choose every expert
    assert result["seconds_median"] > 0 and 0 < result["fraction_of_roof"]
    if not sanitizer:  # it slows the layer and the roof's loops by different factors
        assert result["fraction_of_roof"] < 1.5


@pytest.mark.parametrize("dtype, arithmetic", [
    ("float32", "float32"), ("bfloat16", "bfloat16"), ("mxfp4", "float32"), ("mxfp6", "float32"),
])  # fmt: skip
def test_arithmetic_follows_the_weights(bench, dtype, arithmetic):
    assert bench(*MOE, "--dtype", dtype)["arithmetic"] == arithmetic


def test_refusals(expertile):
    assert_refusal(expertile(*MOE, "--dtype", "fp8"), ["dtype", "fp8", "mxfp4"], (2,))
    assert_refusal(expertile(*MOE, "--arithmetic", "mxfp4"), ["arithmetic", "mxfp4", "bfloat16"], (2,))
    assert_refusal(expertile(*MOE, "--arithmetic", "bfloat16"), ["arithmetic", "bfloat16", "float32"], (2,))
    odd = ["bench", "moe", "--shape", "8,2,100,64", "--dtype", "mxfp4"]
    assert_refusal(expertile(*odd), ["100", "32"], (2,))


def test_a_program_as_its_checkpoint(expertile, bench, tmp_path):
    options = ["--ctx-len", 64, "--prefill-seq-len", 16, "--moe-prefill-num-nsp", 4, "--mxfp6-matmul"]
    done = expertile("compile", MODEL, "--cache-dir", tmp_path / "cache", *options)
    program = done.stdout.decode().splitlines()[-1]
    size = ["--tokens", 20, "--decode-tokens", 2, "--runs", 1, "--json"]
    of_program = bench("bench", "model", program, *size)
    of_checkpoint = bench("bench", "model", MODEL, *size, *options)
    for key in ("layers", "tokens", "num_nsp", "dtype", "isa"):
        assert of_program[key] == of_checkpoint[key]
    flops = [each["prefill_tflops"] * each["prefill_seconds_median"] for each in (of_program, of_checkpoint)]
    assert flops[0] == pytest.approx(flops[1], rel=1e-9)
    assert of_program["model"] == program and of_program["prefill_tokens_per_second"] > 0
    assert_refusal(expertile("bench", "model", program, "--ctx-len", 5), ["--ctx-len"], (2,))


def test_recorded_routing(expertile, bench, tmp_path):
    config = json.loads((MODEL / "config.json").read_text())
    shape = [config[key] for key in ("num_experts", "num_experts_per_tok", "hidden_size", "moe_intermediate_size")]
    (tmp_path / "ids.json").write_text(json.dumps(list(range(20))))
    dump = tmp_path / "dump.safetensors"
    done = expertile("forward", MODEL, "--input-ids", tmp_path / "ids.json", "-o", dump, "--dump-moe")
    assert (done.returncode, done.stderr) == (0, b"")
    moe = ["bench", "moe", "--shape", ",".join(map(str, shape)), "--runs", 1, "--num-nsp", 4, "--json"]
    for layer in ([], ["--routing-layer", config["num_hidden_layers"] - 1]):
        result = bench(*moe, "--routing", dump, *layer)
        assert result["tokens"] == 20 and result["worker_imbalance"] >= 1 <= result["nsp_imbalance"]
    assert_refusal(expertile(*moe, "--routing", dump, "--routing-layer", 99), ["topk_ids", "99"], (2,))


def test_routing_in_json(expertile, bench, tmp_path):
    routing = tmp_path / "routing.json"
    hot = [[0, 4]] * 30 + [[-1, -1]]  # NSP 0 of 4 has everything
    routing.write_text(json.dumps(hot))
    result = bench(*MOE, "--routing", routing, "--num-nsp", 4)
    assert (result["tokens"], result["weight_bytes"]) == (31, 2 * EXPERT * 4)
    assert result["nsp_imbalance"] == pytest.approx(4)
    for bad in ([[0, 8]], [[0]], [[0, 1], [2]], [], {}, [[0, "1"]], [[0, 2**40]], [0, 1]):
        routing.write_text(json.dumps(bad))
        assert_refusal(expertile(*MOE, "--routing", routing), ["rout"], (2,))
