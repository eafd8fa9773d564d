"""Every MoE architecture of the installed transformers that uses its convention for experts, as small random models."""

import importlib
import inspect
from pathlib import Path

import torch
import transformers
from transformers import PreTrainedModel

# By the names that configurations have. Sizes are small and no two alike, so that a mix-up shows.
SIZES = {
    "vocab_size": 160,
    "hidden_size": 64,
    "intermediate_size": 96,
    "moe_intermediate_size": 40,
    "expert_ffn_hidden_size": 40,
    "ffn_hidden_size": 40,
    "shared_expert_intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "head_dim": 16,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "q_lora_rank": 24,
    "kv_lora_rank": 16,
    "num_experts": 8,
    "num_local_experts": 8,
    "n_routed_experts": 8,
    "moe_num_experts": 8,
    "num_experts_per_tok": 3,
    "num_experts_per_token": 3,
    "moe_k": 3,
    "moe_topk": 3,
    "top_k_experts": 3,
    "n_group": 1,
    "topk_group": 1,
    "n_shared_experts": 1,
    "num_shared_experts": 1,
    "moe_num_shared_experts": 1,
    "first_k_dense_replace": 1,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
# What an architecture needs beside them.
HYBRID = {"layer_types": ["linear_attention", "full_attention", "linear_attention", "full_attention"]}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
SPECIAL = {
    "bailing_hybrid": HYBRID,
    "deepseek_ocr2": {"mlp_layer_types": ["dense", "sparse", "sparse", "sparse"]},
    "diffusion_gemma": {
        "text_config": {**{key: SIZES[key] for key in list(SIZES)[:4] + ["num_hidden_layers", "num_attention_heads", "head_dim"]},
                        "num_key_value_heads": 2, "num_experts": 8, "top_k_experts": 3, "global_head_dim": 16},
        "vision_config": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
                          "num_key_value_heads": 2, "head_dim": 16, "global_head_dim": 16},
        "image_token_id": 150, "boi_token_id": 151, "eoi_token_id": 152, "canvas_length": 8,
    },
    "ernie4_5_vl_moe": {"moe_intermediate_size": [40, 40], "rope_parameters": {**MROPE, "mrope_section": [3, 3, 2]}},
    "gemma4": {
        "enable_moe_block": True,
        "vocab_size_per_layer_input": 160,
        "hidden_size_per_layer_input": 8,
        "global_head_dim": 16,
    },
    "glm4v_moe": {"rope_parameters": {**MROPE, "partial_rotary_factor": 0.5}},
    "granitemoehybrid": {**HYBRID, "mamba_n_heads": 8, "mamba_d_state": 16, "mamba_d_head": 16},
    "hy_v4_vl": {"rope_parameters": MROPE},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
    "kimi_linear": {**HYBRID, "linear_head_dim": 16, "linear_num_heads": 4},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "glm5_next": {"qk_rope_head_dim": 0},
    "qwen4_exp": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 16,
        "indexer_compress_ratio": 4,
    },
    "zaya": {"num_experts_per_tok": 1},
}
MOST_PARAMETERS = 100e6
ENDS = ("ForCausalLM", "TextModel", "Model", "ForBlockDiffusion", "ForConditionalGeneration")


def modules():
    """Names of the architectures whose modelling code is decorated with use_experts_implementation."""
    root = Path(transformers.__file__).parent / "models"
    files = sorted(root.glob("*/modeling_*.py"))
    return {path.parent.name: path.stem for path in files if "@use_experts_implementation" in path.read_text("utf-8")}


def experts_classes(name):
    """The decorated classes of an architecture."""
    module = importlib.import_module(f"transformers.models.{name}.{modules()[name]}")
    classes = [value for _, value in inspect.getmembers(module, inspect.isclass) if value.__module__ == module.__name__]
    return [value for value in classes if hasattr(value, "_apply_gate") and issubclass(value, torch.nn.Module)]


def model_classes(name):
    """Classes that may be made small, those of text alone first."""
    module = importlib.import_module(f"transformers.models.{name}.{modules()[name]}")
    classes = [value for _, value in inspect.getmembers(module, inspect.isclass) if value.__module__ == module.__name__]
    found = [
        value
        for value in classes
        if issubclass(value, PreTrainedModel)
        and value.config_class is not None
        and value.__name__.endswith(ENDS)
        and not any(word in value.__name__ for word in ("PreTrained", "Vision", "Audio", "Encoder", "Predictor"))
    ]
    return sorted(found, key=lambda value: next(i for i, end in enumerate(ENDS) if value.__name__.endswith(end)))


def small_config(config_class, num_key_value_heads, special):
    names = set(inspect.signature(config_class.__init__).parameters)
    for base in config_class.__mro__:
        names |= set(getattr(base, "__annotations__", {}))
    aliases = getattr(config_class, "attribute_map", {})
    sizes = {**SIZES, "num_key_value_heads": num_key_value_heads, **special}
    return config_class(**{key: value for key, value in sizes.items() if key in special or (key in names and key not in aliases)})


def experts_of(model, classes):
    return [module for module in model.modules() if isinstance(module, tuple(classes))]


def small_model(name):
    """(model, input ids), or what kept each class from being made."""
    classes = experts_classes(name)
    failures = []
    for model_class in model_classes(name):
        for num_key_value_heads in (2, 4):
            try:
                config = small_config(model_class.config_class, num_key_value_heads, SPECIAL.get(name, {}))
                with torch.device("meta"):
                    size = sum(parameter.numel() for parameter in model_class(config).parameters())
                if size > MOST_PARAMETERS:
                    raise ValueError(f"{size / 1e6:.0f} M parameters")
                torch.manual_seed(1)
                model = model_class(config).float().eval()
                if not experts_of(model, classes):
                    raise ValueError("no experts")
                for parameter in model.parameters():
                    if parameter.dim() > 2:  # experts that transformers leaves uninitialised, too
                        torch.nn.init.normal_(parameter, std=0.2)
                ids = torch.arange(3, 43)[None]
                with torch.no_grad():
                    if not torch.isfinite(model(input_ids=ids)[0]).all():
                        raise ValueError("its eager output is not finite")
                return model, ids, failures
            except Exception as error:  # what is not ours to mend
                failures.append(f"{model_class.__name__}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    return None, None, failures
