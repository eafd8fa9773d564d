"""expertile bench: number formats of the MoE layer, and programs."""

import json

import pytest
from cases import MODEL, read_safetensors
from test_bad_input import assert_refusal

MOE = ["bench", "moe", "--shape", "8,2,128,64", "--tokens", 32, "--runs", 1, "--json"]
EXPERT = 3 * 128 * 64  # weights of one
BITS = {"float32": 32, "bfloat16": 16, "mxfp6": 6.25, "mxfp4": 4.25, "mxint8": 8.25}


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
    ("mxint8", "mxint8"),
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
    ("mxint8", "mxint8"),
])  # fmt: skip
def test_arithmetic_follows_the_weights(bench, dtype, arithmetic):
    assert bench(*MOE, "--dtype", dtype)["arithmetic"] == arithmetic


def test_refusals(expertile):
    assert_refusal(expertile(*MOE, "--dtype", "fp8"), ["dtype", "fp8", "mxfp4"], (2,))
    assert_refusal(expertile(*MOE, "--arithmetic", "mxfp4"), ["arithmetic", "mxfp4", "bfloat16"], (2,))
    assert_refusal(expertile(*MOE, "--arithmetic", "bfloat16"), ["arithmetic", "bfloat16", "float32"], (2,))
    for weights, arithmetic in (("mxint8", "bfloat16"), ("bfloat16", "mxint8"), ("float32", "mxint8")):
        assert_refusal(expertile(*MOE, "--dtype", weights, "--arithmetic", arithmetic), [weights, arithmetic], (2,))
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


STAGES = ["embed", "norms", "projections", "rope", "KV write", "attention", "router", "experts", "combine", "MLP",
          "residual adds", "LM head", "other"]  # fmt: skip


def check_stages(stages):
    assert [row["stage"] for row in stages] == STAGES
    assert sum(row["share"] for row in stages) == pytest.approx(1)
    for row in stages:
        assert row["seconds"] >= 0 and (row["bound"] is None) == (row["flops"] + row["bytes"] == 0)
        assert (row["fraction_of_roof"] is None) == (row["bound"] is None)


@pytest.mark.parametrize("target", ["cpu", "reference"])
def test_stages(bench, sanitizer, target):
    result = bench("bench", "model", MODEL, "--target", target, "--tokens", 100, "--prefill-seq-len", 64,
                   "--decode-tokens", 3, "--runs", 3, "--json")  # fmt: skip
    config = json.loads((MODEL / "config.json").read_text())
    layers, H, D = (config[key] for key in ("num_hidden_layers", "hidden_size", "head_dim"))
    width, kv_width = (config[key] * D for key in ("num_attention_heads", "num_key_value_heads"))
    for part in ("prefill", "decode"):
        check_stages(result[part + "_stages"])
        assert result[part + "_fraction_of_roof"] > 0  # a tiny model lies in the cache: no upper bound
    prefill, decode = ({row["stage"]: row for row in result[part + "_stages"]} for part in ("prefill", "decode"))
    assert prefill["attention"]["flops"] == layers * 4 * width * 100 * 101 / 2
    assert decode["attention"]["flops"] == layers * 4 * width * 102  # of the second of three tokens
    projections = layers * 2 * H * (2 * width + 2 * kv_width)
    assert (prefill["projections"]["flops"], decode["projections"]["flops"]) == (100 * projections, projections)
    experts = layers * config["num_experts_per_tok"] * 3 * H * config["moe_intermediate_size"]
    assert prefill["experts"]["flops"] == 2 * 100 * experts
    if target == "reference":
        assert decode["experts"]["bytes"] == 4 * experts
    # The prompt's second step reads its projections again; its head has one row.
    assert prefill["projections"]["bytes"] == 2 * decode["projections"]["bytes"]
    assert prefill["LM head"]["flops"] == decode["LM head"]["flops"] == 2 * H * config["vocab_size"]


def test_a_table_for_people(expertile):
    done = expertile("bench", "model", MODEL, "--tokens", 20, "--decode-tokens", 1, "--runs", 1)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    for stage in STAGES:
        assert sum(line.startswith(stage + " ") for line in lines) == 2, stage
    assert any(line.startswith("of the roof") and "attention too" in line for line in lines)
    assert any(line.startswith("imbalance") for line in lines)


