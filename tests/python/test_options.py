"""Options: names, types, defaults and refusals come from the library's table; the original's names beside them."""

import inspect
import re

import expertile
import pytest
from expertile.original import CALLS, PARAMETERS, parameters_of, translate


@pytest.fixture(scope="module")
def model(models):
    return expertile.AutoModelForCausalLM.from_pretrained(models / "tiny-qwen3_moe")


def test_signature_has_the_table():
    parameters = inspect.signature(expertile.AutoModelForCausalLM.compile).parameters
    for name, row in expertile.options().items():
        if name != "compile_dir":
            assert parameters[name].default == row.default, name
        assert row.help in " ".join(expertile.AutoModelForCausalLM.compile.__doc__.split()) or name == "compile_dir"
    assert all(row.name in parameters for row in PARAMETERS if "compile" in row.calls)


def test_original_names_that_are_options_are_only_those_that_differ():
    """A name stands in one table, unless its meaning depends on the target."""
    for row in PARAMETERS:
        if "compile" in row.calls:
            assert (row.name in expertile.options()) == (row.becomes == "graphs"), row.name
        assert set(row.calls) <= set(CALLS)


# Of the original's classes of text, and of images in two programs or one: what its signatures and **kwargs take.
LAYERWISE = "layerwise layerwise_window_size kv_cache_prefix"
SHAPES = (
    "compile_dir prefill_seq_len ctx_len comp_ctx_lengths_prefill comp_ctx_lengths_decode batch_size full_batch_size "
    "kv_cache_batch_size num_devices num_cores mxfp6_matmul mxint8_kv_cache num_speculative_tokens prefill_only "
    "use_onnx_subfunctions offload_pt_weights enable_chunking moe_prefill_packed_chunk_size retain_full_kv"
)
PREFILL = "export_dir prefill_only prefill_seq_len num_cores moe_prefill_packed_chunk_size enable_chunking retain_full_kv"
GENERATE = "tokenizer runtime_ai100 generation_len write_io"
ORIGINAL = {
    ("AutoModelForCausalLM", "from_pretrained"): "continuous_batching qaic_config max_seq_len_cached layerwise kv_offload "
    "attn_implementation low_cpu_mem_usage torch_dtype enable_proxy",
    ("AutoModelForCausalLM", "export"): f"{PREFILL} {LAYERWISE} dynamo use_onnx_subfunctions offload_pt_weights",
    ("AutoModelForCausalLM", "compile"): f"onnx_path {SHAPES} {LAYERWISE} specializations",
    ("AutoModelForCausalLM", "generate"): f"{GENERATE} prompts device_id automation iteration",
    ("AutoModelForImageTextToText", "from_pretrained"): "kv_offload continuous_batching qaic_config layerwise "
    "attn_implementation low_cpu_mem_usage dtype config trust_remote_code enable_proxy",
    ("AutoModelForImageTextToText", "export"): f"{PREFILL} {LAYERWISE} use_onnx_subfunctions skip_vision skip_lang "
    "offload_pt_weights",
    ("AutoModelForImageTextToText", "compile"): f"onnx_path img_size vision_onnx_path lang_onnx_path {SHAPES} {LAYERWISE} "
    "skip_vision skip_lang qaic_config height width num_frames time mm_processor_kwargs node_precision_info",
    ("AutoModelForImageTextToText", "generate"): f"{GENERATE} inputs processor images prompts streamer device_ids "
    "image_height image_width multi_specs num_frames",
}


@pytest.mark.parametrize("name, call", ORIGINAL)
def test_every_parameter_of_the_original_is_known(name, call):
    method = getattr(expertile, name)
    own = set(inspect.signature(getattr(method, call)).parameters) | {"generation_len", "automation"}
    known = own | set(parameters_of(call)) | (set(expertile.options()) if call in ("compile", "export") else set())
    assert set(ORIGINAL[name, call].split()) - known == set()


