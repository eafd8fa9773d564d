"""What the original's calls take beside the options of the table: each parameter, and what becomes of it here.

docs/python.md shows this table; a test compares the two.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, Dict, List, Tuple

from expertile.errors import InvalidArgument, unsupported
from expertile.options import options, targets

CALLS = ("from_pretrained", "export", "compile", "generate")


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter of the original's. What becomes of it: one of

    "no effect": any value is taken; `note` says why it changes nothing.
    "default only": any other value is refused, for the reason in `note`.
    "renamed": it is the option `note`.
    "graphs": an option of targets that make graphs; elsewhere it has no effect, as `note` says.
    "card": passed on to the compiler of Cloud AI 100; other targets refuse it.
    """

    name: str
    default: Any
    calls: Tuple[str, ...]
    becomes: str
    note: str


def _rows(calls: str, *rows: Tuple[str, Any, str, str]) -> List[Parameter]:
    return [Parameter(name, default, tuple(calls.split()), becomes, note) for name, default, becomes, note in rows]


PARAMETERS = [
    *_rows(
        "from_pretrained",
        ("continuous_batching", False, "no effect", "sessions always take sequences of any length and age; say batch_size"),
        ("enable_proxy", False, "no effect", "nothing is traced"),
        ("max_seq_len_cached", None, "no effect", "positions are computed, not looked up"),
        ("kv_offload", None, "no effect", "a program holds vision and language; graphs are always apart"),
        ("config", None, "no effect", "the folder's config.json counts"),
        ("attn_implementation", "eager", "no effect", "there is one"),
        ("torch_dtype", None, "no effect", "weights stay as the checkpoint has them; compile's dtype is the arithmetic"),
        ("dtype", None, "no effect", "likewise"),
        ("low_cpu_mem_usage", False, "no effect", "weights are mapped"),
        ("trust_remote_code", False, "no effect", "no code of a checkpoint is ever run"),
    ),
    *_rows("from_pretrained compile", ("qaic_config", None, "default only", "what it asks for is not here")),
    *_rows(
        "from_pretrained export compile",
        ("layerwise", False, "no effect", "memory is always bounded by one layer"),
        ("layerwise_window_size", 1, "no effect", "likewise"),
    ),
    *_rows(
        "export compile",
        ("offload_pt_weights", True, "no effect", "weights are mapped: there is nothing to free, and every compile is independent"),
        ("kv_cache_prefix", None, "default only", "caches have the original's names without a prefix"),
        ("dynamo", False, "no effect", "no tracing: graphs are written node by node"),
    ),
    *_rows(
        "compile",
        ("onnx_path", None, "default only", "a program is made from the checkpoint"),
        ("vision_onnx_path", None, "default only", "likewise"),
        ("lang_onnx_path", None, "default only", "likewise"),
        ("full_batch_size", None, "renamed", "batch_size"),
        ("kv_cache_batch_size", None, "renamed", "batch_size"),
        ("comp_ctx_lengths_prefill", None, "default only", "several compute context lengths are not here"),
        ("comp_ctx_lengths_decode", None, "default only", "likewise"),
        ("num_speculative_tokens", None, "default only", "speculative decoding is not here"),
        ("img_size", None, "no effect", "the preprocessor's configuration counts"),
        ("time", None, "default only", "video is not here"),
        ("mm_processor_kwargs", None, "default only", "the preprocessor's configuration counts"),
        ("specializations", None, "default only", "they follow from the other options"),
        ("height", None, "graphs", "a program here takes images of any size"),
        ("width", None, "graphs", "likewise"),
        ("skip_lang", False, "graphs", "a program here holds the language part, too"),
        ("use_onnx_subfunctions", False, "graphs", "it says how graphs are written, and there are none here"),
        ("mos", None, "card", ""),
        ("aic_enable_depth_first", None, "card", ""),
        ("user_tiled", None, "card", ""),
        ("split_retained_state_io", None, "card", ""),
        ("split_model_io", None, "card", ""),
        ("allow_mxint8_mdp_io", None, "card", ""),
        ("node_precision_info", None, "card", ""),
        ("mdp_dump_partition_config", None, "card", ""),
        ("aic_perf_metrics", None, "card", ""),
        ("aic_perf_warnings", None, "card", ""),
    ),
    *_rows("compile generate", ("num_frames", None, "default only", "video is not here")),
    *_rows(
        "generate",
        ("processor", None, "no effect", "the checkpoint's own preprocessor is used"),
        ("streamer", None, "default only", "iterate over stream(), or over a session's generate()"),
        ("device_ids", None, "no effect", "the program runs on this machine's processor"),
        ("image_height", None, "no effect", "the preprocessor's configuration counts"),
        ("image_width", None, "no effect", "likewise"),
        ("multi_specs", False, "default only", "a program takes pictures of any size"),
        ("device_id", None, "no effect", "the program runs on this machine's processor"),
        ("runtime_ai100", True, "no effect", "likewise"),
        ("write_io", False, "no effect", "nothing is dumped; Session has every value"),
        ("iteration", 1, "no effect", "a prompt is run once"),
    ),
]


