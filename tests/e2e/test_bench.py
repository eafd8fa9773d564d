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
