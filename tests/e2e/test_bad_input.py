"""Bad input: one line on standard error that says which file, tensor or option and both values."""

import json
import os
import struct

import pytest
from cases import MODEL

SHARD = "model-00001-of-00002.safetensors"
GATE = "model.layers.0.mlp.gate.weight"


@pytest.fixture
def refused(expertile, tmp_path):
    """Runs forward into a file; asserts the form of the refusal, and that nothing was written."""

    def run(*says, model=MODEL, ids="[1,2,3]", options=(), output=None, status=(1, 2)):
        ids_file = tmp_path / "ids.json"
        ids_file.write_text(ids)
        folder = tmp_path / "out"
        folder.mkdir(exist_ok=True)
        output = output or folder / "out.safetensors"
        done = expertile("forward", model, "--input-ids", ids_file, "--output", output, *options)
        assert_refusal(done, says, status)
        assert not os.listdir(folder)

    return run


def assert_refusal(done, says, status=(1, 2)):
    message = done.stderr.decode()
    assert done.returncode in status, message
    assert done.stdout == b""
    assert message.startswith("expertile: ") and message.endswith("\n") and message.count("\n") == 1
    for fact in says:
        assert str(fact) in message, f"{message!r} does not say {fact}"


def shard_with(folder, tensor):
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    return folder / index["weight_map"][tensor]


def edit_header(shard, edit):
    """Replaces a shard's header by what `edit` makes of it; the data stay."""
    data = shard.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    edit(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    shard.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])


def edit_json(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_truncated_shard(refused, model_copy):
    shard = model_copy / SHARD
    size = shard.stat().st_size
    os.truncate(shard, size - 1)
    refused(SHARD, model=model_copy)
    os.truncate(shard, 5)
    refused(SHARD, 5, model=model_copy)
    os.truncate(shard, 0)
    refused(SHARD, 0, model=model_copy)


@pytest.mark.parametrize("beyond", [1, 2**40, 2**63, 2**64 - 9])
def test_header_length_beyond_the_file(refused, model_copy, beyond):
    shard = model_copy / SHARD
    data = bytearray(shard.read_bytes())
    length = min(len(data) + beyond, 2**64 - 1)
    data[:8] = struct.pack("<Q", length)
    shard.write_bytes(data)
    refused(SHARD, length, model=model_copy)


def test_overlapping_offsets(refused, model_copy):
    shard = shard_with(model_copy, GATE)

    def move(header):
        first, last = header[GATE]["data_offsets"]
        header[GATE]["data_offsets"] = [first - 2, last - 2]

    edit_header(shard, move)
    refused(shard.name, model=model_copy)


def test_offsets_out_of_range(refused, model_copy):
    shard = shard_with(model_copy, GATE)
    far = shard.stat().st_size

    def move(header):
        first, last = header[GATE]["data_offsets"]
        header[GATE]["data_offsets"] = [far, far + last - first]

    edit_header(shard, move)
    refused(shard.name, GATE, far, model=model_copy)


def test_missing_tensor(refused, model_copy):
    shard = shard_with(model_copy, GATE)
    edit_header(shard, lambda header: header.update(renamed=header.pop(GATE)))
    edit_json(
        model_copy / "model.safetensors.index.json",
        lambda index: index["weight_map"].update(renamed=index["weight_map"].pop(GATE)),
    )
    refused(GATE, model=model_copy)


def test_missing_shard(refused, model_copy):
    (model_copy / SHARD).unlink()
    refused(SHARD, model=model_copy)


def test_wrong_shape(refused, model_copy):
    edit_header(shard_with(model_copy, GATE), lambda header: header[GATE].update(shape=[16, 384]))
    refused(GATE, "[16,384]", "[32,192]", model=model_copy)


def test_unknown_model_type(refused, model_copy):
    edit_json(model_copy / "config.json", lambda config: config.update(model_type="nobody_moe"))
    refused("config.json", "nobody_moe", "qwen3_moe", model=model_copy)


@pytest.mark.parametrize("key, value", [("hidden_size", -1), ("num_experts", "many"), ("num_experts_per_tok", 33)])
def test_wrong_value_in_config(refused, model_copy, key, value):
    edit_json(model_copy / "config.json", lambda config: config.update({key: value}))
    refused("config.json", key, value, model=model_copy)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1,}', "\udcff", "[" * 100000])
