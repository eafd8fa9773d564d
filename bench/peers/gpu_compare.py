#!/usr/bin/env python3
"""The MoE block and whole models on a GPU beside torch's grouped product, transformers and Liger, in one run.

Ours and theirs in turns: for each shape and number of tokens, `expertile bench moe --target cuda`, then each peer in a
process of torch that stays (gpu_speed.py), with the dense product of 8192^3 and a copy of the same run as roofs. A
whole model does not fit twice: ours first, then transformers' in a process of its own. Ours has the router's product and
the choice of experts in its time, theirs are given ids and weights. Needs a Python with torch and transformers
(--python), and for Liger liger_kernel on its PYTHONPATH; what is not there is left out, saying so. Liger tries its
kernels' variants on the first call of a shape, a minute each unless Triton has them in its cache.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SHAPES = {  # E, K, H, I
    "qwen3-30b-a3b": [128, 8, 2048, 768],
    "gpt-oss-20b": [32, 4, 2880, 2880],
    "granite-3b-a800m": [40, 8, 1536, 512],
}
PEERS = ("grouped_mm", "transformers", "liger")


class Torch:
    """gpu_speed.py, which answers requests until it is closed."""

    def __init__(self, python, device):
        self.process = subprocess.Popen(
            [python, str(HERE / "gpu_speed.py"), device], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, do, **request):
        self.process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self.process.stdin.flush()
        while line := self.process.stdout.readline():
            if line.startswith("{"):  # libraries print, too
                return json.loads(line)
        return {"error": f"gpu_speed.py ended, exit status {self.process.wait()}"}

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def ours(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return {"error": done.stderr.strip()}
    return json.loads(done.stdout)


def useful_tflops(shape, tokens, milliseconds):
    _, experts_per_token, hidden_size, intermediate_size = shape
    return 6 * tokens * experts_per_token * hidden_size * intermediate_size / milliseconds * 1e-9


def table(head, rows):
    """Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def moe_row(name, tokens, times, roofs):
    """`times`: milliseconds of each contestant, ours first; None of one that did not run."""
    shape = SHAPES[name]
    rates = {label: useful_tflops(shape, tokens, time) if time else None for label, time in times.items()}
    best = max((rate for label, rate in rates.items() if rate and label.startswith("ours")), default=0.0)
    peer = max((rate for label, rate in rates.items() if rate and not label.startswith("ours")), default=None)
    num_chosen = min(shape[0], tokens * shape[1])
    floor = num_chosen * 3 * shape[2] * shape[3] * 2 / roofs["copy_gbs"] * 1e-6  # ms
    row = [name, str(tokens)] + [f"{rate:.0f}" if rate else "-" for rate in rates.values()]
    if not best:
        return row + ["-"] * 3
    row += [f"{best / roofs['dense_tflops'] * 100:.0f} %"]
    row += [f"{useful_tflops(shape, tokens, 1.0) / best / floor:.2f}"]
    return row + [f"{best / peer:.2f}" if peer else "-"]


def compare_moe(arguments, torch, roofs):
    labels, rows = [], []
    for name in arguments.shapes:
        shape = SHAPES[name]
        for tokens in arguments.moe_tokens:
            times = {}

            def note(label, result):
                times.setdefault(label, []).append(result)
                said = result.get("error") or f"{milliseconds_of(result):.3f} ms"
                print(f"{name} T={tokens} {label}: {said}", file=sys.stderr, flush=True)

            for _ in range(arguments.rounds):
                for num_nsp in arguments.num_nsp:
                    command = [arguments.expertile, "bench", "moe", "--target", arguments.target, "--dtype", "bfloat16"]
                    command += ["--shape", ",".join(map(str, shape)), "--tokens", tokens, "--num-nsp", num_nsp]
                    note(f"ours, N {num_nsp}", ours([*command, "--runs", arguments.runs, "--json"]))
                for peer in PEERS:
                    request = {"shape": shape, "implementation": peer, "tokens": tokens, "runs": arguments.runs}
                    note(peer, torch.ask("moe", **request))
            medians = {label: median_of(results) for label, results in times.items()}
            labels = list(medians)
            rows.append(moe_row(name, tokens, medians, roofs))
    head = ["shape", "T", *labels, "ours, of the dense rate", "ours, times reading the weights", "ours / best peer"]
    print(table(head, rows), flush=True)


def milliseconds_of(result):
    return result["milliseconds"] if "milliseconds" in result else result["seconds_median"] * 1e3