def test_sweep(bench, expertile):
    sweep = [*MOE, "--sweep", "--num-cores", 2]
    result = bench(*sweep, "--skew", 1.2)
    blockings = [(row["num_nsp"], row["packed_chunk_size"]) for row in result["rows"]]
    assert len(set(blockings)) == len(blockings)
    assert {"none", 1, 2, 4, 8} == {num_nsp for num_nsp, _ in blockings}
    assert len({size for _, size in blockings}) >= 4
    assert min(row["ratio_to_best"] for row in result["rows"]) == 1
    chosen = [row for row in result["rows"] if row["is_auto"]]
    assert len(chosen) == 1 and chosen[0]["ratio_to_best"] == pytest.approx(1 + result["auto_excess"])
    assert all(row["worker_imbalance"] >= 1 for row in result["rows"])
    of_auto = bench(*MOE, "--num-cores", 2, "--num-nsp", "auto", "--packed-chunk-size", "auto")
    assert (of_auto["num_nsp"], of_auto["packed_chunk_size"]) == (chosen[0]["num_nsp"], chosen[0]["packed_chunk_size"])
    done = expertile(*[word for word in sweep if word != "--json"])
    assert done.returncode == 0 and done.stdout.decode().count("  auto\n") == 1
    assert_refusal(expertile(*sweep, "--num-nsp", 4), ["--sweep", "--num-nsp"], (2,))


def test_a_model_compiled_with_auto(bench):
    options = ["--num-cores", 2, "--tokens", 20, "--decode-tokens", 0, "--runs", 1, "--json"]
    auto = ["--moe-prefill-num-nsp", "auto", "--moe-prefill-packed-chunk-size", "auto"]
    result = bench("bench", "model", MODEL, *options, *auto)
    assert isinstance(result["num_nsp"], int) and result["worker_imbalance"] >= 1
    assert result["decode_stages"] == []


def test_routing_of_a_run(expertile, bench, tmp_path):
    config = json.loads((MODEL / "config.json").read_text())
    shape = [config[key] for key in ("num_experts", "num_experts_per_tok", "hidden_size", "moe_intermediate_size")]
    saved, dump, ids = (tmp_path / name for name in ("saved.safetensors", "dump.safetensors", "ids.json"))
    prompt = "First Citizen: before we proceed any further"
    done = expertile("run", MODEL, "--prompt", prompt, "-n", 3, "--prefill-seq-len", 4, "--save-routing", saved)
    assert done.returncode == 0
    tokens = json.loads(expertile("tokenize", MODEL, "--text", prompt, "--json").stdout)
    ids.write_text(json.dumps(tokens["ids"]))
    done = expertile("forward", MODEL, "--input-ids", ids, "-o", dump, "--dump-moe")
    assert (done.returncode, done.stderr) == (0, b"")
    routing, dumped = read_safetensors(saved), read_safetensors(dump)
    assert sorted(routing) == [f"layer.{i}.topk_ids" for i in range(config["num_hidden_layers"])]
    for name, chosen in routing.items():
        assert (chosen == dumped[name]).all()
    result = bench("bench", "moe", "--shape", ",".join(map(str, shape)), "--routing", saved, "--runs", 1, "--json")
    assert result["tokens"] == len(routing["layer.0.topk_ids"])
    done = expertile("run", MODEL, "--chat", "--prompt", prompt, "--save-routing", saved)
    assert_refusal(done, ["save-routing"], (2,))
    nowhere = tmp_path / "nowhere" / "saved.safetensors"
    done = expertile("run", MODEL, "--prompt", prompt, "-n", 3, "--save-routing", nowhere)
    assert_refusal(done, [nowhere], (1,))
    assert done.stdout == b"", "before the work starts"
    assert_refusal(expertile(*MOE, "--routing-layer", 0), ["--routing-layer", "--routing"], (2,))


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
    for row, named in (([0, 2**40], 2**40), ([2**64 - 1] * 2, 2**63 - 1), ([3, 3], "3 twice"), ([-1, 0], "padding")):
        routing.write_text(json.dumps([[0, 1], row]))
        assert_refusal(expertile(*MOE, "--routing", routing), [routing.name, "token 1", str(named)], (2,))
