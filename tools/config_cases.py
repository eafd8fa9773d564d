"""The edits of configuration files whose meanings make_config_goldens.py stores; no values that transformers reads."""

ABSENT = object()
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}

# Of the families that have no tiny checkpoint.
BASES = {
    "qwen2_moe": {
        "model_type": "qwen2_moe",
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "hidden_act": "silu",
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1000000.0,
        "tie_word_embeddings": False,
        "qkv_bias": True,
        "use_sliding_window": False,
        "sliding_window": 128,
        "max_window_layers": 3,
        "decoder_sparse_step": 1,
        "moe_intermediate_size": 48,
        "shared_expert_intermediate_size": 80,
        "num_experts_per_tok": 2,
        "num_experts": 16,
        "norm_topk_prob": True,
        "mlp_only_layers": [],
        "eos_token_id": 2,
    },
    "granitemoeshared": {
        "model_type": "granitemoeshared",
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "hidden_act": "silu",
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "embedding_multiplier": 12.0,
        "logits_scaling": 6.0,
        "residual_multiplier": 0.22,
        "attention_multiplier": 0.0625,
        "num_local_experts": 16,
        "num_experts_per_tok": 4,
        "shared_intermediate_size": 80,
        "eos_token_id": 0,
    },
}

# Fields beside those of the tiny checkpoints' own files, which are tried left out and null.
MORE_FIELDS = {
    "qwen3_moe": ["rope_parameters", "mlp_only_layers", "num_local_experts", "partial_rotary_factor"],
    "gpt_oss": ["rope_parameters", "swiglu_alpha", "num_experts"],
    "granitemoe": ["rope_parameters", "head_dim"],
    "qwen2_moe": ["rope_parameters", "layer_types", "head_dim", "attention_bias", "rope_scaling"],
    "granitemoeshared": ["rope_parameters", "head_dim", "rope_scaling"],
    "qwen3_vl_moe": [
        "text_config",
        "vision_config",
        "text_config/rope_parameters",
        "text_config/num_local_experts",
        "vision_config/rope_parameters",
        "vision_config/rope_theta",
    ],
}
# Fields that no family reads: whatever they hold decides nothing.
UNREAD = (
    "model_type",
    "architectures",
    "attention_dropout",
    "dtype",
    "initializer_range",
    "output_router_logits",
    "quantization_config",
    "router_aux_loss_coef",
    "torch_dtype",
    "transformers_version",
    "use_cache",
    "video_token_id",
)


def rope_edits(prefix):
    yarn = [
        YARN,
        YARN | {"factor": None},
        {"rope_type": "yarn", "original_max_position_embeddings": 1024},
        {"rope_type": "yarn", "factor": 4.0},
        YARN | {"original_max_position_embeddings": None},
        YARN | {"truncate": False},
        YARN | {"truncate": None},
        YARN | {"beta_fast": None, "beta_slow": None},
        YARN | {"beta_fast": 0, "beta_slow": 0},
        YARN | {"beta_fast": 16, "beta_slow": 2.5},
        YARN | {"attention_factor": None},
        YARN | {"attention_factor": 1.25},
        YARN | {"mscale": 1.0, "mscale_all_dim": 0.5},
        YARN | {"mscale": 1.0},
        YARN | {"mscale": None, "mscale_all_dim": None},
        YARN | {"rope_theta": 5000.0},
        {"type": "yarn", "factor": 2, "original_max_position_embeddings": 2048},
        YARN | {"factor": 0.5},
    ]
    other = [
        {},
        {"rope_type": "default"},
        {"type": "default"},
        {"rope_type": None},
        {"type": None},
        {"factor": 3.0},
        {"rope_type": "linear", "factor": 4},
        {"rope_type": "linear", "factor": None},
        {"rope_type": "linear"},
        {"rope_type": "longrope", "factor": 2.0, "short_factor": [1.0], "long_factor": [2.0]},
        {"rope_type": "dynamic", "factor": 2.0},
        {"rope_theta": 5000},
        {"rope_theta": None},
        {"rope_type": "default", "partial_rotary_factor": None},
    ]
    for value in yarn + other:
        theta = (prefix + "rope_theta", ABSENT)
        yield [theta, (prefix + "rope_scaling", value)]
        yield [theta, (prefix + "rope_scaling", ABSENT), (prefix + "rope_parameters", value)]
        if "rope_theta" not in value:
            yield [(prefix + "rope_scaling", value)]
            yield [(prefix + "rope_scaling", ABSENT), (prefix + "rope_parameters", value)]
    yield [(prefix + "rope_theta", ABSENT), (prefix + "rope_scaling", ABSENT)]
    yield [(prefix + "rope_scaling", None), (prefix + "rope_parameters", {"rope_type": "linear", "factor": 2.0})]
    yield [(prefix + "rope_scaling", {}), (prefix + "rope_parameters", {"rope_type": "linear", "factor": 2.0})]
    yield [(prefix + "rope_theta", None), (prefix + "rope_parameters", {"rope_theta": 7000.0}), (prefix + "rope_scaling", ABSENT)]
    beside = {"rope_type": "yarn", "factor": 4.0}
    yield [(prefix + "rope_scaling", beside), (prefix + "original_max_position_embeddings", 2048)]
    yield [(prefix + "rope_scaling", beside), (prefix + "original_max_position_embeddings", None)]


