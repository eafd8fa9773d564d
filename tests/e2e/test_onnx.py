"""expertile export: graphs that the ONNX checker passes and that onnxruntime runs as the reference runs."""

import collections
import functools
import json
import subprocess
import sys

import numpy
import onnx
import onnxruntime
import pytest
from cases import FLOAT32_RELATIVE_L2, ROOT, read_safetensors, relative_l2

FAMILIES = ["qwen3_moe", "gpt_oss", "granitemoe", "qwen3_vl_moe"]
CTX_LEN = 64
PROMPT = [(37 * i + 5) % 4000 for i in range(30)]


def config_of(family):
    config = json.loads((ROOT / "models" / f"tiny-{family}" / "config.json").read_text())
    return config.get("text_config", config)


def num_experts_of(config):
    return config.get("num_experts") or config["num_local_experts"]


@pytest.fixture
def export(expertile, tmp_path):
    """Exports; returns the folder of the graphs."""

    def run(family, *options, sentinel="in-bounds"):
        folder = tmp_path / "graphs"
        command = ["export", ROOT / "models" / f"tiny-{family}", "-o", folder, "--ctx-len", CTX_LEN]
        skip = ["--skip-vision"] if "vl" in family else []
        done = expertile(*command, "--onnx-sentinel", sentinel, *skip, *options)
        assert (done.returncode, done.stderr) == (0, b"")
        assert {path.name for path in folder.iterdir()} == {"export.json", "prefill.onnx", "decode.onnx"}
        assert done.stdout.decode().split() == [str(folder / "prefill.onnx"), str(folder / "decode.onnx")]
        return folder

    return run


@pytest.fixture(scope="session")
def reference(expertile, tmp_path_factory):
    """The reference's logits of a family's model, [T,V]; many graphs are compared with the same."""
    folder = tmp_path_factory.mktemp("reference")

    @functools.cache
    def logits(family, ids):
        (folder / "ids.json").write_text(json.dumps(ids))
        output = folder / "reference.safetensors"
        model = ROOT / "models" / f"tiny-{family}"
        done = expertile("forward", model, "--input-ids", folder / "ids.json", "-o", output, "--target", "reference")
        assert done.returncode == 0, done.stderr
        return read_safetensors(output)["logits"]

    return lambda family, ids: logits(family, tuple(ids))


class Runner:
    """Graphs in onnxruntime, and the caches that go from one to the next."""

    def __init__(self, family, batch_size=1):
        config = config_of(family)
        self.is_mrope = "vl" in family
        head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        shape = (batch_size, config["num_key_value_heads"], CTX_LEN, head_dim)
        names = [f"past_{part}.{i}" for i in range(config["num_hidden_layers"]) for part in ("key", "value")]
        # What a cache holds before it is written must not matter.
        self.caches = {name: numpy.full(shape, 3.0, numpy.float32) for name in names}

    def run(self, session, ids, positions):
        positions = numpy.array(positions, numpy.int64)
        inputs = {"input_ids": numpy.array(ids, numpy.int64), **self.caches}
        inputs["position_ids"] = numpy.stack([positions] * 4) if self.is_mrope else positions
        names = [output.name for output in session.get_outputs()]
        outputs = dict(zip(names, session.run(None, inputs)))
        self.caches = {name: outputs[name + "_RetainedState"] for name in self.caches}
        return outputs["logits"]


def session_of(path):
    onnx.checker.check_model(str(path), full_check=False)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # the graph as it is
    return onnxruntime.InferenceSession(str(path), options)


def padded(ids, first, size):
    """A chunk of ids and its positions, padded to `size`."""
    padding = size - len(ids)
    return ids + [0] * padding, list(range(first, first + len(ids))) + [-1] * padding


