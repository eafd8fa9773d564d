"""Checkpoints as people have them by mistake: the message says what is wrong with them, and what to do."""

import json
import shutil
import struct

import pytest
from cases import ROOT
from test_bad_input import GATE, assert_refusal, edit_header, edit_json, shard_with

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 4996000\n"


def inspect(expertile, folder):
    return expertile("inspect", folder, "--json")


@pytest.mark.parametrize(
    "name",
    ["model-00001-of-00002.safetensors", "model.safetensors.index.json", "config.json", "generation_config.json"],
)
def test_git_lfs_pointer(expertile, model_copy, name):
    (model_copy / name).write_text(POINTER)
    assert_refusal(inspect(expertile, model_copy), [model_copy / name, "Git LFS pointer", "git lfs pull"], status=(1,))


def test_git_lfs_pointer_of_what_a_user_names(expertile, model_copy, tmp_path):
    pointer = tmp_path / "pointer"
    pointer.write_text(POINTER)
    says = [pointer, "Git LFS pointer"]
    assert_refusal(expertile("run", model_copy, "--prompt-file", pointer), says, status=(1,))
    assert_refusal(expertile("eval", model_copy, "--text-file", pointer), says, status=(1,))
    vision = ROOT / "models" / "tiny-qwen3_vl_moe"
    assert_refusal(expertile("run", vision, "-p", "a", "--image", pointer), says, status=(1,))
    (model_copy / "tokenizer.json").write_text(POINTER)
    assert_refusal(expertile("tokenize", model_copy, "--text", "a"), ["tokenizer.json", "Git LFS"], status=(1,))


def test_folder_in_the_place_of_a_file(expertile, model_copy, tmp_path):
    says = [tmp_path, "a folder, expected a file"]
    assert_refusal(expertile("run", model_copy, "--prompt-file", tmp_path), says, status=(1,))
    assert_refusal(expertile("eval", model_copy, "--text-file", tmp_path), says, status=(1,))


def test_folder_that_is_not_there(expertile):
    for command in (["inspect"], ["run", "-p", "a"], ["tokenize", "--text", "a"], ["compile"]):
        done = expertile(command[0], "Qwen/Qwen3-30B-A3B", *command[1:])
        assert_refusal(done, ["Qwen/Qwen3-30B-A3B: no such folder", "not downloaded"], status=(1,))


def test_what_is_no_checkpoint(expertile, model_copy, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert_refusal(inspect(expertile, empty), [empty, "config.json", "empty"], status=(1,))
    file = model_copy / "model-00001-of-00002.safetensors"
    assert_refusal(inspect(expertile, file), [file, "a file, expected the folder"], status=(1,))
    for name in model_copy.glob("*.safetensors*"):
        name.unlink()
    (model_copy / "pytorch_model.bin").write_bytes(b"PK")
    assert_refusal(inspect(expertile, model_copy), ["pytorch_model.bin", "safetensors"], status=(1,))


def test_missing_shards_are_all_named(expertile, model_copy):
    for name in model_copy.glob("*.safetensors"):
        name.unlink()
    says = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "2 of its 2 files"]
    assert_refusal(inspect(expertile, model_copy), says, status=(1,))


@pytest.mark.parametrize("dtype, size", [("U16", 2), ("U64", 8), ("C64", 8), ("F8_E4M3", 1), ("F4", 1), ("new", 3)])
def test_extra_tensor_of_an_unknown_dtype(expertile, model_copy, dtype, size):
    before = json.loads(inspect(expertile, model_copy).stdout)
    header = {"extra": {"dtype": dtype, "shape": [1], "data_offsets": [0, size]}}
    text = json.dumps(header).encode()
    (model_copy / "extra.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"x" * size)
    edit_json(
        model_copy / "model.safetensors.index.json",
        lambda index: index["weight_map"].update(extra="extra.safetensors"),
    )
    assert json.loads(inspect(expertile, model_copy).stdout) == before


def test_needed_tensor_of_an_unknown_dtype(expertile, model_copy):
    edit_header(shard_with(model_copy, GATE), lambda header: header[GATE].update(dtype="F8_E4M3"))
    assert_refusal(inspect(expertile, model_copy), [GATE, "F8_E4M3", "BF16"], status=(1,))


def test_config_that_only_python_reads(expertile, model_copy):
    config = model_copy / "config.json"
    text = config.read_text().rstrip()
    config.write_text(text[:-1] + ', "a": NaN, "b": [Infinity, -Infinity], "a": {"c": 1e999}}')
    assert inspect(expertile, model_copy).returncode == 0
    config.write_text(text[:-1] + ', "rope_theta": NaN}')
    assert_refusal(inspect(expertile, model_copy), ["rope_theta", "NaN"], status=(1,))


def test_quantised_checkpoints(expertile, model_copy):
    quantised = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    edit_json(model_copy / "config.json", lambda config: config.update(quantization_config=quantised))
    assert_refusal(inspect(expertile, model_copy), ["quant_method fp8", "bfloat16"], status=(1,))
    edit_json(model_copy / "config.json", lambda config: config.update(quantization_config=None))
    assert inspect(expertile, model_copy).returncode == 0


def test_quantised_tensors_without_a_word_in_the_config(expertile, model_copy):
    name = "model.layers.0.self_attn.q_proj"
    edit_header(
        shard_with(model_copy, name + ".weight"),
        lambda header: header.update({name + ".qweight": header.pop(name + ".weight")}),
    )
    edit_json(
        model_copy / "model.safetensors.index.json",
        lambda index: index["weight_map"].update({name + ".qweight": index["weight_map"].pop(name + ".weight")}),
    )
    assert_refusal(inspect(expertile, model_copy), [name + ".qweight", "gptq or awq", "bfloat16"], status=(1,))


def test_names_that_disagree(expertile, model_copy):
    edit_json(model_copy / "config.json", lambda config: config.update(num_local_experts=10**12))
    says = ["num_experts: 32", "num_local_experts: 1000000000000"]
    assert_refusal(inspect(expertile, model_copy), says, status=(1,))


def test_gpt_oss_without_rope_scaling(expertile, tmp_path):
    """Leaving rope_scaling out is the same as writing transformers' default."""
    model = shutil.copytree(ROOT / "models" / "tiny-gpt_oss", tmp_path / "model")
    ids = tmp_path / "ids.json"
    ids.write_text(json.dumps(list(range(5, 25))))
    default = {
        "rope_type": "yarn",
        "factor": 32.0,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "truncate": False,
        "original_max_position_embeddings": 4096,
    }
    outputs = []
    for scaling in (default, None, {}, {"rope_type": "default"}):
        edit_json(model / "config.json", lambda config, value=scaling: config.update(rope_scaling=value))
        output = tmp_path / "out.safetensors"
        done = expertile("forward", model, "--input-ids", ids, "--output", output)
        assert done.returncode == 0, done.stderr
        outputs.append(output.read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]
    assert outputs[0] != outputs[3]


@pytest.mark.parametrize("text, options", [("a", ()), ("", ()), ("a longer text", ("--ctx-len", 1))])
def test_nothing_to_score(expertile, model_copy, tmp_path, text, options):
    path = tmp_path / "text.txt"
    path.write_text(text)
    assert_refusal(expertile("eval", model_copy, "--text-file", path, *options), ["predicts the next"])