def median_of(results):
    """Milliseconds; None where it did not run."""
    times = [milliseconds_of(result) for result in results if "error" not in result]
    return statistics.median(times) if times else None


def our_model(arguments, tokens, num_nsp):
    command = [arguments.expertile, "bench", "model", arguments.model, "--target", arguments.target]
    command += ["--layers", arguments.layers, "--tokens", tokens, "--decode-tokens", arguments.decode_tokens]
    command += ["--prefill-seq-len", tokens, "--ctx-len", tokens + 64, "--moe-prefill-num-nsp", num_nsp]
    result = ours([*command, "--runs", 5, "--json"])
    if "error" in result:
        return result
    return {"prefill": result["prefill_seconds_median"] * 1e3, "decode": result["decode_seconds_per_token_median"] * 1e3}


def compare_models(arguments):
    def noted(label, tokens, result):
        said = result.get("error") or f"prefill {result['prefill']:.2f} ms, decode {result['decode']:.2f} ms"
        print(f"{arguments.model.stem} T={tokens} {label}: {said}", file=sys.stderr, flush=True)
        return result

    results = {}
    for num_nsp in arguments.num_nsp:
        label = f"ours, N {num_nsp}"
        results[label] = {t: noted(label, t, our_model(arguments, t, num_nsp)) for t in arguments.model_tokens}
    torch = Torch(arguments.python, arguments.device)
    request = {"config": str(arguments.model), "layers": arguments.layers, "decode_tokens": arguments.decode_tokens}
    results["transformers"] = {
        t: noted("transformers", t, torch.ask("model_step", tokens=t, runs=5, **request)) for t in arguments.model_tokens
    }
    torch.close()
    rows = []
    for label, by_tokens in results.items():
        there = {tokens: r for tokens, r in by_tokens.items() if "error" not in r}
        speeds = [f"{tokens / r['prefill'] * 1e3:.0f}" for tokens, r in there.items()]
        decode = [f"{r['decode']:.2f}" for r in there.values()]
        if len(there) == len(by_tokens):
            rows.append([label, *speeds, ", ".join(decode)])
    head = ["tokens/s of prefill", *(f"T = {t}" for t in arguments.model_tokens), "ms of a token after each"]
    print(f"\n{arguments.model.stem}\n\n{table(head, rows)}", flush=True)


def main():
    def numbers(text):
        return [int(word) for word in text.split(",") if word]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--expertile", default=str(ROOT / "build/release/expertile"), help="the binary to measure")
    parser.add_argument("--python", default=sys.executable, help="one that has torch")
    parser.add_argument("--target", default="cuda", help="of ours")
    parser.add_argument("--device", default="cuda", help="of torch")
    parser.add_argument("--shapes", type=lambda text: text.split(","), default=list(SHAPES), help=",".join(SHAPES))
    parser.add_argument("--moe-tokens", type=numbers, default=[512, 2048, 8192, 32768])
    parser.add_argument("--model-tokens", type=numbers, default=[512, 2048, 8192], help="none: no whole model")
    parser.add_argument("--num-nsp", type=lambda text: text.split(","), default=["none", "4"], help="of ours, each")
    parser.add_argument("--model", type=Path, default=ROOT / "tools/shapes/qwen3-30b-a3b.json", help="a config.json")
    parser.add_argument("--layers", type=int, default=0, help="of the model; 0 = all")
    parser.add_argument("--decode-tokens", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--runs", type=int, default=7, help="of each round, of which the median is taken")
    parser.add_argument("--dense-size", type=int, default=8192)
    parser.add_argument("--copied-bytes", type=int, default=1 << 30)
    arguments = parser.parse_args()
    for name in arguments.shapes:
        if name not in SHAPES:
            parser.error(f"shape {name}, expected some of {', '.join(SHAPES)}")
    torch = Torch(arguments.python, arguments.device)
    sizes = {"size": arguments.dense_size, "copied_bytes": arguments.copied_bytes}
    roofs = torch.ask("roofs", runs=arguments.runs, **sizes)
    if "error" in roofs:
        sys.exit(f"torch: {roofs['error']}")
    print(f"{roofs['device']}: dense {roofs['dense_tflops']:.0f} TFLOP/s, copy {roofs['copy_gbs']:.0f} GB/s\n", flush=True)
    if arguments.moe_tokens:
        compare_moe(arguments, torch, roofs)
    torch.close()
    if arguments.model_tokens:
        compare_models(arguments)


if __name__ == "__main__":
    main()