@pytest.mark.parametrize("call", ["compile", "export"])
def test_unknown_is_a_type_error(model, call):
    with pytest.raises(TypeError, match="prefil_seq_len"):
        getattr(model, call)(prefil_seq_len=3)


def test_unknown_in_from_pretrained_and_generate(models, qwen):
    with pytest.raises(TypeError, match="revision"):
        expertile.AutoModelForCausalLM.from_pretrained(models / "tiny-qwen3_moe", revision="main")
    with pytest.raises(TypeError, match="nonsense"):
        qwen.generate(prompts=["x"], nonsense=1)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"prefill_seq_len": 0}, "prefill_seq_len: 0, expected 1 to"),
        ({"prefill_seq_len": "many"}, "prefill_seq_len: many, expected 1 to"),
        ({"ctx_len": 1.5}, "ctx_len: 1.5, expected"),
        ({"dtype": "float8"}, "dtype: float8, expected float32, bfloat16 or mxint8"),
        ({"moe_prefill_num_nsp": 99}, "99"),
        ({"target": "tpu"}, "target: tpu, expected"),
        ({"compile_dir": 5}, "compile_dir: 5, expected text"),
        ({"cache_dir": b"x"}, "cache_dir: b'x', expected text"),
        ({"full_batch_size": 4, "batch_size": 2}, "full_batch_size: 4, and batch_size: 2"),
    ],
)
def test_values_are_refused_by_name(model, options, message):
    with pytest.raises(expertile.Error, match=re.escape(message)) as refused:
        model.compile(**options)
    assert refused.value.code is expertile.ErrorCode.INVALID_ARGUMENT
    assert isinstance(refused.value, ValueError)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"mos": 1}, "mos: the target cpu does not have this option"),
        ({"aic_enable_depth_first": True}, "aic_enable_depth_first: the target cpu"),
        ({"num_devices": 4}, "num_devices: the target cpu does not have this option"),
        ({"num_speculative_tokens": 3}, "num_speculative_tokens: 3, expected None: speculative"),
        ({"kv_cache_prefix": "x"}, "kv_cache_prefix: x"),
        ({"target": "onnx", "mos": 1}, "mos: the target onnx"),
    ],
)
def test_what_is_not_here_is_refused_by_name(model, options, message):
    with pytest.raises(expertile.Error, match=re.escape(message)) as refused:
        model.compile(**options)
    assert refused.value.code is expertile.ErrorCode.UNSUPPORTED


def test_card_options_go_to_the_compiler():
    given = {"target": "qaic", "mos": 1, "user_tiled": True, "aic_enable_depth_first": False, "compiler_options": ["x=2"]}
    assert translate("compile", given) == {"target": "qaic", "compiler_options": ["mos=1", "user_tiled", "x=2"]}


def test_qaic_makes_the_commands(models, tmp_path, monkeypatch):
    monkeypatch.delenv("EXPERTILE_QAIC_COMPILER", raising=False)
    model = expertile.AutoModelForCausalLM.from_pretrained(models / "tiny-qwen3_moe")
    made = model.model.compile_to_disk(
        None, target="qaic", prefill_seq_len=1, ctx_len=64, cache_dir=tmp_path, compiler_options=["mos=1"]
    )
    assert "-mos=1" in made.qaic[0].command
    path = model.compile(target="qaic", prefill_seq_len=1, ctx_len=64, mos=1, cache_dir=tmp_path)
    assert path == str(made.qaic[0].folder)
    with pytest.raises(TypeError, match="compile"):
        model.generate(prompts=["x"])


def test_options_of_a_program(qwen):
    options = qwen.program.options
    assert options["ctx_len"] == 512 and options["moe_prefill_num_nsp"] == 8 and options["mxfp6_matmul"] is False


def test_none_leaves_the_default(models, cache):
    model = expertile.Model.load(models / "tiny-qwen3_moe")
    program = model.compile(None, ctx_len=64, dtype=None, moe_prefill_num_nsp="auto", num_cores=3)
    assert program.options["dtype"] == "float32" and program.options["moe_prefill_num_nsp"] == 3
