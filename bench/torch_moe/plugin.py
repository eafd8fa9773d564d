"""The plug-in's nsp_blocked beside transformers' own implementations, on each model's own experts class.

Implementations take turns on the same layer, routing and threads, and ratios are of medians of one run. On a machine
that others use, too, --threads 1 --cpu-time counts the time that each had a processor. Prints the rows of the table in
docs/python.md.
"""

import argparse
import os
import statistics
import time

import torch
import transformers
from compare import make_batch
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts
from transformers.models.granitemoe.modeling_granitemoe import GraniteMoeExperts
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeExperts

import expertile.transformers as plugin

TRANSFORMERS_OWN = ("eager", "grouped_mm")
# E, K, H, I of each, and the bars that docs/python.md holds it to.
SHAPES = {
    "qwen3-30b-a3b": (Qwen3MoeExperts, transformers.Qwen3MoeConfig, 128, 8, 2048, 768),
    "gpt-oss-20b": (GptOssExperts, transformers.GptOssConfig, 32, 4, 2880, 2880),
    "granite-3b": (GraniteMoeExperts, transformers.GraniteMoeConfig, 40, 8, 1536, 512),
}


def make_experts(name, dtype):
    experts_class, config_class, num_experts, experts_per_token, hidden_size, intermediate_size = SHAPES[name]
    config = config_class(
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        moe_intermediate_size=intermediate_size,
        num_experts=num_experts,
        num_local_experts=num_experts,
        num_experts_per_tok=experts_per_token,
    )
    with torch.device("meta"):
        experts = experts_class(config)
    experts = experts.to(dtype).to_empty(device="cpu").eval()
    for parameter in experts.parameters():
        parameter.data.uniform_(-(hidden_size**-0.5), hidden_size**-0.5)
    return experts, config


def compare(name, dtype, arguments):
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    experts, config = make_experts(name, dtype)
    implementations = [*TRANSFORMERS_OWN, plugin.NAME]

    def seconds_of(implementation, batch):
        config._experts_implementation = implementation
        start = clock()
        experts(*batch)
        return clock() - start

    for num_tokens in map(int, arguments.tokens.split(",")):
        batch = make_batch(SHAPES[name][2:], num_tokens, dtype)
        seconds = {implementation: [] for implementation in implementations}
        for implementation in implementations:
            seconds_of(implementation, batch)  # packs, warms up
        start = time.perf_counter()
        for turn in range(arguments.turns):
            for implementation in implementations:
                seconds[implementation].append(seconds_of(implementation, batch))
            if turn >= 2 and time.perf_counter() - start > arguments.seconds:
                break
        medians = {implementation: statistics.median(times) for implementation, times in seconds.items()}
        ratio = min(medians[own] for own in TRANSFORMERS_OWN) / medians[plugin.NAME]
        columns = " | ".join(f"{1e3 * median:.0f}" for median in medians.values())
        kind = str(dtype).removeprefix("torch.")
        print(f"| {name}, {kind}, T = {num_tokens} | {columns} | {ratio:.1f} × |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--tokens", default="512,2048")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=60, help="after these and three turns the next shape follows")
    parser.add_argument("--cpu-time", action="store_true", help="of all threads, in place of the clock's")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    plugin.configure(num_cores=arguments.threads)
    print("| ms | " + " | ".join((*TRANSFORMERS_OWN, plugin.NAME)) + " | against the better |")
    print("|---" * (len(TRANSFORMERS_OWN) + 3) + "|")
    with torch.no_grad():
        for name in arguments.shapes.split(","):
            for dtype in arguments.dtypes.split(","):
                compare(name, getattr(torch, dtype), arguments)


if __name__ == "__main__":
    main()
