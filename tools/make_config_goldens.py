"""Writes tests/goldens/config_meanings.json: what transformers makes of configuration fields that are left out, null or
set, for every field that a family reads.

Run from the repository root with transformers, numpy and pillow installed (torch is not needed):
    python tools/make_config_goldens.py
The file is committed; nothing in the build or the tests runs this.

A case is a base configuration, edits of it, and what transformers reads: the values that differ from those of the base,
or that it is refused. "Refused" is what the configuration class refuses, what the model then fails on, and what
Expertile does not compute ("not honoured").
"""

import copy
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import transformers
from config_cases import ABSENT, BASES, MORE_FIELDS, OTHER_EDITS, UNREAD, rope_edits
from PIL import Image
from transformers import GenerationConfig, modeling_rope_utils
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
)

FAMILIES = ("qwen3_moe", "gpt_oss", "granitemoe", "qwen3_vl_moe", "qwen2_moe", "granitemoeshared")
GRANITE = ("granitemoe", "granitemoeshared")
ACTIVATIONS = ("silu", "swish")


class Array(np.ndarray):
    """As much of a tensor as transformers' RoPE functions ask for."""

    def to(self, *_, dtype=None, **__):
        return self if dtype is None else self.astype(dtype)


class Torch:
    """The functions of torch that transformers' RoPE functions call, by numpy in float32."""

    float = float32 = np.float32
    int64 = np.int64

    @staticmethod
    def arange(*limits, dtype=None):
        return np.arange(*limits, dtype=dtype).view(Array)

    @staticmethod
    def clamp(values, low, high):
        return np.clip(values, low, high)


modeling_rope_utils.torch = Torch


def default_frequencies(theta, dim):
    return 1.0 / (theta ** (Torch.arange(0, dim, 2, dtype=np.float32) / dim))


def rope_of(config):
    """(inv_freq, attention factor), as the families' rotary embeddings choose between the functions."""
    rope = config.rope_parameters
    if rope["rope_type"] == "default":
        dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return default_frequencies(rope["rope_theta"], dim), 1.0
    if rope["rope_type"] not in ("linear", "yarn") or rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise ValueError("not honoured")
    return modeling_rope_utils.ROPE_INIT_FUNCTIONS[rope["rope_type"]](config)


def mrope_axes(sections, pairs):
    """Which axis turns a pair: apply_interleaved_mrope of Qwen3-VL."""
    axes = np.zeros(pairs, int)
    for axis in (1, 2):
        axes[axis : sections[axis] * 3 : 3] = axis
    return axes.tolist()


def windows_of(family, config):
    if family == "gpt_oss":
        if not set(config.layer_types) <= {"sliding_attention", "full_attention"}:
            raise ValueError("not honoured")
        if config.sliding_window is None:  # the mask of windows is made whether a layer has one or not
            raise ValueError("the model fails")
        return [config.sliding_window if kind == "sliding_attention" else 0 for kind in config.layer_types]
    if family == "qwen2_moe":
        sliding = [kind == "sliding_attention" for kind in config.layer_types]
        if not set(config.layer_types) <= {"sliding_attention", "full_attention"}:
            raise ValueError("not honoured")
        if config.sliding_window is None or (any(sliding) and config.sliding_window < 1):
            raise ValueError("the model fails")
        return [config.sliding_window if is_sliding else 0 for is_sliding in sliding]
    window = config.sliding_window if family == "qwen3_moe" else None
    return [window or 0] * config.num_hidden_layers


def moe_layers(family, config):
    if family == "gpt_oss" or family in GRANITE:
        return [True] * config.num_hidden_layers
    return [
        i not in config.mlp_only_layers and config.num_experts > 0 and (i + 1) % config.decoder_sparse_step == 0
        for i in range(config.num_hidden_layers)
    ]