def test_invalid_json(refused, model_copy, name, content):
    (model_copy / name).write_bytes(content.encode(errors="surrogateescape"))
    refused(name, model=model_copy)


def test_invalid_tokenizer_json(expertile, model_copy):
    (model_copy / "tokenizer.json").write_text("{")
    assert_refusal(expertile("tokenize", model_copy, "--text", "a"), ["tokenizer.json"])
    assert_refusal(expertile("run", model_copy, "--prompt", "a"), ["tokenizer.json"])


def test_no_model(refused, tmp_path):
    refused(tmp_path / "nowhere", model=tmp_path / "nowhere")


@pytest.mark.parametrize(
    "option, value, says",
    [
        ("--moe-prefill-num-nsp", 0, ["num", "0", "1 to"]),
        ("--moe-prefill-num-nsp", 33, ["moe_prefill_num_nsp", "33", "1 to 32"]),
        ("--moe-prefill-num-nsp", "some", ["num", "some", "auto"]),
        ("--moe-prefill-packed-chunk-size", 0, ["moe_prefill_packed_chunk_size", "0", "1"]),
        ("--prefill-seq-len", 0, ["prefill_seq_len", "0", "1"]),
        ("--prefill-seq-len", "9" * 30, ["prefill_seq_len", "1073741824"]),
        ("--ctx-len", 0, ["ctx_len", "0", "1"]),
        ("--ctx-len", 4097, ["ctx_len", "4097", "4096"]),
        ("--batch-size", -1, ["batch_size", "-1", "1"]),
        ("--batch-size", "two", ["batch-size", "two"]),
        ("--num-cores", -1, ["num_cores", "-1"]),
        ("--target", "abacus", ["target", "abacus", "reference"]),
        ("--dtype", "float8", ["dtype", "float8", "bfloat16"]),
        ("--num-devices", 2, ["num_devices", "cpu"]),
        ("--no-such-option", 1, ["no-such-option"]),
    ],
)
def test_invalid_option_value(refused, option, value, says):
    refused(*says, options=[option, value])


def test_unhonoured_option(refused):
    refused("use_onnx_subfunctions", "cpu", options=["--use-onnx-subfunctions"])


def test_usage_is_status_2(expertile):
    for arguments in ([], ["fly"], ["run"], ["run", MODEL], ["forward", MODEL]):
        assert_refusal(expertile(*arguments), [], status=(2,))


def test_prompt_longer_than_ctx_len(refused):
    refused("ctx_len", 9, 8, ids=json.dumps([1] * 9), options=["--ctx-len", 8])


@pytest.mark.parametrize("ids, says", [("[4096]", [4096]), ("[-1]", [-1]), ("[1,4294967296]", [4294967296])])
def test_token_id_out_of_the_vocabulary(refused, ids, says):
    refused(*says, ids=ids)


@pytest.mark.parametrize("ids", ["[]", "", "{}", "[1,", '["a"]', "[1.5]"])
def test_no_list_of_ids(refused, ids):
    refused(ids=ids)


def test_empty_prompt(expertile):
    assert_refusal(expertile("run", MODEL, "--prompt", ""), ["prompt"])


def test_missing_files(expertile, refused, tmp_path):
    nowhere = tmp_path / "nowhere"
    assert_refusal(expertile("run", MODEL, "--prompt-file", nowhere), [nowhere], status=(1,))
    assert_refusal(expertile("eval", MODEL, "--text-file", nowhere), [nowhere], status=(1,))
    refused(nowhere / "out.safetensors", output=nowhere / "out.safetensors", status=(1,))


def test_output_that_is_a_folder(refused, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    refused(folder, output=folder, status=(1,))
    assert not os.listdir(folder)
