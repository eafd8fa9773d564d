"""A whole model's prefill and decode beside other engines: same weights, threads and run. See run.sh.

Rounds alternate, one process each: ours, then every peer. A machine shared with other work slows
all of them alike, so what to read are the ratios, each the median over the rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Engine:
    packages: tuple  # from PyPI, into an environment of this engine's name
    program: str  # beside this file; prints one line of JSON
    formats: tuple  # of weights
    module: str = ""  # the C API that llama_speed.py drives


GGUF_FORMATS = ("bf16", "q8_0", "q4_0")
ENGINES = {
    "llama.cpp": Engine(("llama-cpp-python", "numpy", "gguf"), "llama_speed.py", GGUF_FORMATS, "llama_cpp"),
    "ik_llama.cpp": Engine(
        ("ik-llama-cpp-python", "numpy", "gguf"), "llama_speed.py", GGUF_FORMATS, "ik_llama_cpp._ctypes_api"
    ),
    "transformers": Engine(("torch", "transformers", "accelerate"), "torch_speed.py", ("bf16",)),
}


@dataclass(frozen=True)
class Speed:
    """Seconds of one prefill, and of one decoded token after it."""

    prefill: float
    decode: float


def speed_of(line):
    """What a peer's program printed: its last line is JSON."""
    result = json.loads(line.strip().splitlines()[-1])
    return Speed(statistics.median(result["prefill_seconds"]), statistics.median(result["decode_seconds"]))


def our_speed_of(text):
    result = json.loads(text)
    return Speed(result["prefill_seconds_median"], result["decode_seconds_per_token_median"])


def table(tokens, rounds):
    """Lines of a table for `rounds`: name to Speed, each; the first name is ours."""
    names = list(rounds[0])
    lines = [
        f"T={tokens}",
        f"  {'':24}{'tokens/s':>10}{'ours / it':>11}{'decode, ms':>12}{'it / ours':>11}",
    ]
    for name in names:
        prefill = statistics.median(each[name].prefill for each in rounds)
        decode = statistics.median(each[name].decode for each in rounds)
        faster = statistics.median(each[name].prefill / each[names[0]].prefill for each in rounds)
        sooner = statistics.median(each[name].decode / each[names[0]].decode for each in rounds)
        lines.append(f"  {name:24}{tokens / prefill:10.1f}{faster:11.2f}{decode * 1e3:12.2f}{sooner:11.2f}")
    return lines


def run(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        sys.exit(f"{command[0]} {Path(str(command[1])).name}: {''.join(last)}")
    return done.stdout


def python_of(environments, name):
    """The interpreter of the engine's environment, which is made if it is not there."""
    folder = environments / name
    python = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        print(f"{name}: installing {' '.join(ENGINES[name].packages)} into {folder}", file=sys.stderr)
        run([sys.executable, "-m", "venv", folder])
        run([python, "-m", "pip", "install", "--quiet", *ENGINES[name].packages])
        done.touch()
    return python


def weights_of(python, checkpoint, environments, name, number_format):
    """What the engine reads: a GGUF written once, or the checkpoint itself."""
    if ENGINES[name].program != "llama_speed.py":
        return checkpoint
    path = environments / f"{checkpoint.name}-{number_format}.gguf"
    if not path.exists():
        run([python, HERE / "write_gguf.py", checkpoint, path, number_format])
    return path


def compare(arguments, peers, tokens):
    def ours():
        command = [arguments.expertile, "bench", "model", arguments.checkpoint, "--json"]
        command += ["--tokens", tokens, "--prefill-seq-len", tokens, "--ctx-len", tokens + 64]
        command += ["--decode-tokens", arguments.decode_tokens, "--runs", arguments.repeats]
        command += ["--dtype", arguments.dtype, "--moe-prefill-num-nsp", arguments.num_nsp]
        return our_speed_of(run([*command, "--num-cores", arguments.threads]))

    rounds = []
    for _ in range(arguments.rounds):
        speeds = {f"expertile {arguments.dtype}": ours()}
        for label, command in peers.items():
            sizes = ["--threads", arguments.threads, "--tokens", tokens]
            sizes += ["--decode-tokens", arguments.decode_tokens, "--repeats", arguments.repeats]
            speeds[label] = speed_of(run([*command, *sizes]))
        rounds.append(speeds)
    print("\n".join(table(tokens, rounds)), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="a Qwen3-MoE checkpoint folder in bfloat16")
    parser.add_argument("--expertile", required=True, help="the binary to measure")
    parser.add_argument("--environments", type=Path, required=True)
    parser.add_argument("--engines", default="llama.cpp,ik_llama.cpp", help=",".join(ENGINES))
    parser.add_argument("--formats", default="bf16,q8_0,q4_0", help="of the peers' weights")
    parser.add_argument("--tokens", default="512,2048")
    parser.add_argument("--decode-tokens", type=int, default=8)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "mxint8"], default="bfloat16", help="our arithmetic")
    parser.add_argument("--num-nsp", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    peers = {}
    for name in arguments.engines.split(","):
        if name not in ENGINES:
            parser.error(f"engine {name}, expected some of {', '.join(ENGINES)}")
        python = python_of(arguments.environments, name)
        for number_format in arguments.formats.split(","):
            if number_format not in ENGINES[name].formats:
                continue
            weights = weights_of(python, arguments.checkpoint, arguments.environments, name, number_format)
            command = [python, HERE / ENGINES[name].program, weights]
            if ENGINES[name].module:
                command += ["--module", ENGINES[name].module]
            peers[f"{name} {number_format}"] = command
    for tokens in map(int, arguments.tokens.split(",")):
        compare(arguments, peers, tokens)


if __name__ == "__main__":
    main()
