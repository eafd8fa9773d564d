"""Sessions: the command's bits, sequences, KV state as arrays, the original's names."""

import json
import subprocess

import expertile
import numpy as np
import pytest

PROMPT = "First Citizen:\nBefore we proceed any further, hear me speak."


def read_tensor(path, name):
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    entry = json.loads(data[8:start])[name]
    first, last = entry["data_offsets"]
    return np.frombuffer(data[start + first : start + last], np.float32).reshape(entry["shape"])


@pytest.fixture
def ids(qwen):
    return qwen.tokenizer.encode(PROMPT)


@pytest.mark.parametrize("model", ["tiny-qwen3_moe", "tiny-gpt_oss", "tiny-granitemoe"])
def test_logits_are_the_commands(binary, models, tmp_path, model):
    ids = list(range(3, 90))
    (tmp_path / "ids.json").write_text(json.dumps(ids))
    out = tmp_path / "out.safetensors"
    options = ["--ctx-len", "128", "--prefill-seq-len", "32", "--moe-prefill-num-nsp", "5", "--num-cores", "2"]
    subprocess.run(
        [binary, "forward", models / model, "--input-ids", tmp_path / "ids.json", "--output", out, *options], check=True
    )
    program = expertile.Model.load(models / model).compile(
        None, ctx_len=128, prefill_seq_len=32, moe_prefill_num_nsp=5, num_cores=2
    )
    logits = expertile.Session(program).run([(0, ids)], all_logits=True)
    assert logits.tobytes() == read_tensor(out, "logits").tobytes()
    # Another blocking, a batch neighbour and single tokens: the same bits.
    session = expertile.Session(expertile.Model.load(models / model).compile(None, ctx_len=128, batch_size=2))
    session.run([(1, ids[:7]), (0, ids[:-1])])
    assert session.decode([(0, ids[-1:])])[0].tobytes() == logits[-1].tobytes()


def test_fork_and_truncate(session, ids):
    whole = session.run([(0, ids)])
    fork = session.fork(0)
    assert session.length(fork) == len(ids)
    session.truncate(fork, len(ids) - 5)
    assert session.run([(fork, ids[-5:])]).tobytes() == whole.tobytes()
    session.drop_sequence(fork)
    with pytest.raises(expertile.Error, match=f"sequence {fork}"):
        session.length(fork)


def test_padding_costs_nothing(session, ids):
    padded = np.concatenate((ids[:4], [-1, -1], ids[4:]))
    assert session.run([(0, padded)]).tobytes() == expected(session, ids)
    assert session.length(0) == len(ids)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint16, list])
def test_ids_of_any_type(session, ids, dtype):
    given = ids.tolist() if dtype is list else ids.astype(dtype)
    assert session.run([(0, given)]).tobytes() == expected(session, ids)


def expected(session, ids):
    session.clear(0)
    return session.run([(0, ids)]).tobytes()


def test_bad_rows_change_nothing(session, ids, qwen):
    session.run([(0, ids)])
    for rows, message in [
        ([(0, [1.5])], "expected a list of integers"),
        ([(0, [10**9])], "the vocabulary has"),
        ([(0, [2**40])], "beyond 32 bits"),
        ([(7, [1])], "sequence 7"),
        ([(0, [])], "no tokens"),
        ([(0, [1]), (0, [2])], "twice"),
        ([(0,)], "rows: "),
        ([0], "rows: "),
        ([(0, "text")], "expected a list of integers"),
    ]:
        with pytest.raises(expertile.Error, match=message):
            session.run(rows)
    assert session.length(0) == len(ids)


def test_kv_out_and_in(qwen, session, ids):
    session.run([(0, ids)])
    layers, deltas = session.read_kv(0)
    description = qwen.description
    assert len(layers) == description.num_layers and (deltas == 0).all()
    assert layers[0][0].shape == (description.num_kv_heads, len(ids), description.head_dim)
    other = qwen.session()
    other.write_kv(1, layers)
    assert other.length(1) == len(ids)
    assert other.decode([(1, [5])]).tobytes() == session.decode([(0, [5])]).tobytes()
    with pytest.raises(expertile.Error, match="expected an empty one"):
        other.write_kv(1, layers)
    for broken, message in [
        (layers[:-1], "layers, the model has"),
        ([(k[:, :, :-1], v) for k, v in layers], "the model has"),
        ([(k[:, :-1], v) for k, v in layers], "values, expected"),
    ]:
        with pytest.raises(expertile.Error, match=message):
            other.write_kv(0, broken)
        assert other.length(0) == 0


