"""One MoE layer beside kt-kernel's AMX experts: same shape, threads and run, in turns.

Needs an installed kt_kernel (PyPI kt-kernel, of this interpreter's version) and numpy; its extension is
loaded by itself, so that torch is not needed. Rounds alternate: kt-kernel in a process of its own, then
`expertile bench moe`. Machines are shared: what to read are the ratios, each the median over the rounds.

usage: bench/peers/kt_moe.py --expertile build/release/expertile [--kt-kernel FOLDER] [--tokens 512,2048]
"""

import argparse
import glob
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

SHAPES = {  # E, K, H, I
    "qwen3-30b-a3b": (128, 8, 2048, 768),
    "gpt-oss-20b": (32, 4, 2880, 2880),
    "granite-3b-a800m": (40, 8, 1536, 512),
}
OURS = {"bf16": "bfloat16", "int8": "mxint8"}  # --dtype, by kt-kernel's format
CHECKED_TOKENS = 8
LARGEST_ERROR = {"bf16": 0.01, "int8": 0.05}  # relative L2: tells a wrong product from rounding


def folder_of_kt_kernel(given):
    if given is not None:
        return given
    found = importlib.util.find_spec("kt_kernel")
    if found is None:
        sys.exit("kt_kernel is not installed here: pip install kt-kernel, or name its folder by --kt-kernel")
    return Path(found.origin).parent


def load_extension(folder):
    version = f"{sys.version_info[0]}{sys.version_info[1]}"
    paths = glob.glob(str(folder / f"_kt_kernel_ext_amx.cpython-{version}-*.so"))
    if not paths:
        sys.exit(f"{folder}: no AMX extension for python {sys.version.split()[0]}")
    spec = importlib.util.spec_from_file_location("kt_kernel_ext", paths[0])
    extension = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(extension)
    return extension


def to_float(numpy, bits):
    return (bits.astype(numpy.uint32) << numpy.uint32(16)).view(numpy.float32)


def random_bfloat16(numpy, generator, shape, exponent):
    """Of either sign, between 2^exponent and 2^(exponent + 1)."""
    bits = generator.integers(0, 1 << 16, size=shape, dtype=numpy.uint16)
    return (bits & numpy.uint16(0x807F)) | numpy.uint16((127 + exponent) << 7)


def error_of(numpy, y, x, ids, weights, experts):
    """Relative L2 of some tokens' rows from their products in float32."""
    tokens = numpy.linspace(0, len(x) - 1, min(CHECKED_TOKENS, len(x))).astype(int)
    expected = numpy.zeros((len(tokens), x.shape[1]), numpy.float32)
    for row, token in enumerate(tokens):
        values = to_float(numpy, x[token])
        for expert, weight in zip(ids[token], weights[token]):
            gate, up, down = (to_float(numpy, matrix[expert]) for matrix in experts)
            gated = gate @ values
            expected[row] += weight * (down @ (gated / (1 + numpy.exp(-gated)) * (up @ values)))
    got = to_float(numpy, y[tokens])
    return float(numpy.linalg.norm(got - expected) / numpy.linalg.norm(expected))