BLOCKING = {
    "off": [],
    "one NSP": ["--moe-prefill-num-nsp", 1],
    "N does not divide E, P not T": ["--moe-prefill-num-nsp", 5, "--moe-prefill-packed-chunk-size", 5],
    "rows one by one": ["--moe-prefill-num-nsp", 8, "--moe-prefill-packed-chunk-size", 1],
    "off, layers as functions": ["--use-onnx-subfunctions"],
    "layers as functions": ["--moe-prefill-num-nsp", 5, "--moe-prefill-packed-chunk-size", 5, "--use-onnx-subfunctions"],
    "one expert an NSP": ["--moe-prefill-num-nsp", 16, "--moe-prefill-packed-chunk-size", 256],
}


@pytest.mark.parametrize("blocking", BLOCKING)
@pytest.mark.parametrize("family", FAMILIES)
def test_prefill_in_chunks_then_decode(export, reference, family, blocking):
    chunk = 8
    folder = export(family, "--prefill-seq-len", chunk, *BLOCKING[blocking])
    prefill, decode = session_of(folder / "prefill.onnx"), session_of(folder / "decode.onnx")
    expected = reference(family, PROMPT)
    runner = Runner(family)
    for first in range(0, 20, chunk):
        ids = PROMPT[first : min(first + chunk, 20)]
        tokens, positions = padded(ids, first, chunk)
        logits = runner.run(prefill, [tokens], [positions])
        assert logits.shape[:2] == (1, 1)
        assert relative_l2(logits[0, 0], expected[first + len(ids) - 1]) <= FLOAT32_RELATIVE_L2
    for i in range(20, 25):
        logits = runner.run(decode, [[PROMPT[i]]], [[i]])
        assert relative_l2(logits[0, 0], expected[i]) <= FLOAT32_RELATIVE_L2


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_of_two_lengths(export, reference, family):
    chunk = 6
    prompts = [PROMPT[:11], PROMPT[15:19]]
    blocking = ["--moe-prefill-num-nsp", 3, "--moe-prefill-packed-chunk-size", 4]
    folder = export(family, "--prefill-seq-len", chunk, "--batch-size", 2, *blocking)
    prefill, decode = session_of(folder / "prefill.onnx"), session_of(folder / "decode.onnx")
    expected = [reference(family, prompt + [9, 8]) for prompt in prompts]
    runner = Runner(family, batch_size=2)
    last = [None, None]
    for first in range(0, 12, chunk):
        chunks = [padded(prompt[first : first + chunk], first, chunk) for prompt in prompts]
        logits = runner.run(prefill, [ids for ids, _ in chunks], [positions for _, positions in chunks])
        for b, prompt in enumerate(prompts):
            if first < len(prompt) <= first + chunk:
                last[b] = logits[b, 0]
    for b, prompt in enumerate(prompts):
        assert relative_l2(last[b], expected[b][len(prompt) - 1]) <= FLOAT32_RELATIVE_L2
    for i, token in enumerate([9, 8]):
        logits = runner.run(decode, [[token]] * 2, [[len(prompt) + i] for prompt in prompts])
        for b, prompt in enumerate(prompts):
            assert relative_l2(logits[b, 0], expected[b][len(prompt) + i]) <= FLOAT32_RELATIVE_L2


