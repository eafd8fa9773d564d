"""Families with a shared expert: the reference target against the formulas of transformers' models, in NumPy."""

import json
import random
import subprocess
import sys

import numpy
import pytest
from cases import FLOAT32_RELATIVE_L2, ROOT, read_safetensors, relative_l2

IDS = [7, 3, 60, 11, 42, 7, 19, 88, 2, 5]
SHAPE = {
    "vocab_size": 97,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "num_experts_per_tok": 3,
    "initializer_range": 0.2,
    "torch_dtype": "float32",
    "tie_word_embeddings": True,
}


def softmax(x):
    e = numpy.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + numpy.exp(-x))


def rms_norm(x, weight, config):
    return x / numpy.sqrt((x * x).mean(-1, keepdims=True) + config["rms_norm_eps"]) * weight


def rotate(x, config):
    """x [T, heads, D]: the rotate-half convention."""
    T, _, D = x.shape
    frequencies = config["rope_theta"] ** -(numpy.arange(0, D, 2) / D)
    angles = numpy.arange(T)[:, None] * frequencies
    angles = numpy.concatenate([angles, angles], -1)[:, None]
    turned = numpy.concatenate([-x[..., D // 2 :], x[..., : D // 2]], -1)
    return x * numpy.cos(angles) + turned * numpy.sin(angles)


def attention(x, w, name, config, scale):
    T, H = x.shape
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]

    def project(part, num_heads):
        y = x @ w[f"{name}.{part}_proj.weight"].T + w.get(f"{name}.{part}_proj.bias", 0)
        return y.reshape(T, num_heads, H // heads)

    query, key = rotate(project("q", heads), config), rotate(project("k", kv_heads), config)
    key, value = (numpy.repeat(y, heads // kv_heads, 1) for y in (key, project("v", kv_heads)))
    scores = numpy.einsum("thd,shd->hts", query, key) * scale
    scores += numpy.triu(numpy.full((T, T), -numpy.inf), 1)
    return numpy.einsum("hts,shd->thd", softmax(scores), value).reshape(T, H) @ w[f"{name}.o_proj.weight"].T


def gated(x, gate, up, down):
    a = x @ gate.T
    return (a * sigmoid(a) * (x @ up.T)) @ down.T


def experts_of(w, name, x, weights, ids):
    """sum over k of weights[t,k] expert(ids[t,k])(x[t]); `name` gives an expert's three matrices."""
    y = numpy.zeros_like(x)
    for t, row in enumerate(ids):
        for k, e in enumerate(row):
            y[t] += weights[t, k] * gated(x[t], *name(w, e))
    return y


def qwen2_mlp(x, w, layer, config):
    """Qwen2MoeSparseMoeBlock; Qwen2MoeMLP in dense layers."""

    def matrices(name):
        return [w[f"{name}.{part}_proj.weight"] for part in ("gate", "up", "down")]

    mlp = layer + "mlp"
    if f"{mlp}.gate.weight" not in w:
        return gated(x, *matrices(mlp))
    scores = softmax(x @ w[f"{mlp}.gate.weight"].T)
    ids = numpy.argsort(-scores, -1)[:, : config["num_experts_per_tok"]]
    weights = numpy.take_along_axis(scores, ids, -1)
    if config["norm_topk_prob"]:
        weights /= weights.sum(-1, keepdims=True)
    y = experts_of(w, lambda w, e: matrices(f"{mlp}.experts.{e}"), x, weights, ids)
    gate = sigmoid(x @ w[f"{mlp}.shared_expert_gate.weight"].T)
    return y + gate * gated(x, *matrices(f"{mlp}.shared_expert"))


def granite_mlp(x, w, layer, config):
    """GraniteMoeSharedMoE plus GraniteMoeSharedMLP."""

    def matrices(name, down):
        return [*numpy.split(name, 2), down]

    moe = layer + "block_sparse_moe."
    logits = x @ w[moe + "router.layer.weight"].T
    ids = numpy.argsort(-logits, -1)[:, : config["num_experts_per_tok"]]
    weights = softmax(numpy.take_along_axis(logits, ids, -1))
    gate_up, down = w[moe + "input_linear.weight"], w[moe + "output_linear.weight"]
    y = experts_of(w, lambda w, e: matrices(gate_up[e], down[e]), x, weights, ids)
    shared = layer + "shared_mlp."
    return y + gated(x, *matrices(w[shared + "input_linear.weight"], w[shared + "output_linear.weight"]))


def logits_of(ids, w, config, mlp):
    head_dim = config["hidden_size"] // config["num_attention_heads"]
    scale = config.get("attention_multiplier", head_dim**-0.5)
    residual = config.get("residual_multiplier", 1.0)
    x = w["model.embed_tokens.weight"][ids] * config.get("embedding_multiplier", 1.0)
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        normed = rms_norm(x, w[layer + "input_layernorm.weight"], config)
        x = x + residual * attention(normed, w, layer + "self_attn", config, scale)
        normed = rms_norm(x, w[layer + "post_attention_layernorm.weight"], config)
        x = x + residual * mlp(normed, w, layer, config)
    x = rms_norm(x, w["model.norm.weight"], config)
    return x @ w["model.embed_tokens.weight"].T / config.get("logits_scaling", 1.0)


QWEN2 = {
    "model_type": "qwen2_moe",
    "num_experts": 6,
    "moe_intermediate_size": 10,
    "shared_expert_intermediate_size": 14,
    "intermediate_size": 22,
    "mlp_only_layers": [1],
    "norm_topk_prob": False,
}
GRANITE = {
    "model_type": "granitemoeshared",
    "num_local_experts": 6,
    "intermediate_size": 10,
    "shared_intermediate_size": 14,
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.4,
    "attention_multiplier": 0.3,
    "logits_scaling": 2.5,
}
CASES = {
    "qwen2_moe": (QWEN2, qwen2_mlp),
    "qwen2_moe, normalized": (QWEN2 | {"norm_topk_prob": True, "qkv_bias": False}, qwen2_mlp),
    "granitemoeshared": (GRANITE, granite_mlp),
}


@pytest.mark.parametrize("case", CASES)
def test_reference_computes_the_formulas(expertile, tmp_path, case):
    fields, mlp = CASES[case]
    config = SHAPE | fields
    (tmp_path / "config.json").write_text(json.dumps(config))
    synthesize = [sys.executable, ROOT / "tools" / "synthesize", tmp_path / "config.json", tmp_path / "model"]
    subprocess.run([*synthesize, "--seed", "5"], check=True, stdout=subprocess.DEVNULL)
    weights = read_safetensors(tmp_path / "model" / "model.safetensors")
    weights = {name: values.astype(numpy.float64) for name, values in weights.items()}
    (tmp_path / "ids.json").write_text(json.dumps(IDS))
    output = tmp_path / "out.safetensors"
    for target in ("reference", "cpu"):
        command = ["forward", tmp_path / "model", "--input-ids", tmp_path / "ids.json", "-o", output, "--target", target]
        done = expertile(*command)
        assert (done.returncode, done.stderr) == (0, b"")
        assert relative_l2(read_safetensors(output)["logits"], logits_of(IDS, weights, config, mlp)) <= FLOAT32_RELATIVE_L2


@pytest.mark.parametrize("case", ["qwen2_moe", "granitemoeshared"])
def test_a_program_is_the_checkpoint(expertile, tmp_path, case):
    """Shared experts packed, opened, counted, and in every number format the same bits whatever the blocking."""
    config = SHAPE | CASES[case][0]
    (tmp_path / "config.json").write_text(json.dumps(config))
    synthesize = [sys.executable, ROOT / "tools" / "synthesize", tmp_path / "config.json", tmp_path / "model"]
    subprocess.run([*synthesize, "--seed", "6"], check=True, stdout=subprocess.DEVNULL)
    described = expertile("inspect", tmp_path / "model", "--json")
    assert described.returncode == 0, described.stderr
    tensors = read_safetensors(tmp_path / "model" / "model.safetensors")
    assert json.loads(described.stdout)["num_parameters"] == sum(values.size for values in tensors.values())
    (tmp_path / "ids.json").write_text(json.dumps([random.Random(case).randrange(97) for _ in range(40)]))
    output = tmp_path / "out.safetensors"

    def logits(model, *options):
        done = expertile("forward", model, "--input-ids", tmp_path / "ids.json", "-o", output, *options)
        assert (done.returncode, done.stderr) == (0, b"")
        return read_safetensors(output)["logits"].tobytes()

    for formats in ([], ["--dtype", "bfloat16"], ["--mxfp6-matmul"], ["--dtype", "bfloat16", "--mxfp6-matmul"]):
        options = [*formats, "--ctx-len", 64]
        done = expertile("compile", tmp_path / "model", "--cache-dir", tmp_path / "cache", *options)
        assert done.returncode == 0, done.stderr
        answer = logits(done.stdout.decode().splitlines()[-1])
        assert logits(tmp_path / "model", *options) == answer
        blocked = ["--moe-prefill-num-nsp", 4, "--moe-prefill-packed-chunk-size", 5, "--prefill-seq-len", 7]
        assert logits(tmp_path / "model", *options, *blocked) == answer
