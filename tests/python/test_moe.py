"""expertile.moe and expertile.dispatch on NumPy arrays, against their definitions."""

import re

import expertile
import numpy as np
import pytest

E, K, H, I, T = 10, 3, 24, 40, 37


def silu(x):
    return x / (1 + np.exp(-x))


def clamped_swiglu(gate, up, limit, alpha):
    gate = np.minimum(gate, limit)
    return (np.clip(up, -limit, limit) + 1) * gate / (1 + np.exp(-alpha * gate))


def reference(layer, hidden, ids, weights, act=lambda gate, up: silu(gate) * up):
    out = np.zeros(hidden.shape)
    for t, k in np.ndindex(ids.shape):
        if ids[t, k] < 0:
            continue
        expert = {name: array[ids[t, k]].astype(np.float64) for name, array in layer.items()}
        both = expert["gate_up"] @ hidden[t] + expert.get("gate_up_bias", 0)
        y = expert["down"] @ act(both[:I], both[I:]) + expert.get("down_bias", 0)
        out[t] += weights[t, k] * y
    return out


@pytest.fixture
def case():
    random = np.random.default_rng(7)
    layer = {
        "gate_up": random.normal(size=(E, 2 * I, H)).astype(np.float32),
        "down": random.normal(size=(E, H, I)).astype(np.float32),
    }
    ids = np.array([random.permutation(E)[:K] for _ in range(T)])
    weights = random.random((T, K)).astype(np.float32)
    return layer, random.normal(size=(T, H)).astype(np.float32), ids, weights


def is_close(actual, expected):
    return np.linalg.norm(actual - expected) <= 1e-5 * np.linalg.norm(expected)


def test_the_definition(case):
    layer, hidden, ids, weights = case
    out = expertile.moe(hidden, layer["gate_up"], layer["down"], ids, weights, num_nsp=4, packed_chunk_size=8)
    assert out.dtype == np.float32 and is_close(out, reference(layer, hidden, ids, weights))


@pytest.mark.parametrize("num_nsp", [None, 1, 3, 10, "auto"])
@pytest.mark.parametrize("packed_chunk_size", [1, 7, 256])
def test_one_answer(case, num_nsp, packed_chunk_size):
    layer, hidden, ids, weights = case
    expected = expertile.Experts(**layer, num_nsp=4)(hidden, ids, weights)
    for num_cores in (1, 3):
        experts = expertile.Experts(**layer, num_nsp=num_nsp, packed_chunk_size=packed_chunk_size, num_cores=num_cores)
        assert experts(hidden, ids, weights).tobytes() == expected.tobytes()
        rows = [experts(hidden[t : t + 1], ids[t : t + 1], weights[t : t + 1]) for t in range(T)]
        assert np.concatenate(rows).tobytes() == expected.tobytes()


def test_layouts(case):
    layer, hidden, ids, weights = case
    expected = expertile.Experts(**layer)(hidden, ids, weights).tobytes()
    turned = {name: np.ascontiguousarray(array.transpose(0, 2, 1)) for name, array in layer.items()}
    assert expertile.Experts(**turned, is_transposed=True)(hidden, ids, weights).tobytes() == expected
    views = {name: array.transpose(0, 2, 1) for name, array in turned.items()}
    assert expertile.Experts(**views)(hidden, ids, weights).tobytes() == expected
    mixed = layer["gate_up"].reshape(E, 2, I, H).transpose(0, 2, 1, 3).reshape(E, 2 * I, H)
    experts = expertile.Experts(mixed, layer["down"], is_concatenated=False)
    assert experts(hidden, ids, weights).tobytes() == expected
    assert experts.packing_seconds > 0 and experts.num_bytes >= 4 * 3 * E * H * I


def test_bias_and_clamped_swiglu(case):
    layer, hidden, ids, weights = case
    random = np.random.default_rng(8)
    layer["gate_up_bias"] = random.normal(size=(E, 2 * I)).astype(np.float32)
    layer["down_bias"] = random.normal(size=(E, H)).astype(np.float32)
    out = expertile.Experts(**layer, clamped_swiglu=(2.0, 1.702))(hidden, ids, weights)
    assert is_close(out, reference(layer, hidden, ids, weights, lambda g, u: clamped_swiglu(g, u, 2.0, 1.702)))


def test_padding_and_no_tokens(case):
    layer, hidden, ids, weights = case
    ids[5] = -1
    out = expertile.moe(hidden, layer["gate_up"], layer["down"], ids, weights)
    assert (out[5] == 0).all() and is_close(out, reference(layer, hidden, ids, weights))
    assert expertile.moe(hidden[:0], layer["gate_up"], layer["down"], ids[:0], weights[:0]).shape == (0, H)


