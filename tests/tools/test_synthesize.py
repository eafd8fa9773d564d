import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

ROOT = Path(__file__).resolve().parents[2]
SYNTHESIZE = ROOT / "tools" / "synthesize"
FAMILIES = ["qwen3_moe", "gpt_oss", "granitemoe", "qwen3_vl_moe"]
SIZES = {"F32": 4, "BF16": 2, "U8": 1}

SMALL = {
    "model_type": "qwen3_moe",
    "torch_dtype": "bfloat16",
    "vocab_size": 96,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 80,
    "moe_intermediate_size": 48,
    "num_experts": 5,
    "num_experts_per_tok": 2,
}


def synthesize(*arguments, memory_kib=None):
    limit = f"ulimit -v {memory_kib}; " if memory_kib else ""
    command = ["bash", "-c", limit + 'exec "$@"', "bash", sys.executable, str(SYNTHESIZE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def write_config(folder, **changes):
    path = folder / "shape.json"
    config = {**SMALL, **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return path


def read_header(path):
    """The header of a safetensors file, after checking what the format demands of it."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        text = file.read(size)
    assert len(text) == size and size % 8 == 0 and text[:1] == b"{"
    header = json.loads(text)
    header.pop("__metadata__")
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = entry["data_offsets"]
        width = SIZES[entry["dtype"]]
        assert first == end and first % width == 0, name
        assert last - first == width * math.prod(entry["shape"]), name
        end = last
    assert path.stat().st_size == 8 + size + end
    return header, 8 + size


def read_checkpoint(folder):
    """Name to (dtype, shape, bytes), through the index where there is one."""
    shards = sorted(folder.glob("*.safetensors"))
    tensors, holders = {}, {}
    for shard in shards:
        header, start = read_header(shard)
        data = shard.read_bytes()
        for name, entry in header.items():
            first, last = entry["data_offsets"]
            assert name not in tensors
            tensors[name] = (entry["dtype"], entry["shape"], data[start + first : start + last])
            holders[name] = shard.name
    index = folder / "model.safetensors.index.json"
    assert index.exists() == (len(shards) > 1)
    if index.exists():
        content = json.loads(index.read_text())
        assert content["weight_map"] == holders
        assert content["metadata"]["total_size"] == sum(len(data) for _, _, data in tensors.values())
    return tensors


def bfloat16_values(data):
    return (numpy.frombuffer(data, numpy.uint16).astype(numpy.uint32) << 16).view(numpy.float32)


@pytest.mark.parametrize("family", FAMILIES)
def test_tensors_are_those_of_a_real_checkpoint(family, tmp_path):
    model = ROOT / "models" / f"tiny-{family}"
    done = synthesize(model / "config.json", tmp_path / "out", "--tokenizer", model)
    assert (done.returncode, done.stderr) == (0, "")
    kinds = [{n: t[:2] for n, t in read_checkpoint(folder).items()} for folder in (model, tmp_path / "out")]
    assert kinds[0] == kinds[1]
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == json.loads((model / "config.json").read_text())
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (tmp_path / "out" / name).read_bytes() == (model / name).read_bytes()


def test_dense_layers_biases_and_tied_embeddings(tmp_path):
    layers = {"num_hidden_layers": 4, "decoder_sparse_step": 2, "mlp_only_layers": [1]}
    config = write_config(tmp_path, attention_bias=True, tie_word_embeddings=True, **layers)
    assert synthesize(config, tmp_path / "out").returncode == 0
    tensors = read_checkpoint(tmp_path / "out")
    moe = [i for i in range(4) if f"model.layers.{i}.mlp.gate.weight" in tensors]
    dense = [i for i in range(4) if f"model.layers.{i}.mlp.gate_proj.weight" in tensors]
    assert (moe, dense) == ([3], [0, 1, 2])
    assert tensors["model.layers.0.mlp.down_proj.weight"][1] == [64, 80]
    assert [tensors[f"model.layers.0.self_attn.{p}_proj.bias"][1] for p in "qkvo"] == [[128], [64], [64], [64]]
    assert "lm_head.weight" not in tensors


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_weights_are_normal_and_norms_one(dtype, tmp_path):
    config = write_config(tmp_path, torch_dtype=dtype, vocab_size=40000, num_hidden_layers=1, initializer_range=0.04)
    assert synthesize(config, tmp_path / "out").returncode == 0
    tensors = read_checkpoint(tmp_path / "out")
    read = bfloat16_values if dtype == "bfloat16" else lambda data: numpy.frombuffer(data, numpy.float32)
    values = read(tensors["model.embed_tokens.weight"][2]).astype(float)  # more than one block
    assert abs(values.mean()) < 1e-4
    assert abs(values.std() - 0.04) < 0.001
    assert numpy.abs(values).max() < 0.16
    shares = [numpy.mean(numpy.abs(values) < k * 0.04) for k in (1, 2)]
    assert numpy.allclose(shares, [0.683, 0.954], atol=0.01)
    rows = values.reshape(-1, 64)
    assert len(numpy.unique(rows, axis=0)) == len(rows)
    assert set(read(tensors["model.norm.weight"][2])) == {1.0}


def test_mxfp4_weights_have_the_same_size(tmp_path):
    model = ROOT / "models" / "tiny-gpt_oss"
    assert synthesize(model / "config.json", tmp_path / "out").returncode == 0
    tensors = read_checkpoint(tmp_path / "out")
    name = "model.layers.0.mlp.experts.gate_up_proj_"
    codes = numpy.frombuffer(tensors[name + "blocks"][2], numpy.uint8).reshape(-1, 16)
    scales = numpy.frombuffer(tensors[name + "scales"][2], numpy.uint8).astype(int)
    magnitudes = numpy.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    decoded = numpy.concatenate([magnitudes[codes & 7], magnitudes[codes >> 4 & 7]], axis=1)
    weights = decoded * numpy.exp2(scales - 127)[:, None]
    assert 0.01 < numpy.sqrt(numpy.mean(weights**2)) < 0.04


def test_seed_and_nothing_else_decides_the_bytes(tmp_path):
    config = write_config(tmp_path)
    outs = {}
    for name, options in {
        "one": ["--seed", 1],
        "again": ["--seed", 1],
        "shards": ["--seed", 1, "--max-shard-bytes", 50000],
        "fewer": ["--seed", 1, "--layers", 2],
        "other": ["--seed", 2],
    }.items():
        assert synthesize(config, tmp_path / name, *options).returncode == 0
        outs[name] = read_checkpoint(tmp_path / name)
    assert outs["one"] == outs["again"] == outs["shards"]
    assert outs["fewer"].items() < outs["one"].items()
    weight = "model.layers.0.mlp.experts.4.up_proj.weight"
    assert outs["other"][weight] != outs["one"][weight] != outs["one"][weight.replace("4", "3")]
    shards = list((tmp_path / "shards").glob("*.safetensors"))
    assert len(shards) > 2 and all(shard.stat().st_size < 60000 for shard in shards)
    # Checkpoints that were measured must be made again bit for bit, on any machine.
    digest = hashlib.sha256(b"".join(data for _, (_, _, data) in sorted(outs["one"].items()))).hexdigest()
    assert digest == "0fe70d6910221c7080f7eaf536c5d10b79875e50acdf495478414aca071946a8"


def test_layers_cuts_the_lists_by_layer(tmp_path):
    config = ROOT / "tools" / "shapes" / "gpt-oss-20b.json"
    sizes = {"vocab_size": 8, "num_local_experts": 1, "hidden_size": 32, "intermediate_size": 32}
    (tmp_path / "shape.json").write_text(json.dumps(json.loads(config.read_text()) | sizes))
    assert synthesize(tmp_path / "shape.json", tmp_path / "out", "--layers", 3).returncode == 0
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written["num_hidden_layers"] == 3
    assert written["layer_types"] == ["sliding_attention", "full_attention", "sliding_attention"]
    done = synthesize(tmp_path / "shape.json", tmp_path / "more", "--layers", 25)
    assert done.returncode == 1 and "25" in done.stderr and "24 entries" in done.stderr


def test_memory_does_not_grow_with_the_checkpoint(tmp_path):
    # Address space, so an upper bound of memory: the interpreter, and some blocks of a million weights.
    config = write_config(tmp_path, vocab_size=600000, num_hidden_layers=1, torch_dtype="float32")
    done = synthesize(config, tmp_path / "out", memory_kib=64 * 1024)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out" / "model.safetensors").stat().st_size > 256 << 20


@pytest.mark.parametrize(
    "changes, facts",
    [
        ({"model_type": "llama"}, ["model_type", "llama", "qwen3_moe"]),
        ({"hidden_size": None}, ["hidden_size", "missing"]),
        ({"num_experts": -1}, ["num_experts", "-1"]),
        ({"num_experts": 2.5}, ["num_experts", "2.5"]),
        ({"attention_bias": 1}, ["attention_bias", "1"]),
        ({"torch_dtype": "float16"}, ["torch_dtype", "float16", "bfloat16"]),
        ({"initializer_range": 0}, ["initializer_range", "0"]),
        ({"model_type": "gpt_oss", "hidden_size": 80, "quantization_config": {"quant_method": "mxfp4"}}, ["80", "32"]),
        ({"num_hidden_layers": 1, "vocab_size": 2**31 - 1, "hidden_size": 2**31 - 1}, ["bytes", "free"]),
    ],
)
def test_a_bad_config_is_one_line_and_writes_nothing(changes, facts, tmp_path):
    config = write_config(tmp_path, **changes)
    done = synthesize(config, tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith("synthesize: ") and done.stderr.count("\n") == 1
    assert all(fact in done.stderr for fact in facts), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["shape.json"]


def test_output_must_be_new_or_empty(tmp_path):
    config = write_config(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    assert synthesize(config, out).returncode == 0
    before = sorted(out.iterdir())
    done = synthesize(config, out)
    assert done.returncode == 1 and str(out) in done.stderr
    assert sorted(out.iterdir()) == before


def test_a_stopped_run_leaves_nothing(tmp_path):
    config = write_config(tmp_path, vocab_size=4000000)
    with subprocess.Popen([sys.executable, str(SYNTHESIZE), str(config), str(tmp_path / "out")]) as process:
        while process.poll() is None and not list(tmp_path.glob(".out.*/*.safetensors")):
            pass
        process.terminate()
        assert process.wait() != 0
    assert [path.name for path in tmp_path.iterdir()] == ["shape.json"]


@pytest.mark.parametrize(
    "shape, num_parameters",
    [("qwen3-30b-a3b", 30.5), ("gpt-oss-20b", 20.9), ("gpt-oss-120b", 116.8), ("granite-3b-a800m", 3.3)],
)
def test_shapes_have_the_published_number_of_parameters(shape, num_parameters):
    config = ROOT / "tools" / "shapes" / f"{shape}.json"
    code = f"""
import importlib.machinery, importlib.util, pathlib, sys
loader = importlib.machinery.SourceFileLoader("synthesize", {str(SYNTHESIZE)!r})
sys.dont_write_bytecode = True
module = importlib.util.module_from_spec(importlib.util.spec_from_loader("synthesize", loader))
sys.modules["synthesize"] = module
loader.exec_module(module)
tensors = module.list_tensors(module.read_config(pathlib.Path({str(config)!r})))
per_element = {{module.MXFP4_CODES: 2, module.MXFP4_SCALES: 0}}
print(sum(t.num_elements * per_element.get(t.content, 1) for t in tensors) / 1e9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(num_parameters, rel=0.015)