def measure_kt_kernel(arguments):
    """Prints the seconds of each run, by number of tokens, as JSON. The extension talks on stdout: that goes to stderr."""
    import numpy  # pylint: disable=import-outside-toplevel

    out = os.dup(1)
    os.dup2(2, 1)
    kt = load_extension(folder_of_kt_kernel(arguments.kt_kernel))
    num_experts, k, hidden, intermediate = SHAPES[arguments.shape]
    generator = numpy.random.default_rng(1)
    sizes = [(num_experts, intermediate, hidden)] * 2 + [(num_experts, hidden, intermediate)]
    experts = [random_bfloat16(numpy, generator, size, -6) for size in sizes]
    pool = kt.WorkerPoolConfig()
    pool.subpool_count, pool.subpool_numa_map, pool.subpool_thread_count = 1, [0], [arguments.threads]
    cpu = kt.CPUInfer(pool)
    on_device = numpy.zeros(num_experts, numpy.uint8)
    config = kt.moe.MOEConfig(num_experts, k, hidden, intermediate, on_device.ctypes.data)
    config.layer_idx, config.pool, config.max_len = 0, cpu.backend_, max(arguments.tokens)
    config.gate_proj, config.up_proj, config.down_proj = (matrix.ctypes.data for matrix in experts)
    layer = (kt.moe.AMXBF16_MOE if arguments.measure == "bf16" else kt.moe.AMXInt8_MOE)(config)
    order = numpy.arange(num_experts, dtype=numpy.int64)
    cpu.submit(layer.load_weights_task(order.ctypes.data))
    cpu.sync()
    result = {}
    for num_tokens in arguments.tokens:
        x = random_bfloat16(numpy, generator, (num_tokens, hidden), -1)
        ids = numpy.argsort(generator.random((num_tokens, num_experts)), axis=1)[:, :k].astype(numpy.int64).copy()
        weights = numpy.full((num_tokens, k), 1 / k, numpy.float32)
        y = numpy.zeros((num_tokens, hidden), numpy.uint16)
        length = numpy.array([num_tokens], numpy.int32)
        pointers = (ids.ctypes.data, weights.ctypes.data, x.ctypes.data, y.ctypes.data)
        seconds = []
        for _ in range(arguments.repeats + 2):  # the first two warm up
            task = layer.forward_task(length.ctypes.data, k, *pointers, False)
            start = time.perf_counter()
            cpu.submit(task)
            cpu.sync()
            seconds.append(time.perf_counter() - start)
        error = error_of(numpy, y, x, ids, weights, experts)
        if not error < LARGEST_ERROR[arguments.measure]:
            sys.exit(f"kt-kernel {arguments.measure}, T={num_tokens}: relative error {error:.3g}")
        result[num_tokens] = seconds[2:]
    os.write(out, json.dumps(result).encode())
    os._exit(0)  # its threads are not joined



def output_of(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        sys.exit(f"{Path(str(command[0])).name} {Path(str(command[1])).name}: {''.join(last)}")
    return json.loads(done.stdout)


def ours(arguments, tokens, number_format):
    command = [arguments.expertile, "bench", "moe", "--json", "--shape", arguments.shape, "--tokens", tokens]
    command += ["--dtype", OURS[number_format], "--num-nsp", "auto", "--num-cores", arguments.threads]
    result = output_of([*command, "--runs", arguments.repeats])
    return result["seconds_median"]


def theirs(arguments, number_format):
    command = [sys.executable, __file__, "--measure", number_format, "--shape", arguments.shape]
    command += ["--threads", arguments.threads, "--repeats", arguments.repeats]
    command += ["--tokens", ",".join(map(str, arguments.tokens))]
    if arguments.kt_kernel is not None:
        command += ["--kt-kernel", arguments.kt_kernel]
    return {int(tokens): statistics.median(each) for tokens, each in output_of(command).items()}


def compare(arguments, number_format):
    rounds = []
    for _ in range(arguments.rounds):
        peer = theirs(arguments, number_format)
        rounds.append({tokens: (peer[tokens], ours(arguments, tokens, number_format)) for tokens in peer})
    _, k, hidden, intermediate = SHAPES[arguments.shape]
    for tokens in arguments.tokens:
        operations = 6 * tokens * k * hidden * intermediate
        peer = statistics.median(each[tokens][0] for each in rounds)
        own = statistics.median(each[tokens][1] for each in rounds)
        ratio = statistics.median(each[tokens][0] / each[tokens][1] for each in rounds)
        print(
            f"{arguments.shape} T={tokens}: kt-kernel {number_format} {peer * 1e3:.1f} ms"
            f" ({operations / peer / 1e12:.2f} TFLOP/s), expertile {OURS[number_format]} {own * 1e3:.1f} ms"
            f" ({operations / own / 1e12:.2f} TFLOP/s): {ratio:.2f} times its speed",
            flush=True,
        )


def numbers(text):
    return [int(number) for number in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--expertile", help="the binary to measure")
    parser.add_argument("--kt-kernel", type=Path, help="the folder kt_kernel, if it is not installed")
    parser.add_argument("--shape", choices=SHAPES, default="qwen3-30b-a3b")
    parser.add_argument("--tokens", type=numbers, default=[512, 2048])
    parser.add_argument("--formats", default="bf16,int8")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--measure", choices=OURS, help=argparse.SUPPRESS)  # a round's process
    arguments = parser.parse_args()
    if arguments.measure:
        measure_kt_kernel(arguments)
    if arguments.expertile is None:
        parser.error("--expertile BINARY is needed")
    for number_format in arguments.formats.split(","):
        if number_format not in OURS:
            parser.error(f"format {number_format}, expected some of {', '.join(OURS)}")
        compare(arguments, number_format)


if __name__ == "__main__":
    main()
