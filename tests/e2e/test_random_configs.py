"""Any configuration of any family: reference, cpu and ONNX agree, and no blocking option changes a bit."""

import json
import random
import subprocess
import sys

import numpy
import onnxruntime
import pytest
from cases import FLOAT32_RELATIVE_L2, ROOT, read_safetensors, relative_l2

CONFIGS_PER_FAMILY = 6


def decoder(rng):
    """Fields that the families share. Sizes are no powers of two; heads may outgrow H."""
    num_kv_heads = rng.choice([1, 2, 3])
    num_experts = rng.choice([1, 4, 7, 12, 40])
    return {
        "vocab_size": rng.choice([97, 500]),
        "hidden_size": rng.choice([32, 72, 96]),
        "num_hidden_layers": rng.randint(1, 4),
        "num_key_value_heads": num_kv_heads,
        "num_attention_heads": num_kv_heads * rng.choice([1, 2, 4]),
        "head_dim": rng.choice([8, 16, 40]),
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-6,
        "rope_theta": rng.choice([10000.0, 150000.0]),
        "num_experts": num_experts,
        "num_experts_per_tok": rng.randint(1, min(8, num_experts)),
        "moe_intermediate_size": rng.choice([16, 24, 50]),
        "initializer_range": 0.15,
    }


def qwen3(rng):
    config = decoder(rng)
    sparse = {"decoder_sparse_step": rng.choice([1, 2]), "mlp_only_layers": rng.choice([[], [0], [1, 2]])}
    config |= sparse | {"intermediate_size": rng.choice([20, 64]), "attention_bias": rng.random() < 0.5}
    return config


def qwen3_moe(rng):
    config = qwen3(rng) | {"model_type": "qwen3_moe", "norm_topk_prob": rng.random() < 0.5}
    config |= {"tie_word_embeddings": rng.random() < 0.5, "torch_dtype": rng.choice(["float32", "bfloat16"])}
    return config | {"use_sliding_window": rng.random() < 0.5, "sliding_window": rng.choice([1, 5, 33])}


