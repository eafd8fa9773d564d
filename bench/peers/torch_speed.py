"""Times a checkpoint in transformers on torch, in bfloat16 on the processor: one line of JSON."""

import argparse
import json
import time

import torch
from transformers import AutoModelForCausalLM


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--decode-tokens", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.bfloat16).eval()
    ids = torch.tensor([[(7919 * i + 1) % model.config.vocab_size for i in range(arguments.tokens)]])
    times = {"prefill_seconds": [], "decode_seconds": []}
    with torch.no_grad():
        for repeat in range(arguments.repeats + 1):  # the first warms up
            start = time.perf_counter()
            output = model(ids, use_cache=True, logits_to_keep=1)
            prefill, decode = time.perf_counter() - start, []
            for _ in range(arguments.decode_tokens):
                start = time.perf_counter()
                output = model(ids[:, :1], past_key_values=output.past_key_values, use_cache=True)
                decode.append(time.perf_counter() - start)
            if repeat > 0:
                times["prefill_seconds"].append(prefill)
                times["decode_seconds"] += decode
    print(json.dumps(times))


if __name__ == "__main__":
    main()
