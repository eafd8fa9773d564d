"""Weights that are NaN or infinite: a command that needs the logits ends with one line, and other rows keep their bits."""

import json

import numpy
import pytest
from cases import MODEL, read_safetensors
from test_bad_input import assert_refusal, shard_with

NAN, INFINITY = 0x7FC0, 0x7F80
EMBEDDING = "model.embed_tokens.weight"
HIDDEN = 192
TARGETS = ["cpu", "reference"]
ORIGIN = "first in the embedding of token 5 that goes into layer 0"


def set_element(folder, tensor, index, bits):
    """Writes one bfloat16 element of a checkpoint."""
    shard = shard_with(folder, tensor)
    data = bytearray(shard.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    entry = json.loads(data[8:start])[tensor]
    assert entry["dtype"] == "BF16"
    at = start + entry["data_offsets"][0] + 2 * index
    data[at : at + 2] = bits.to_bytes(2, "little")
    shard.write_bytes(data)


@pytest.fixture(params=[NAN, INFINITY], ids=["nan", "infinity"])
def damaged(request, model_copy):
    set_element(model_copy, EMBEDDING, 5 * HIDDEN, request.param)
    return model_copy


@pytest.fixture
def forward_of(expertile, tmp_path):
    """Runs forward on a checkpoint; returns the process and what it wrote."""

    def run(model, ids, *options):
        (tmp_path / "ids.json").write_text(json.dumps(ids))
        output = tmp_path / "out.safetensors"
        done = expertile("forward", model, "--input-ids", tmp_path / "ids.json", "-o", output, "--ctx-len", 64, *options)
        return done, read_safetensors(output)

    return run


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("options", [[], ["--moe-prefill-num-nsp", "4", "--prefill-seq-len", "3"]])
def test_forward_writes_all_rows_and_names_the_faulty_one(damaged, forward_of, target, options):
    ids = [8, 9, 10, 11, 12, 13, 14, 5]
    whole, expected = forward_of(MODEL, ids, "--target", target)
    assert (whole.returncode, whole.stderr) == (0, b"")
    done, written = forward_of(damaged, ids, "--target", target, *options)
    assert_refusal(done, ["sequence 0, position 7", ORIGIN], status=(1,))
    assert written["logits"][:7].tobytes() == expected["logits"][:7].tobytes()
    assert (written["argmax"][:7] == expected["argmax"][:7]).all()
    assert not numpy.isfinite(written["logits"][7]).all()


@pytest.mark.parametrize("target", TARGETS)
def test_a_prompt_of_faulty_tokens(damaged, forward_of, target):
    done, _ = forward_of(damaged, [5] * 24, "--target", target)
    assert_refusal(done, ["sequence 0, position 0", ORIGIN], status=(1,))
    done, _ = forward_of(damaged, [5] * 24, "--target", target, "--last-only")
    assert_refusal(done, ["sequence 0, position 23", ORIGIN], status=(1,))


def test_commands_that_read_text(model_copy, expertile, tmp_path):
    set_element(model_copy, "model.layers.2.input_layernorm.weight", 3, NAN)
    text = tmp_path / "text.txt"
    text.write_text("The quick brown fox")
    for command in (["run", "--prompt-file", text], ["eval", "--text-file", text]):
        done = expertile(command[0], model_copy, *command[1:], "--ctx-len", 64)
        assert_refusal(done, ["sequence 0, position", "first in layer 2"], status=(1,))


def test_a_damaged_program(expertile, tmp_path):
    """Bytes of a program that are no longer those that were written: no crash, and no silent NaN."""
    folder = tmp_path / "program"
    assert expertile("compile", MODEL, "--compile-dir", folder, "--ctx-len", 64).returncode == 0
    program = expertile("compile", MODEL, "--compile-dir", folder, "--ctx-len", 64).stdout.decode().split("\n")[-2]
    (tmp_path / "ids.json").write_text(json.dumps(list(range(8, 32))))
    for section in sorted((tmp_path / "program").glob("**/sections/*.bin")):
        whole = section.read_bytes()
        section.chmod(0o644)
        section.write_bytes(b"\xff" * len(whole))
        done = expertile("forward", program, "--input-ids", tmp_path / "ids.json", "-o", tmp_path / "out.safetensors")
        assert_refusal(done, ["sequence 0, position 0"], status=(1,))
        section.write_bytes(whole)
    done = expertile("forward", program, "--input-ids", tmp_path / "ids.json", "-o", tmp_path / "out.safetensors")
    assert (done.returncode, done.stderr) == (0, b"")
