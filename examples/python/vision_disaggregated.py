"""A picture and a question through three programs: the vision tower once, the prompt in chunks, then token by token.

The original's flow and names: what the programs hand to each other goes as NumPy arrays. Options of a card's compiler
(mos, aic_enable_depth_first, split_model_io, ...) go with target="qaic"; on this machine's processor they are refused.
"""

from pathlib import Path

import numpy as np

from expertile import QAICInferenceSession, QEFFAutoModelForImageTextToText

MODEL = Path("models/tiny-qwen3_vl_moe")
PREFILL_SEQ_LEN = 16
CTX_LEN = 256
GENERATION_LEN = 24
MESSAGES = [
    {
        "role": "user",
        "content": [
            {"type": "image", "image": str(MODEL / "images" / "0.png")},
            {"type": "text", "text": "Describe the image."},
        ],
    }
]

qeff_model = QEFFAutoModelForImageTextToText.from_pretrained(MODEL, attn_implementation="eager", kv_offload=True)
common = {"batch_size": 1, "ctx_len": CTX_LEN, "num_cores": 2, "num_devices": 1}
vision_qpc_path = qeff_model.compile(prefill_seq_len=PREFILL_SEQ_LEN, skip_lang=True, **common)
# Where torch is installed, a processor of transformers makes the same inputs.
processed = qeff_model.prepare(MESSAGES)
decode_qpc_path = qeff_model.compile(
    prefill_seq_len=1,
    mxfp6_matmul=True,
    mxint8_kv_cache=True,
    offload_pt_weights=False,
    retain_full_kv=True,
    prefill_only=False,
    skip_vision=True,
    **common,
)
prefill_qpc_path = qeff_model.compile(
    prefill_seq_len=PREFILL_SEQ_LEN,
    moe_prefill_num_nsp=4,
    moe_prefill_packed_chunk_size=256,
    mxfp6_matmul=True,
    mxint8_kv_cache=True,
    retain_full_kv=True,
    prefill_only=True,
    enable_chunking=True,
    skip_vision=True,
    use_onnx_subfunctions=True,
    **common,
)
vision_session = QAICInferenceSession(vision_qpc_path.get("vision_qpc_path"))
lang_prefill_session = QAICInferenceSession(prefill_qpc_path.get("lang_prefill_qpc_path"))
lang_decode_session = QAICInferenceSession(decode_qpc_path.get("lang_decode_qpc_path"))

grid = processed["image_grid_thw"]
inputs = qeff_model.model.prepare_inputs_for_generation(inputs=processed, prefill_seq_len=PREFILL_SEQ_LEN, batch_size=1)

input_ids_length = inputs["input_ids"].shape[1]
num_chunks = -(input_ids_length // -PREFILL_SEQ_LEN)
padded_len = num_chunks * PREFILL_SEQ_LEN
lang_inputs = {
    "input_ids": np.pad(inputs["input_ids"], ((0, 0), (0, padded_len - input_ids_length)), constant_values=1),
    "position_ids": inputs["position_ids"],
    "image_idx": np.array([[0]]),
}

# Where the pictures have the height and width that compile() was told, image_grid_thw need not be given.
vision_outputs = vision_session.run({"pixel_values": inputs["pixel_values"], "image_grid_thw": grid})
lang_inputs["vision_embeds"] = vision_outputs["vision_embeds"]
lang_inputs["deepstack_features"] = vision_outputs["deepstack_features"]

num_layers = qeff_model.description.num_layers
chunk_inputs = lang_inputs.copy()
for i in range(num_chunks):
    part = slice(i * PREFILL_SEQ_LEN, (i + 1) * PREFILL_SEQ_LEN)
    chunk_inputs["input_ids"] = lang_inputs["input_ids"][:, part]
    chunk_inputs["position_ids"] = lang_inputs["position_ids"][..., part]
    outputs = lang_prefill_session.run(chunk_inputs)
    for layer in range(num_layers):
        chunk_inputs[f"past_key.{layer}"] = outputs[f"past_key.{layer}_RetainedState"]
        chunk_inputs[f"past_value.{layer}"] = outputs[f"past_value.{layer}_RetainedState"]
    chunk_inputs["image_idx"] = outputs["image_idx_output"]

all_outputs = [int(np.argmax(outputs["logits"]))]
position_ids = np.max(lang_inputs["position_ids"], axis=-1, keepdims=True) + 1
while len(all_outputs) < GENERATION_LEN:
    decode_inputs = {"input_ids": np.array([[all_outputs[-1]]]), "position_ids": position_ids}
    for layer in range(num_layers):
        decode_inputs[f"past_key.{layer}"] = outputs[f"past_key.{layer}_RetainedState"]
        decode_inputs[f"past_value.{layer}"] = outputs[f"past_value.{layer}_RetainedState"]
    outputs = lang_decode_session.run(decode_inputs)
    all_outputs.append(int(np.argmax(outputs["logits"])))
    position_ids = position_ids + 1
print(f"{input_ids_length} tokens in {num_chunks} chunks: {qeff_model.tokenizer.decode(np.array(all_outputs, np.int32))}")

# One program that does it all gives the same.
qeff_model.compile(prefill_seq_len=128, mxfp6_matmul=True, mxint8_kv_cache=True, **common)
whole = qeff_model.generate(processed, generation_len=GENERATION_LEN, automation=True)
assert whole.generated_ids[0].tolist() == all_outputs