@pytest.mark.parametrize("sentinel", ["int32max", "in-bounds"])
@pytest.mark.parametrize("family", FAMILIES)
def test_structure(export, family, sentinel):
    T, N, P = 12, 5, 5
    blocking = ["--moe-prefill-num-nsp", N, "--moe-prefill-packed-chunk-size", P]
    folder = export(family, "--prefill-seq-len", T, *blocking, sentinel=sentinel)
    config = config_of(family)
    layers = config["num_hidden_layers"]
    graph = onnx.load(folder / "prefill.onnx").graph
    count = collections.Counter(node.op_type for node in graph.node)
    L, C = -(-num_experts_of(config) // N), -(-T // P)
    assert count["CtxScatter3DInt"] == layers * L
    assert count["CtxGather3D"] == layers * 3 * L * C
    assert count["CtxScatter3D"] == layers * L * C
    assert count["CtxScatter"] == 2 * layers
    for model in (onnx.load(folder / "prefill.onnx"), onnx.load(folder / "decode.onnx")):
        ops = {node.op_type for node in model.graph.node} | {n.op_type for f in model.functions for n in f.node}
        assert not ops & {"Sin", "Cos", "ReduceSum", "SplitToSequence", "Clip"}
        retained = [output.name for output in model.graph.output if output.name.endswith("_RetainedState")]
        assert len(retained) == 2 * layers
        made = {name for node in model.graph.node for name in node.output}
        used = {name for node in model.graph.node for name in node.input}
        outputs = {output.name for output in model.graph.output}
        assert made - {name for name in made if name.endswith("_indices")} <= used | outputs, "a dangling node"
        assert {weight.name for weight in model.graph.initializer} <= used, "an unused initialiser"
        assert {value.name for value in model.graph.input} <= used, "an unused input"
        assert outputs <= made
        assert len(made) == sum(len(node.output) for node in model.graph.node), "a name made twice"


def test_layers_as_functions(export):
    """One function for each distinct decoder layer, with what the layer's nodes were; nothing of it outside."""
    T, N, P = 12, 5, 5
    blocking = ["--moe-prefill-num-nsp", N, "--moe-prefill-packed-chunk-size", P, "--use-onnx-subfunctions"]
    for family in FAMILIES:
        config = config_of(family)
        layers, L, C = config["num_hidden_layers"], -(-num_experts_of(config) // N), -(-T // P)
        folder = export(family, "--prefill-seq-len", T, *blocking)
        for name in ("prefill", "decode"):
            model = onnx.load(folder / f"{name}.onnx")
            onnx.checker.check_model(model, full_check=True)
            (function,) = [f for f in model.functions if f.domain == "expertile"]
            assert function.name.endswith("DecoderLayer")
            calls = [node for node in model.graph.node if node.domain == "expertile"]
            assert [call.op_type for call in calls] == [function.name] * layers
            assert [call.name.split("/")[2] for call in calls] == [f"layers.{i}" for i in range(layers)]
            count = collections.Counter(node.op_type for node in function.node)
            assert count["Sin"] == count["Cos"] == 0 and count["CtxScatter"] == 2
            if name == "prefill":
                assert (count["CtxScatter3DInt"], count["CtxGather3D"], count["CtxScatter3D"]) == (L, 3 * L * C, L * C)
            made = {output for node in function.node for output in node.output}
            used = {value for node in function.node for value in node.input}
            assert set(function.input) <= used and set(function.output) <= made
            assert {v for v in made if not v.startswith("TopK")} <= used | set(function.output), "a dangling node"
            used = {value for node in model.graph.node for value in node.input}
            assert {weight.name for weight in model.graph.initializer} <= used, "an unused initialiser"


def test_layers_that_differ_have_functions_of_their_own(expertile, tmp_path):
    """Dense layers among MoE layers: two functions, and what the reference computes."""
    config = config_of("qwen3_moe") | {"num_hidden_layers": 4, "mlp_only_layers": [1, 2], "intermediate_size": 96}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = tmp_path / "model"
    command = [sys.executable, ROOT / "tools" / "synthesize", tmp_path / "config.json", model]
    subprocess.run(command, check=True, capture_output=True)
    shapes = ["--ctx-len", CTX_LEN, "--prefill-seq-len", 8, "--moe-prefill-num-nsp", 3]
    done = expertile("export", model, "-o", tmp_path / "graphs", *shapes, "--onnx-sentinel", "in-bounds", "--use-onnx-subfunctions")
    assert (done.returncode, done.stderr) == (0, b"")
    graph = onnx.load(tmp_path / "graphs" / "prefill.onnx")
    calls = [node.op_type for node in graph.graph.node if node.domain == "expertile"]
    moe, dense = "Qwen3MoeDecoderLayer", "Qwen3MoeDecoderLayer.1"
    assert calls == [moe, dense, dense, moe]
    (tmp_path / "ids.json").write_text(json.dumps(PROMPT[:8]))
    output = tmp_path / "reference.safetensors"
    done = expertile("forward", model, "--input-ids", tmp_path / "ids.json", "-o", output, "--target", "reference")
    assert done.returncode == 0, done.stderr
    runner = Runner("qwen3_moe")
    runner.caches = {f"past_{part}.{i}": next(iter(runner.caches.values())) for i in range(4) for part in ("key", "value")}
    logits = runner.run(session_of(tmp_path / "graphs" / "prefill.onnx"), [PROMPT[:8]], [list(range(8))])
    assert relative_l2(logits[0, 0], read_safetensors(output)["logits"][7]) <= FLOAT32_RELATIVE_L2


def constant(graph, name):
    (found,) = [weight for weight in graph.initializer if weight.name == name]
    return onnx.numpy_helper.to_array(found)


def test_the_second_packed_chunk_begins_where_the_first_ends(export):
    T, P = 12, 5
    folder = export("qwen3_moe", "--prefill-seq-len", T, "--moe-prefill-num-nsp", 16, "--moe-prefill-packed-chunk-size", P)
    graph = onnx.load(folder / "prefill.onnx").graph
    makers = {name: node for node in graph.node for name in node.output}
    starts = collections.Counter()
    for node in graph.node:
        if node.op_type == "CtxScatter3D":
            indices = makers[node.input[1]]
            assert indices.op_type == "Slice"
            starts[int(constant(graph, indices.input[1])[0])] += 1
    assert set(starts) == {0, P, 2 * P} and len(set(starts.values())) == 1


def test_weights_lie_slot_by_slot(export):
    N = 5
    folder = export("qwen3_moe", "--prefill-seq-len", 8, "--moe-prefill-num-nsp", N)
    graph = onnx.load(folder / "prefill.onnx").graph
    config = config_of("qwen3_moe")
    E, H, I = config["num_experts"], config["hidden_size"], config["moe_intermediate_size"]
    slots = -(-E // N)
    decode = onnx.load(folder / "decode.onnx").graph
    whole = constant(decode, "layers.1.experts.gate")
    assert whole.shape == (E, H, I)
    for slot in range(slots):
        weights = constant(graph, f"layers.1.experts.gate.slot{slot}")
        assert weights.shape == (N, H, I)
        for nsp in range(N):
            e = slot * N + nsp
            expected = whole[e] if e < E else numpy.zeros((H, I), numpy.float32)
            assert (weights[nsp] == expected).all()


def test_refusals(expertile, tmp_path):
    model = ROOT / "models" / "tiny-qwen3_moe"

    def refused(says, *options, model=model):
        done = expertile("export", model, "-o", tmp_path / "graphs", *options)
        assert done.returncode in (1, 2) and done.stdout == b""
        message = done.stderr.decode()
        assert message.startswith("expertile: ") and message.count("\n") == 1 and says in message

    refused("onnx_sentinel", "--onnx-sentinel", "zero")
    refused("dtype", "--dtype", "bfloat16")
    refused("mxfp6_matmul", "--mxfp6-matmul")
    refused("num_nsp", "--moe-prefill-num-nsp", 33)
    refused("skip_lang", "--skip-lang")
    refused("mdp_num_partitions", "--mdp-num-partitions", 2)
    refused("compile_dir", "--compile-dir", tmp_path)
    refused("target", "--target", "cpu")
    assert not (tmp_path / "graphs").exists()
    refused("height", "--height", 64)


VISION_MODEL = ROOT / "models" / "tiny-qwen3_vl_moe"
VISION_GOLDEN = read_safetensors(ROOT / "tests" / "goldens" / "tiny-qwen3_vl_moe.safetensors")


def mrope_positions(ids, grids, image_token, merge_size):
    """The text's, time, height and width positions of a prompt, as transformers defines them."""
    rows, position, i = [], 0, 0
    grids = iter(grids)
    while i < len(ids):
        if ids[i] != image_token:
            rows.append([i] + 3 * [position])
            position, i = position + 1, i + 1
            continue
        _, h, w = next(grids)
        h, w = h // merge_size, w // merge_size
        for r in range(h):
            for c in range(w):
                rows.append([i, position, position + r, position + c])
                i += 1
        position += max(h, w)
    return numpy.array(rows, numpy.int64).T


@pytest.mark.parametrize("layers", [[], ["--use-onnx-subfunctions"]], ids=["nodes", "functions"])
def test_images(expertile, tmp_path, layers):
    """Vision graph, chunked NSP-blocked prefill that cuts the image, decode: against transformers and the reference."""
    case, chunk = "image_1", 10
    ids = VISION_GOLDEN[case + ".input_ids"].tolist()
    grid = VISION_GOLDEN[case + ".image_grid_thw"].tolist()
    size = ["--height", 16 * grid[1], "--width", 16 * grid[2]]
    blocking = ["--moe-prefill-num-nsp", 5, "--moe-prefill-packed-chunk-size", 4, *layers]
    shapes = ["--prefill-seq-len", chunk, "--ctx-len", CTX_LEN]
    graphs = tmp_path / "graphs"
    done = expertile("export", VISION_MODEL, "-o", graphs, "--onnx-sentinel", "in-bounds", *shapes, *size, *blocking)
    assert (done.returncode, done.stderr) == (0, b"")
    vision, prefill, decode = (session_of(graphs / f"{name}.onnx") for name in ("vision", "prefill", "decode"))

    embeds, deepstack = vision.run(None, {"pixel_values": VISION_GOLDEN[case + ".pixel_values"]})
    assert relative_l2(embeds[0], VISION_GOLDEN[case + ".vision_embeds"]) <= FLOAT32_RELATIVE_L2
    for i in range(2):
        assert relative_l2(deepstack[i, 0], VISION_GOLDEN[f"{case}.deepstack.{i}"]) <= FLOAT32_RELATIVE_L2

    config = json.loads((VISION_MODEL / "config.json").read_text())
    positions = mrope_positions(ids, [grid], config["image_token_id"], 2)
    runner = Runner("qwen3_vl_moe")
    inputs = {"vision_embeds": embeds, "deepstack_features": deepstack, "image_idx": numpy.zeros((1, 1), numpy.int64)}
    names = [output.name for output in prefill.get_outputs()]
    for first in range(0, len(ids), chunk):
        count = min(chunk, len(ids) - first)
        tokens = numpy.zeros((1, chunk), numpy.int64)
        tokens[0, :count] = ids[first : first + count]
        places = numpy.full((4, 1, chunk), -1, numpy.int64)
        places[:, 0, :count] = positions[:, first : first + count]
        fed = inputs | runner.caches | {"input_ids": tokens, "position_ids": places}
        outputs = dict(zip(names, prefill.run(None, fed)))
        runner.caches = {name: outputs[name + "_RetainedState"] for name in runner.caches}
        inputs = {name: outputs[name + "_RetainedState"] for name in ("vision_embeds", "deepstack_features")}
        inputs["image_idx"] = outputs["image_idx_output"]
    assert inputs["image_idx"].item() == embeds.shape[1]
    logits = outputs["logits"][0, 0]
    assert relative_l2(logits, VISION_GOLDEN[case + ".logits_last"]) <= FLOAT32_RELATIVE_L2

    greedy = json.loads((ROOT / "tests" / "goldens" / "tiny-qwen3_vl_moe.json").read_text())["cases"][case]["greedy"]
    decode_names = [output.name for output in decode.get_outputs()]
    for i, expected in enumerate(greedy):
        token = int(logits.argmax())
        assert token == expected
        place = numpy.full((4, 1, 1), positions[1:].max() + 1 + i, numpy.int64)
        place[0] = len(ids) + i
        fed = runner.caches | {"input_ids": numpy.array([[token]], numpy.int64), "position_ids": place}
        outputs = dict(zip(decode_names, decode.run(None, fed)))
        runner.caches = {name: outputs[name + "_RetainedState"] for name in runner.caches}
        logits = outputs["logits"][0, 0]
