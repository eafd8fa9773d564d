"""expertile inspect: what config.json and the shards say, and where the experts lie."""

import json

import pytest
from cases import MODEL

CONFIG = json.loads((MODEL / "config.json").read_text())
E = CONFIG["num_experts"]


def inspect(expertile, *options):
    done = expertile("inspect", MODEL, "--json", *options)
    assert (done.returncode, done.stderr) == (0, b"")
    return json.loads(done.stdout)


def test_description(expertile):
    shown = inspect(expertile)
    same = {
        "model_type": "model_type",
        "num_layers": "num_hidden_layers",
        "vocab_size": "vocab_size",
        "hidden_size": "hidden_size",
        "num_heads": "num_attention_heads",
        "num_kv_heads": "num_key_value_heads",
        "head_dim": "head_dim",
        "num_experts": "num_experts",
        "experts_per_token": "num_experts_per_tok",
        "moe_intermediate_size": "moe_intermediate_size",
        "max_positions": "max_position_embeddings",
        "checkpoint_dtype": "torch_dtype",
    }
    assert {ours: shown[ours] for ours in same} == {ours: CONFIG[theirs] for ours, theirs in same.items()}
    index = json.loads((MODEL / "model.safetensors.index.json").read_text())
    assert shown["checkpoint_bytes"] == index["metadata"]["total_size"]
    assert shown["num_parameters"] == shown["checkpoint_bytes"] // 2
    idle = CONFIG["num_hidden_layers"] * (E - CONFIG["num_experts_per_tok"])
    expert = 3 * CONFIG["hidden_size"] * CONFIG["moe_intermediate_size"]
    unread = (CONFIG["vocab_size"] - 1) * CONFIG["hidden_size"]  # a token reads one embedding
    assert shown["num_active_parameters"] == shown["num_parameters"] - idle * expert - unread


@pytest.mark.parametrize("num_nsp", [1, 5, 16, E])
def test_placement(expertile, num_nsp):
    placement = inspect(expertile, "--moe-prefill-num-nsp", num_nsp)["placement"]
    assert placement["num_nsp"] == num_nsp
    assert placement["local_experts"] == -(-E // num_nsp)
    assert placement["experts"] == [list(range(nsp, E, num_nsp)) for nsp in range(num_nsp)]


def test_readable(expertile):
    done = expertile("inspect", MODEL, "--moe-prefill-num-nsp", 16)
    assert done.returncode == 0
    assert "E = 32, K = 4" in done.stdout.decode()
    assert "NSP  15: 15 31" in done.stdout.decode()