def parameters_of(call: str) -> Dict[str, Parameter]:
    return {row.name: row for row in PARAMETERS if call in row.calls}


def signature_of(call: str) -> List[inspect.Parameter]:
    kind = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(row.name, kind, default=row.default) for row in parameters_of(call).values()]


def notes_of(call: str) -> List[str]:
    """Lines of a docstring."""
    rows = parameters_of(call).values()
    texts = {
        "no effect": "accepted, without effect: {note}.",
        "default only": "only {default}: {note}.",
        "renamed": "{note}.",
        "graphs": "of graphs; otherwise {note}.",
        "card": "for the compiler of a Cloud AI 100; target qaic only.",
    }
    return [f"{row.name}: {texts[row.becomes].format(note=row.note, default=row.default)}" for row in rows]


def _card_option(name: str, value: Any) -> List[str]:
    """As `compiler_options` has it."""
    if value is None or value is False:
        return []
    return [name] if value is True else [f"{name}={value}"]


def translate(call: str, given: Dict[str, Any]) -> Dict[str, Any]:
    """The options of the table that `given` stands for. TypeError: a name that neither table has."""
    known = parameters_of(call)
    table = options()
    target = given.get("target") or table["target"].default
    translated: Dict[str, Any] = {}
    compiler_options: List[str] = []
    for name, value in given.items():
        row = known.get(name)
        if row is None or (row.becomes == "graphs" and target in table[name].honoured_by):
            if name not in table:
                raise TypeError(f"{call}() got an unexpected keyword argument '{name}'")
            translated[name] = value
        elif row.becomes == "default only" and value not in (None, row.default):
            raise unsupported(f"{name}: {value}, expected {row.default}: {row.note}")
        elif row.becomes == "renamed" and value is not None:
            _merge(translated, given, name, row.note, value)
        elif row.becomes == "card" and value is not None:
            if target not in table["compiler_options"].honoured_by:
                raise unsupported(f"{name}: the target {target} does not have this option")
            compiler_options += _card_option(name, value)
    if compiler_options:
        translated["compiler_options"] = [*compiler_options, *(given.get("compiler_options") or [])]
    return translated


def _merge(translated: Dict[str, Any], given: Dict[str, Any], name: str, option: str, value: Any) -> None:
    """Sets `option` by its other name; two names must not say two things."""
    other = translated.get(option, given.get(option))
    if other not in (None, options()[option].default, value):
        raise InvalidArgument(f"{name}: {value}, and {option}: {other}, which is the same here")
    translated[option] = value


def check_target(options_: Dict[str, Any]) -> Any:
    """The target's row; an unknown name is the library's to refuse."""
    name = options_.get("target") or options()["target"].default
    return next((target for target in targets() if target.name == name), None)