def test_kv_file(qwen, session, ids, tmp_path):
    session.run([(0, ids)])
    session.save_kv(0, tmp_path / "kv.safetensors")
    other = qwen.session()
    other.load_kv(0, tmp_path / "kv.safetensors")
    assert other.decode([(0, [5])]).tobytes() == session.decode([(0, [5])]).tobytes()


def test_named_io_hands_the_state_over(models, cache, qwen, ids):
    """Prefill in padded chunks, then decode in another program, the state going through arrays."""
    model = expertile.QEFFAutoModelForCausalLM.from_pretrained(models / "tiny-qwen3_moe")
    common = {"ctx_len": 256, "num_cores": 2, "cache_dir": cache}
    prefill = expertile.QAICInferenceSession(
        model.compile(prefill_seq_len=16, prefill_only=True, enable_chunking=True, moe_prefill_num_nsp=4, **common)
    )
    decode = expertile.QAICInferenceSession(model.compile(prefill_seq_len=1, **common))
    padded = -(-len(ids) // 16) * 16
    inputs = {"input_ids": np.zeros((1, padded), np.int64), "position_ids": np.full((1, padded), -1)}
    inputs["input_ids"][0, : len(ids)] = ids
    inputs["position_ids"][0, : len(ids)] = np.arange(len(ids))
    state = {}
    for first in range(0, padded, 16):
        chunk = {name: value[:, first : first + 16] for name, value in inputs.items()}
        outputs = prefill.run({**chunk, **state})
        state = {name.removesuffix("_RetainedState"): value for name, value in outputs.items() if name != "logits"}
    assert set(outputs) == set(prefill.output_names)
    expected = qwen.session()
    logits = expected.run([(0, ids)])
    for position in range(len(ids), len(ids) + 4):
        assert outputs["logits"][0, 0].tobytes() == logits[0].tobytes()
        token = int(outputs["logits"].argmax())
        # A copy of the state, which has to be read again, and then the arrays themselves, which have not.
        given = {name: value.copy() for name, value in state.items()} if position % 2 else state
        outputs = decode.run({"input_ids": [[token]], "position_ids": [[position]], **given})
        state = {name.removesuffix("_RetainedState"): value for name, value in outputs.items() if name != "logits"}
        logits = expected.decode([(0, [token])])


def test_named_io_refuses(models, cache, qwen):
    session = expertile.InferenceSession(qwen.program)
    for inputs, message in [
        ({"input_ids": [[1]]}, "position_ids: missing"),
        ({"input_ids": [[1]], "position_ids": [[3]]}, "from 3 on, sequence 0 holds 0"),
        ({"input_ids": [[1, 2]], "position_ids": [[0, 2]]}, "do not follow"),
        ({"input_ids": [[1]], "position_ids": [[-1]]}, "padding"),
        ({"input_ids": [[1]], "position_ids": [[0]], "mask": [1]}, "mask: no input"),
        ({"input_ids": [[1]], "position_ids": [[0]], "past_key.0": [1]}, "missing, while past_key.0"),
    ]:
        with pytest.raises(expertile.Error, match=message):
            session.run(inputs)
    session.skip_buffers(session.state_names)
    assert set(session.run({"input_ids": [[1]], "position_ids": [[0]]})) == {"logits"}


def test_evaluate(session, ids):
    told = []
    result = session.evaluate(ids, progress=lambda done, total: told.append((done, total)))
    assert result["scored_tokens"] == len(ids) - 1 and 0 < result["mean_nll"] < 20 and told[-1][0] == told[-1][1]


def test_nsp_load(session, ids, qwen):
    session.run([(0, ids)])
    load = session.nsp_load
    description = qwen.description
    assert load["rows"].sum() == len(ids) * description.experts_per_token * description.num_moe_layers
    assert len(load["busy_seconds"]) == 8
