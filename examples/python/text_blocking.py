"""A text model with NSP blocking on, and off as the baseline: the same text, and how long each took."""

from pathlib import Path

from expertile import QEFFAutoModelForCausalLM

MODEL = Path("models/tiny-qwen3_moe")
PROMPT = "First Citizen:\nBefore we proceed any further, hear me speak."

model = QEFFAutoModelForCausalLM.from_pretrained(MODEL)
texts = []
for num_nsp in (None, 16):
    model.compile(
        batch_size=1,
        prefill_seq_len=512,
        ctx_len=1024,
        num_cores=2,
        num_devices=1,
        moe_prefill_num_nsp=num_nsp,
        moe_prefill_packed_chunk_size=256,
    )
    result = model.generate(prompts=[PROMPT], generation_len=32)
    texts.append(result.generated_texts[0])
    print("blocking off" if num_nsp is None else f"blocking on, {num_nsp} NSPs")
    print(result)

assert texts[0] == texts[1], "one answer, whatever the blocking"
print(PROMPT + texts[0])