def read_decoder(family, whole):
    """The values of a DecoderSpec, taken from a configuration as modeling_<family>.py takes them."""
    config = whole.text_config if family == "qwen3_vl_moe" else whole
    if config.hidden_act not in ACTIVATIONS:
        raise ValueError("not honoured")
    granite = family in GRANITE
    heads = config.num_attention_heads
    head_dim = getattr(config, "head_dim", config.hidden_size // heads)
    if heads % config.num_key_value_heads != 0:
        raise ValueError("the model fails")
    frequencies, table_scale = rope_of(config)
    scale = config.attention_multiplier if granite else None
    moe_size = config.intermediate_size if granite or family == "gpt_oss" else config.moe_intermediate_size
    read = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_heads": heads,
        "num_kv_heads": config.num_key_value_heads,
        "head_dim": head_dim + 0,
        "max_positions": config.max_position_embeddings,
        "norm_epsilon": config.rms_norm_eps,
        "inv_freq": [float(f"{value:.8g}") for value in frequencies],
        "table_scale": float(table_scale),
        "attention_bias": config.qkv_bias if family == "qwen2_moe" else config.attention_bias,
        "attention_output_bias": False if family == "qwen2_moe" else config.attention_bias,
        "attention_scale": head_dim**-0.5 if scale is None else scale,  # sdpa's own scale where it is None
        "embedding_scale": config.embedding_multiplier + 0.0 if granite else 1.0,
        "residual_scale": config.residual_multiplier + 0.0 if granite else 1.0,
        "logits_scale": 1.0 / config.logits_scaling if granite else 1.0,
        "tied_lm_head": whole.tie_word_embeddings,
        "num_experts": (config.num_experts if family == "qwen2_moe" else config.num_local_experts) + 0,
        "experts_per_token": config.num_experts_per_tok + 0,
        "moe_intermediate_size": moe_size,
        "normalize": family == "qwen3_vl_moe" or getattr(config, "norm_topk_prob", False),
        "is_moe": moe_layers(family, config),
        "windows": windows_of(family, config),
    }
    if family.startswith("qwen"):
        read["mlp_intermediate_size"] = None if all(read["is_moe"]) else config.intermediate_size
    if family == "qwen2_moe":
        read["shared_intermediate_size"] = config.shared_expert_intermediate_size
    elif family == "granitemoeshared":
        read["shared_intermediate_size"] = config.shared_intermediate_size
    else:
        read["shared_intermediate_size"] = 0
    if family == "gpt_oss":
        read |= {"limit": config.swiglu_limit, "alpha": config.swiglu_alpha}
    if family == "qwen3_vl_moe":
        read["axes"] = mrope_axes(config.rope_parameters.get("mrope_section", [24, 20, 20]), head_dim // 2)
        read["vision"] = read_vision(whole)
    return read


def read_vision(whole):
    vision = whole.vision_config
    if vision.hidden_act != "gelu_pytorch_tanh" or vision.rope_parameters["rope_type"] != "axial":
        raise ValueError("not honoured")
    if vision.in_channels != 3 or vision.out_hidden_size != whole.text_config.hidden_size:
        raise ValueError("not honoured")
    head_dim = vision.hidden_size // vision.num_heads
    if head_dim % 4 != 0:
        raise ValueError("the model fails")
    frequencies = default_frequencies(vision.rope_parameters["rope_theta"], head_dim // 2)
    return {
        "patch_values": vision.in_channels * vision.temporal_patch_size * vision.patch_size**2,
        "hidden_size": vision.hidden_size,
        "intermediate_size": vision.intermediate_size,
        "output_size": vision.out_hidden_size,
        "num_blocks": vision.depth,
        "num_heads": vision.num_heads,
        "grid_side": math.isqrt(vision.num_position_embeddings),
        "deepstack_blocks": list(vision.deepstack_visual_indexes),
        "inv_freq": [float(f"{value:.8g}") for value in frequencies],
        "image_token_id": whole.image_token_id,
        "start_token_id": whole.vision_start_token_id,
        "end_token_id": whole.vision_end_token_id,
        "merge_size": vision.spatial_merge_size,
    }


def apply(edits, base):
    config = copy.deepcopy(base)
    for path, value in edits:
        *sections, field = path.split("/")
        place = config
        for section in sections:
            place = place[section]
        if value is ABSENT:
            place.pop(field, None)
        else:
            place[field] = copy.deepcopy(value)
    return config


def stored(edits):
    return [{"path": path} | ({} if value is ABSENT else {"value": value}) for path, value in edits]


def differences(read, base):
    return {key: value for key, value in read.items() if value != base.get(key)}


def outcome(read, *arguments):
    """What `read` returns, or None where transformers, the model or Expertile refuses."""
    try:
        return read(*arguments)
    except (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError, IndexError, OSError) as error:
        del error
        return None
    except Exception as error:  # huggingface_hub's validation errors share no public base
        if "Validation" not in type(error).__name__:
            raise
        return None


def fields_of(family, base):
    for field, value in base.items():
        if field in UNREAD:
            continue
        if isinstance(value, dict) and field.endswith("_config"):
            yield from (f"{field}/{inner}" for inner in value if inner not in UNREAD)
        else:
            yield field
    yield from MORE_FIELDS[family]


def decoder_cases(family, base):
    def read(config):
        return read_decoder(family, CONFIG_MAPPING[family].from_dict(copy.deepcopy(config)))

    base_read = read(base)
    prefix = "text_config/" if family == "qwen3_vl_moe" else ""
    edits = [[(field, value)] for field in dict.fromkeys(fields_of(family, base)) for value in (ABSENT, None)]
    cases = []
    for edit in [*edits, *rope_edits(prefix), *OTHER_EDITS[family]]:
        found = outcome(read, apply(edit, base))
        case = {"edits": stored(edit)}
        case |= {"refused": True} if found is None else {"read": differences(found, base_read)}
        cases.append(case)
    return {"base": base, "read": base_read, "cases": cases}


def end_tokens(config, generation):
    """The ids that end a text, found as a model's loading finds its generation_config."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config))
        if generation is not None:
            (Path(folder) / "generation_config.json").write_text(json.dumps(generation))
            found = GenerationConfig.from_pretrained(folder)
        else:
            found = GenerationConfig.from_pretrained(folder, config_file_name="config.json", _from_model_config=True)
    ids = found.eos_token_id
    return ids if isinstance(ids, list) else [] if ids is None else [ids]


def end_token_cases(family, base):
    fields = ["eos_token_id"] + (["text_config/eos_token_id"] if family == "qwen3_vl_moe" else [])
    configs = [[]] + [[(field, value)] for field in fields for value in (ABSENT, None, 5, [5, 6])]
    for edit in configs:
        for generation in (None, {}, {"eos_token_id": None}, {"eos_token_id": 7}, {"eos_token_id": [7, 8]}):
            case = {"edits": stored(edit), "end_token_ids": end_tokens(apply(edit, base), generation)}
            yield case | ({} if generation is None else {"generation_config": generation})


def read_preprocessor(config):
    processor = Qwen2VLImageProcessorPil.from_dict(copy.deepcopy(config))
    Image_ = Image.new("RGB", (64, 64), (9, 100, 200))
    processor(images=Image_, return_tensors="np")
    read = {
        "do_resize": bool(processor.do_resize),
        "do_rescale": bool(processor.do_rescale),
        "do_normalize": bool(processor.do_normalize),
        "patch_size": processor.patch_size,
        "temporal_patch_size": processor.temporal_patch_size,
        "merge_size": processor.merge_size,
    }
    if processor.do_resize:
        if processor.resample != 3:
            raise ValueError("not honoured")
        read |= {"min_pixels": processor.size["shortest_edge"], "max_pixels": processor.size["longest_edge"]}
    if processor.do_rescale:
        read["rescale_factor"] = processor.rescale_factor
    if processor.do_normalize:
        for name in ("image_mean", "image_std"):
            values = getattr(processor, name)
            read[name] = [values] * 3 if isinstance(values, float) else list(values)
    return read


def preprocessor_cases(base):
    fields = [*base, "do_resize", "do_rescale", "do_normalize", "rescale_factor", "resample", "do_convert_rgb"]
    edits = [[(field, value)] for field in fields for value in (ABSENT, None)]
    edits += [
        [("size", ABSENT), ("min_pixels", 1000)],
        [("size", ABSENT), ("max_pixels", 50000)],
        [("size", ABSENT), ("min_pixels", None), ("max_pixels", None)],
        [("min_pixels", 4096), ("max_pixels", 262144)],
        [("size", {"shortest_edge": 100})],
        [("size", {"longest_edge": 100000})],
        [("size", {"longest_edge": 100000}), ("min_pixels", 100)],
        [("size", {"shortest_edge": 100, "longest_edge": None})],
        [("size", {"height": 64, "width": 64})],
        [("size", {})],
        [("do_resize", False), ("size", {"height": 64, "width": 64})],
        [("do_resize", None)],
        [("do_normalize", False), ("image_mean", None)],
        [("do_rescale", False), ("rescale_factor", None)],
        [("image_mean", 0.5)],
        [("rescale_factor", 0.5)],
        [("resample", 2)],
    ]
    base_read = read_preprocessor(base)
    cases = []
    for edit in edits:
        found = outcome(read_preprocessor, apply(edit, base))
        case = {"edits": stored(edit)}
        cases.append(case | ({"refused": True} if found is None else {"read": found}))
    return {"base": base, "read": base_read, "cases": cases}


def one_case_a_line(value, indent=""):
    """JSON whose diffs can be read: whatever holds edits stands on one line."""
    if isinstance(value, list) and value and isinstance(value[0], dict) and "edits" in value[0]:
        return "[\n" + ",\n".join(indent + " " + json.dumps(case) for case in value) + "\n" + indent + "]"
    if isinstance(value, dict) and indent.count(" ") < 3:
        inner = indent + " "
        fields = (f"{inner}{json.dumps(key)}: {one_case_a_line(item, inner)}" for key, item in value.items())
        return "{\n" + ",\n".join(fields) + "\n" + indent + "}"
    return json.dumps(value)


def base_of(family):
    if family in BASES:
        return BASES[family]
    return json.loads((Path("models") / f"tiny-{family}" / "config.json").read_text(encoding="utf-8"))


def main():
    transformers.logging.set_verbosity(50)
    goldens = {
        "transformers": transformers.__version__,
        "generation_defaults": GenerationConfig()._get_default_generation_params(),
        "decoders": {},
        "end_tokens": {},
    }
    for family in FAMILIES:
        base = base_of(family)
        goldens["decoders"][family] = decoder_cases(family, base)
        goldens["end_tokens"][family] = list(end_token_cases(family, base))
    folder = Path("models") / "tiny-qwen3_vl_moe"
    base = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    goldens["preprocessor"] = preprocessor_cases(base)
    Path("tests/goldens/config_meanings.json").write_text(one_case_a_line(goldens) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
