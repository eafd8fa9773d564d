"""The MoE block next to transformers' Qwen3MoeExperts on torch: same shape, threads and run.

Rounds alternate: our bench (which samples the roof before every repeat), then each torch
implementation. A machine shared with other work slows all of them alike, so ratios of one run's
medians are what to read.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import torch
from transformers import Qwen3MoeConfig
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeExperts


def make_experts(shape, dtype):
    num_experts, experts_per_token, hidden_size, intermediate_size = shape
    config = Qwen3MoeConfig(
        hidden_size=hidden_size,
        moe_intermediate_size=intermediate_size,
        num_experts=num_experts,
        num_experts_per_tok=experts_per_token,
    )
    config._experts_implementation = "eager"
    experts = Qwen3MoeExperts(config).to(dtype)
    for parameter in experts.parameters():
        parameter.data.uniform_(-(hidden_size**-0.5), hidden_size**-0.5)
    return experts.eval(), config


def make_batch(shape, num_tokens, dtype):
    num_experts, experts_per_token, hidden_size, _ = shape
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(num_tokens, hidden_size, generator=generator).mul(2).sub(1).to(dtype)
    keys = torch.rand(num_tokens, num_experts, generator=generator)
    ids = keys.topk(experts_per_token, dim=-1).indices
    weights = torch.full((num_tokens, experts_per_token), 1.0 / experts_per_token, dtype=dtype)
    return x, ids, weights


def time_torch(experts, config, implementation, batch, repeats):
    """Seconds of each repeat, or None where the implementation does not run here."""
    config._experts_implementation = implementation
    seconds = []
    with torch.no_grad():
        try:
            for _ in range(repeats):
                start = time.perf_counter()
                experts(*batch)
                seconds.append(time.perf_counter() - start)
        except (RuntimeError, NotImplementedError, ValueError) as error:
            print(f"{implementation}: {str(error).splitlines()[0]}", file=sys.stderr)
            return None
    return seconds


def time_ours(arguments, num_tokens, num_nsp):
    command = [arguments.expertile, "bench", "moe", "--json"]
    command += ["--shape", ",".join(map(str, arguments.shape)), "--tokens", str(num_tokens)]
    command += ["--dtype", arguments.dtype, "--num-cores", str(arguments.threads)]
    command += ["--num-nsp", str(num_nsp), "--runs", str(arguments.repeats)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare(arguments, num_tokens, experts, config, dtype):
    names = [f"expertile num_nsp={arguments.num_nsp}", "expertile num_nsp=none"]
    names += [f"transformers {name}" for name in arguments.implementations]
    seconds = {name: [] for name in names}
    roofs = []
    least = []  # seconds that the roof allows
    batch = make_batch(arguments.shape, num_tokens, dtype)
    for _ in range(arguments.rounds):
        for name, num_nsp in zip(names, (arguments.num_nsp, "none")):
            result = time_ours(arguments, num_tokens, num_nsp)
            seconds[name].append(result["seconds_median"])
            roofs.append((result["roof_tflops"], result["roof_gbs"]))
            least.append(result["fraction_of_roof"] * result["seconds_median"])
        for name in list(arguments.implementations):
            times = time_torch(experts, config, name, batch, arguments.repeats)
            if times:
                seconds[f"transformers {name}"].append(statistics.median(times))
    report(arguments, num_tokens, seconds, roofs, statistics.median(least), result["isa"])


def report(arguments, num_tokens, seconds, roofs, least, isa):
    _, experts_per_token, hidden_size, intermediate_size = arguments.shape
    operations = 6 * num_tokens * experts_per_token * hidden_size * intermediate_size
    roof = statistics.median(r[0] for r in roofs)
    bandwidth = statistics.median(r[1] for r in roofs)
    print(f"T={num_tokens} {arguments.dtype} isa={isa} threads={arguments.threads}: "
          f"roof {roof:.3f} TFLOP/s, {bandwidth:.1f} GB/s, least {least * 1e3:.0f} ms")
    base = statistics.median(seconds["transformers eager"] or [float("nan")])
    for name, values in seconds.items():
        if not values:
            continue
        median = statistics.median(values)
        print(f"  {name:28} {median * 1e3:8.0f} ms  {operations / median * 1e-12:.3f} TFLOP/s  "
              f"{100 * least / median:3.0f} % of roof  {base / median:.2f} x eager", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--expertile", required=True, help="the binary to measure")
    parser.add_argument("--shape", default="128,8,2048,768", help="E,K,H,I")
    parser.add_argument("--tokens", default="512,2048")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--num-nsp", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--implementations", default="eager,grouped_mm")
    arguments = parser.parse_args()
    arguments.shape = [int(size) for size in arguments.shape.split(",")]
    arguments.implementations = arguments.implementations.split(",")
    torch.set_num_threads(arguments.threads)
    dtype = getattr(torch, arguments.dtype)
    experts, config = make_experts(arguments.shape, dtype)
    for num_tokens in map(int, arguments.tokens.split(",")):
        compare(arguments, num_tokens, experts, config, dtype)


if __name__ == "__main__":
    main()