def qwen3_vl_moe(rng):
    text = qwen3(rng)
    text |= {"model_type": "qwen3_vl_moe_text", "dtype": rng.choice(["float32", "bfloat16"])}
    pairs = text["head_dim"] // 2
    text["rope_scaling"] = {"rope_type": "default", "mrope_section": [pairs - 2 * (pairs // 3), pairs // 3, pairs // 3]}
    vision = json.loads((ROOT / "models" / "tiny-qwen3_vl_moe" / "config.json").read_text())["vision_config"]
    vision |= {"depth": 2, "hidden_size": 32, "out_hidden_size": text["hidden_size"], "deepstack_visual_indexes": [1]}
    return {"model_type": "qwen3_vl_moe", "text_config": text, "vision_config": vision, "image_token_id": 3}


def gpt_oss(rng):
    config = decoder(rng) | {"model_type": "gpt_oss", "attention_bias": True, "tie_word_embeddings": False}
    config |= {"intermediate_size": rng.choice([32, 96]), "num_local_experts": config.pop("num_experts")}
    pattern = [rng.choice(["sliding_attention", "full_attention"]) for _ in range(config["num_hidden_layers"])]
    config |= {"layer_types": pattern, "sliding_window": rng.choice([1, 8, 50])}
    config["rope_scaling"] = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32}
    config["rope_scaling"]["truncate"] = rng.random() < 0.5
    if rng.random() < 0.7:
        config |= {"hidden_size": rng.choice([32, 96]), "quantization_config": {"quant_method": "mxfp4"}}
    return config


def granitemoe(rng):
    config = decoder(rng) | {"model_type": "granitemoe", "tie_word_embeddings": True}
    config |= {"num_local_experts": config.pop("num_experts"), "intermediate_size": rng.choice([16, 50])}
    config |= {"embedding_multiplier": 3.0, "residual_multiplier": 0.4, "attention_multiplier": 0.2}
    return config | {"logits_scaling": 2.5, "torch_dtype": rng.choice(["float32", "bfloat16"])}


def granitemoeshared(rng):
    return granitemoe(rng) | {"model_type": "granitemoeshared", "shared_intermediate_size": rng.choice([8, 34])}


def qwen2_moe(rng):
    config = qwen3(rng) | {"model_type": "qwen2_moe", "norm_topk_prob": rng.random() < 0.5}
    config |= {"qkv_bias": rng.random() < 0.7, "shared_expert_intermediate_size": rng.choice([8, 34])}
    return config | {"tie_word_embeddings": rng.random() < 0.5, "torch_dtype": rng.choice(["float32", "bfloat16"])}


FAMILIES = [qwen3_moe, gpt_oss, granitemoe, qwen3_vl_moe, granitemoeshared, qwen2_moe]


def last_logits(graph, ids, positions):
    """What a graph says of a prompt on empty caches."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(graph), options)
    inputs = {}
    for value in session.get_inputs():
        shape = [{"batch_size": 1, "seq_len": len(ids), "ctx_len": len(ids) + 1}.get(size, size) for size in value.shape]
        inputs[value.name] = numpy.zeros(shape, numpy.float32 if value.name.startswith("past") else numpy.int64)
    inputs["input_ids"][:] = ids
    inputs["position_ids"][:] = positions
    return session.run(["logits"], inputs)[0][0, 0]


def checkpoint_of(config, seed, folder):
    """A checkpoint of random weights, at folder/model."""
    (folder / "config.json").write_text(json.dumps(config))
    synthesize = [sys.executable, ROOT / "tools" / "synthesize", folder / "config.json", folder / "model"]
    subprocess.run([*synthesize, "--seed", str(seed)], check=True, stdout=subprocess.DEVNULL)
    return folder / "model"


def forward_of(expertile, model, ids, config):
    """logits(*options) of these ids; failures name the configuration."""
    folder = model.parent
    (folder / "ids.json").write_text(json.dumps(ids))

    def logits(*options):
        output = folder / "out.safetensors"
        done = expertile("forward", model, "--input-ids", folder / "ids.json", "-o", output, *options)
        assert (done.returncode, done.stderr) == (0, b""), config
        return read_safetensors(output)["logits"]

    return logits


def random_blocking(rng, text):
    num_experts = text.get("num_experts", text.get("num_local_experts"))
    return ["--moe-prefill-num-nsp", rng.randint(1, num_experts), "--moe-prefill-packed-chunk-size", rng.choice([1, 6])]


@pytest.mark.parametrize("seed", range(CONFIGS_PER_FAMILY))
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_any_configuration(expertile, tmp_path, family, seed):
    rng = random.Random(f"{family.__name__} {seed}")
    config = family(rng)
    text = config.get("text_config", config)
    ids = [rng.randrange(4, text["vocab_size"]) for _ in range(rng.choice([1, 9, 70, 130]))]
    logits = forward_of(expertile, checkpoint_of(config, seed, tmp_path), ids, config)
    blocked = random_blocking(rng, text)
    answers = {}
    for target in ("reference", "cpu"):
        answers[target] = logits("--target", target)
        chunked = logits("--target", target, *blocked, "--prefill-seq-len", rng.choice([7, 64]))
        assert answers[target].tobytes() == chunked.tobytes(), config
    assert relative_l2(answers["cpu"], answers["reference"]) <= FLOAT32_RELATIVE_L2, config

    blocked[-1] = rng.choice([len(ids), 1 + len(ids) // 3])
    graphs = ["export", tmp_path / "model", "-o", tmp_path / "graphs", "--onnx-sentinel", "in-bounds", "--prefill-only", "true"]
    graphs += rng.choice([[], ["--use-onnx-subfunctions"]]) + rng.choice([[], blocked])
    graphs += ["--skip-vision"] if "text_config" in config else []
    prompt = [*ids, 0]  # and a padded row
    done = expertile(*graphs, "--prefill-seq-len", len(prompt), "--ctx-len", len(prompt) + 1)
    assert (done.returncode, done.stderr) == (0, b""), config
    last = last_logits(tmp_path / "graphs" / "prefill.onnx", prompt, [*range(len(ids)), -1])
    assert relative_l2(last, answers["reference"][-1]) <= FLOAT32_RELATIVE_L2, config