OTHER_EDITS = {
    "qwen3_moe": [
        [("use_sliding_window", True)],
        [("use_sliding_window", True), ("sliding_window", ABSENT)],
        [("use_sliding_window", True), ("sliding_window", 256)],
        [("sliding_window", 256)],
        [("mlp_only_layers", [1, 3])],
        [("mlp_only_layers", [1]), ("intermediate_size", ABSENT)],
        [("mlp_only_layers", [1]), ("intermediate_size", 100)],
        [("mlp_only_layers", [1]), ("decoder_sparse_step", 2)],
        [("decoder_sparse_step", 0)],
        [("num_experts", ABSENT), ("num_local_experts", 16)],
        [("num_local_experts", 32)],
        [("attention_bias", True)],
        [("tie_word_embeddings", True)],
        [("hidden_act", "gelu")],
        [("hidden_act", "swish")],
        [("rms_norm_eps", 1e-5)],
        [("head_dim", 64)],
    ],
    "gpt_oss": [
        [("layer_types", [])],
        [("layer_types", ["full_attention"] * 3)],
        [("layer_types", ["full_attention"] * 4)],
        [("layer_types", ["full_attention"] * 4), ("sliding_window", None)],
        [("layer_types", ["attention", "sliding_attention"] * 2)],
        [("layer_types", ["chunked_attention"] * 4)],
        [("sliding_window", 64)],
        [("num_local_experts", ABSENT), ("num_experts", 16)],
        [("num_experts", 32)],
        [("num_hidden_layers", 6), ("layer_types", ABSENT)],
        [("swiglu_alpha", 1.5), ("swiglu_limit", 5.0)],
        [("attention_bias", False)],
    ],
    "qwen2_moe": [
        [("use_sliding_window", True)],
        [("use_sliding_window", True), ("sliding_window", ABSENT)],
        [("use_sliding_window", True), ("sliding_window", None)],
        [("use_sliding_window", True), ("max_window_layers", ABSENT)],
        [("use_sliding_window", True), ("max_window_layers", 1)],
        [("use_sliding_window", True), ("layer_types", ["full_attention", "sliding_attention"] * 2)],
        [("use_sliding_window", True), ("layer_types", ["full_attention"] * 4)],
        [("use_sliding_window", True), ("layer_types", ["chunked_attention"] * 4)],
        [("layer_types", ["full_attention"] * 4)],
        [("layer_types", ["full_attention"] * 3)],
        [("layer_types", ["sliding_attention"] * 4)],
        [("mlp_only_layers", [1, 3])],
        [("mlp_only_layers", [1]), ("decoder_sparse_step", 2)],
        [("mlp_only_layers", [1]), ("intermediate_size", ABSENT)],
        [("qkv_bias", False)],
        [("attention_bias", True)],
        [("norm_topk_prob", False)],
        [("shared_expert_intermediate_size", 64)],
        [("tie_word_embeddings", True)],
        [("head_dim", 32)],
    ],
    "granitemoeshared": [
        [("head_dim", 16)],
        [("attention_bias", True)],
        [("shared_intermediate_size", 0)],
        [("tie_word_embeddings", False)],
    ],
    "granitemoe": [
        [("head_dim", 16)],
        [("attention_bias", True)],
        [("logits_scaling", 3)],
    ],
    "qwen3_vl_moe": [
        [("text_config/mlp_only_layers", [1]), ("text_config/intermediate_size", ABSENT)],
        [("text_config/num_experts", ABSENT), ("text_config/num_local_experts", 8)],
        [("text_config/num_local_experts", 16)],
        [("text_config/rope_scaling", {"rope_type": "default", "mrope_section": None})],
        [("text_config/rope_scaling", {"rope_type": "default"})],
        [("text_config/rope_scaling", {"mrope_section": [8, 4, 4]})],
        [("text_config/use_sliding_window", True), ("text_config/sliding_window", 64)],
        [("tie_word_embeddings", True)],
        [("tie_word_embeddings", True), ("text_config/tie_word_embeddings", True)],
        [("vision_config/num_heads", ABSENT), ("vision_config/num_attention_heads", 8)],
        [("vision_config/depth", ABSENT), ("vision_config/num_hidden_layers", 2)],
        [("vision_config/num_attention_heads", 4), ("vision_config/num_hidden_layers", 3)],
        [("vision_config/rope_parameters", {})],
        [("vision_config/rope_parameters", {"rope_theta": 5000.0})],
        [("vision_config/rope_parameters", {"rope_theta": None})],
        [("vision_config/rope_parameters", {"rope_type": "axial", "rope_theta": 5000.0})],
        [("vision_config/rope_parameters", {"rope_type": "linear", "factor": 2.0})],
        [("vision_config/rope_scaling", {"rope_theta": 700.0})],
        [("vision_config/rope_theta", 5000)],
        [("vision_config/hidden_act", "silu")],
        [("vision_config/deepstack_visual_indexes", [])],
    ],
}