def test_packed_once_only_where_nothing_can_change(case):
    from expertile.experts import packed_experts

    layer, hidden, ids, weights = case
    gate_up, down = layer["gate_up"], layer["down"]
    before = expertile.moe(hidden, gate_up, down, ids, weights)
    gate_up *= 2
    assert not np.allclose(expertile.moe(hidden, gate_up, down, ids, weights), before)
    gate_up.setflags(write=False)
    down.setflags(write=False)
    assert packed_experts(gate_up, down, num_nsp=2) is packed_experts(gate_up, down, num_nsp=2)
    assert packed_experts(gate_up, down, num_nsp=2) is not packed_experts(gate_up, down, num_nsp=3)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"num_nsp": 11}, "11"),
        ({"num_nsp": 0}, "0"),
        ({"packed_chunk_size": 0}, "packed_chunk_size: 0"),
        ({"dtype": "float8"}, "dtype: float8"),
        ({"down": np.zeros((E, H, I + 1), np.float32)}, f"down: shape [{E},{H},{I + 1}], expected [{E},{H},{I}]"),
        ({"down": np.zeros((E, H, I))}, "down: expected float32 or bfloat16"),
        ({"down_bias": np.zeros((E, H), np.float32)}, "1 biases"),
    ],
)
def test_bad_layers(case, change, message):
    with pytest.raises(expertile.Error, match=re.escape(message)):
        expertile.Experts(**{**case[0], **change})


def test_bad_tokens(case):
    layer, hidden, ids, weights = case
    experts = expertile.Experts(**layer)
    for given, message in [
        ((hidden[:, :-1], ids, weights), "hidden: shape"),
        ((hidden, ids[:-1], weights), "topk_ids: shape"),
        ((hidden, ids + E, weights), "expert"),
        ((hidden, ids, weights[:, :-1]), "topk_weights: shape"),
        ((hidden, ids + 2**40, weights), "beyond 32 bits"),
        ((hidden, ids.astype(float), weights), "topk_ids: float64"),
        ((hidden, ids, weights.astype(complex)), "topk_weights: complex"),
        ((hidden, ids[:, 0], weights), "topk_ids: int64 of shape"),
        ((hidden[None], ids, weights), "hidden: shape"),
        ((hidden.astype(np.float64), ids, weights), "hidden: expected float32"),
    ]:
        with pytest.raises(expertile.Error, match=message):
            experts(*given)


def test_any_order_and_bytes(case):
    """Arrays that are strided, read-only, or of the other byte order."""
    layer, hidden, ids, weights = case
    experts = expertile.Experts(**layer)
    expected = experts(hidden, ids, weights).tobytes()
    hidden.setflags(write=False)
    for rows in (hidden, np.asfortranarray(hidden), hidden.astype(">f4"), np.repeat(hidden, 2, 0)[::2]):
        assert experts(rows, ids.astype(np.uint16), np.asfortranarray(weights)).tobytes() == expected
    with pytest.raises(TypeError):
        experts(hidden, ids, weights, out=hidden)


def test_placement():
    placed = expertile.dispatch.placement(10, 4)
    assert (placed.nsp == np.arange(10) % 4).all() and (placed.slot == np.arange(10) // 4).all()
    assert placed.table.tolist() == [[0, 4, 8], [1, 5, 9], [2, 6, -1], [3, 7, -1]]
    with pytest.raises(expertile.Error, match="11"):
        expertile.dispatch.placement(10, 11)


def test_matched_index_and_chunks(case):
    ids = case[2]
    ids[3] = -1
    matched = expertile.dispatch.matched_index(ids, E)
    for expert in range(E):
        assert matched.of(expert).tolist() == np.flatnonzero(ids.reshape(-1) == expert).tolist()
    plan = expertile.dispatch.chunk_plan(ids, E, num_nsp=4, packed_chunk_size=5)
    covered = []
    for nsp in range(4):
        for i in range(plan.nsp_offsets[nsp], plan.nsp_offsets[nsp + 1]):
            assert plan.nsp[i] == nsp == plan.expert[i] % 4 and plan.slot[i] == plan.expert[i] // 4
            rows = matched.assignments[plan.begin[i] : plan.end[i]]
            assert 1 <= len(rows) <= 5 and (ids.reshape(-1)[rows] == plan.expert[i]).all()
            covered += rows.tolist()
    assert sorted(covered) == np.flatnonzero(ids.reshape(-1) >= 0).tolist()
    balance = expertile.dispatch.balance(ids, E, num_nsp=4, packed_chunk_size=5, num_workers=2)
    rows = [((ids >= 0) & (ids % 4 == nsp)).sum() for nsp in range(4)]
    assert balance.nsp_rows.tolist() == rows and balance.num_chunks == len(plan)
    assert balance.nsp_imbalance == pytest.approx(max(rows) / np.mean(rows)) and balance.worker_imbalance >= 1
    with pytest.raises(expertile.Error):
        expertile.dispatch.chunk_plan(ids + E, E, 4)
