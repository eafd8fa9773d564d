"""A model of text and images with NSP blocking on, and off as the baseline."""

from pathlib import Path

from expertile import QEFFAutoModelForImageTextToText

MODEL = Path("models/tiny-qwen3_vl_moe")
MESSAGES = [
    {
        "role": "user",
        "content": [
            {"type": "image", "image": str(MODEL / "images" / "0.png")},
            {"type": "text", "text": "Describe the image."},
        ],
    }
]

model = QEFFAutoModelForImageTextToText.from_pretrained(MODEL, attn_implementation="eager", kv_offload=True)
texts = []
for num_nsp in (None, 4):
    paths = model.compile(
        batch_size=1,
        prefill_seq_len=128,
        ctx_len=512,
        height=354,
        width=536,
        num_cores=2,
        num_devices=1,
        moe_prefill_num_nsp=num_nsp,
    )
    print("blocking off" if num_nsp is None else f"blocking on, {num_nsp} NSPs", paths["lang_qpc_path"], sep=": ")
    # Where torch is installed, a processor of transformers makes the same inputs.
    inputs = model.prepare(MESSAGES)
    result = model.generate(inputs=inputs, generation_len=40)
    texts.append(result.generated_texts[0])
    print(result)

assert texts[0] == texts[1], "one answer, whatever the blocking"
print(texts[0])
