"""Prefill in chunks by one program, decode by another: the KV cache goes from one to the other as NumPy arrays.

The original's flow and names. Options of a card's compiler (mos, aic_enable_depth_first, user_tiled, ...) go
with target="qaic"; on this machine's processor they are refused.
"""

import time
from pathlib import Path

import numpy as np

from expertile import QAICInferenceSession, QEFFAutoModelForCausalLM

MODEL = Path("models/tiny-qwen3_moe")
PROMPT = "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n\n" * 4
PREFILL_SEQ_LEN = 64
CTX_LEN = 3 * PREFILL_SEQ_LEN
NUM_CORES = 2
GENERATION_LEN = 16

model = QEFFAutoModelForCausalLM.from_pretrained(MODEL)
decode_path = model.compile(
    prefill_seq_len=1,
    ctx_len=CTX_LEN,
    num_cores=NUM_CORES,
    mxfp6_matmul=True,
    mxint8_kv_cache=True,
    num_devices=1,
    num_speculative_tokens=None,
    offload_pt_weights=False,
    retain_full_kv=True,
)
prefill_path = model.compile(
    prefill_seq_len=PREFILL_SEQ_LEN,
    ctx_len=CTX_LEN,
    num_cores=NUM_CORES,
    moe_prefill_num_nsp=16,
    moe_prefill_packed_chunk_size=256,
    mxfp6_matmul=True,
    mxint8_kv_cache=True,
    num_devices=1,
    num_speculative_tokens=None,
    prefill_only=True,
    enable_chunking=True,
    use_onnx_subfunctions=True,
)
tokenizer = model.tokenizer
ids = tokenizer.encode(PROMPT)
num_chunks = -(-len(ids) // PREFILL_SEQ_LEN)
padded_len = num_chunks * PREFILL_SEQ_LEN
input_ids = np.zeros((1, padded_len), np.int64)
input_ids[0, : len(ids)] = ids
position_ids = np.where(np.arange(padded_len) < len(ids), np.arange(padded_len), -1)[None]

prefill = QAICInferenceSession(prefill_path)
decode = QAICInferenceSession(decode_path)
layers = range(model.description.num_layers)


def state_of(outputs):
    """A step's retained state, as the next step's input."""
    names = [f"past_{part}.{layer}" for layer in layers for part in ("key", "value")]
    return {name: outputs[f"{name}_RetainedState"] for name in names}


start = time.perf_counter()
state = {}
for chunk in range(num_chunks):
    part = slice(chunk * PREFILL_SEQ_LEN, (chunk + 1) * PREFILL_SEQ_LEN)
    outputs = prefill.run({"input_ids": input_ids[:, part], "position_ids": position_ids[:, part], **state})
    state = state_of(outputs)
print(f"prefill of {len(ids)} tokens in {num_chunks} chunks: {time.perf_counter() - start:.3f} s")

made = [int(np.argmax(outputs["logits"]))]
position = len(ids)
start = time.perf_counter()
while len(made) < GENERATION_LEN:
    step = {"input_ids": np.array([[made[-1]]]), "position_ids": np.array([[position]])}
    outputs = decode.run({**step, **state_of(outputs)})
    made.append(int(np.argmax(outputs["logits"])))
    position += 1
print(f"decode: {(GENERATION_LEN - 1) / (time.perf_counter() - start):.1f} tokens/s")
print(tokenizer.decode(np.array(made, np.int32)))

# One program that does both gives the same.
model.compile(ctx_len=CTX_LEN, num_cores=NUM_CORES, mxfp6_matmul=True, mxint8_kv_cache=True)
whole = model.generate(prompts=[PROMPT], generation_len=GENERATION_LEN)
assert whole.generated_ids[0].tolist() == made
