"""Writes a Qwen3-MoE checkpoint as a GGUF: write_gguf.py CHECKPOINT OUT bf16|q8_0|q4_0

The same weights: bfloat16 as they are, or quantised from them. Norms and the router stay float32,
as other converters leave them. No tokenizer: the speed of token ids is all that is asked.
"""

import json
import sys
from pathlib import Path

OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
IN_LAYER = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate": "ffn_gate_inp",
}
EXPERT = {"gate_proj": "ffn_gate_exps", "up_proj": "ffn_up_exps", "down_proj": "ffn_down_exps"}
MODEL_TYPE = "qwen3_moe"


def place_of(name):
    """("blk.3.ffn_up_exps.weight", 17) for expert 17's tensor of a checkpoint; no expert: None."""
    stem = name.removesuffix(".weight")
    if stem in OUTSIDE:
        return OUTSIDE[stem] + ".weight", None
    part = stem.split(".", 3)
    if len(part) == 4 and part[:2] == ["model", "layers"]:
        block, inside = f"blk.{part[2]}.", part[3]
        if inside in IN_LAYER:
            return block + IN_LAYER[inside] + ".weight", None
        words = inside.split(".")
        if words[:2] == ["mlp", "experts"] and len(words) == 4 and words[3] in EXPERT:
            return block + EXPERT[words[3]] + ".weight", int(words[2])
    raise SystemExit(f"{name}: no tensor of {MODEL_TYPE} that a GGUF has")


def is_float32(name):
    """Of a GGUF's tensor."""
    return "_norm." in name or "ffn_gate_inp" in name


def tensors_of(folder):
    """Name to (dtype, shape, memory) over the checkpoint's safetensors files."""
    import numpy

    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        data = numpy.memmap(path, dtype=numpy.uint8, mode="r")
        start = 8 + int.from_bytes(data[:8].tobytes(), "little")
        for name, entry in json.loads(data[8:start].tobytes()).items():
            if name != "__metadata__":
                begin, end = (start + offset for offset in entry["data_offsets"])
                found[name] = (entry["dtype"], entry["shape"], data[begin:end])
    return found


def floats_of(tensor):
    import numpy

    dtype, shape, data = tensor
    if dtype == "F32":
        return data.view(numpy.float32).reshape(shape)
    if dtype != "BF16":
        raise SystemExit(f"dtype {dtype}, expected BF16 or F32")
    return (data.view(numpy.uint16).astype(numpy.uint32) << 16).view(numpy.float32).reshape(shape)


def add_sizes(writer, config):
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_expert_count(config["num_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("none")


def main():
    import gguf
    import numpy

    folder, out, number_format = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["model_type"] != MODEL_TYPE:
        raise SystemExit(f"{folder}: model_type {config['model_type']}, expected {MODEL_TYPE}")
    kind = gguf.GGMLQuantizationType[number_format.upper()]
    parts = {}  # a GGUF tensor's name: its experts in order, or itself
    for name, tensor in tensors_of(folder).items():
        place, expert = place_of(name)
        parts.setdefault(place, {})[expert or 0] = tensor
    writer = gguf.GGUFWriter(out + ".part", "qwen3moe")
    add_sizes(writer, config)
    for name, tensors in parts.items():
        if is_float32(name):
            writer.add_tensor(name, floats_of(tensors[0]))
            continue
        rows = [gguf.quants.quantize(floats_of(tensors[i]), kind) for i in range(len(tensors))]
        writer.add_tensor(name, numpy.stack(rows) if "_exps" in name else rows[0], raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    Path(out + ".part").rename(out)


if __name__ == "__main__":
    main()
