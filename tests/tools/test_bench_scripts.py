"""bench/compare.sh and bench/peers: what they make of the programs' output, and the GGUF's names."""

import importlib.util
import json
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(path):
    spec = importlib.util.spec_from_file_location(path.replace("/", "_"), ROOT / "bench" / f"{path}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fake_build(folder, results):
    """A build whose bench prints `results` one after another, and notes its arguments."""
    folder.mkdir()
    for i, result in enumerate(results):
        (folder / f"{i}.json").write_text(json.dumps(result))
    binary = folder / "expertile"
    binary.write_text(f'#!/bin/sh\ncd {folder}\necho "$@" >> calls\nn=$(($(wc -l < calls) - 1))\ncat $n.json\n')
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    return folder


def model_result(seconds, attention):
    return {"prefill_seconds_median": seconds, "decode_seconds_per_token_median": 0.01,
            "prefill_stages": [{"stage": "attention", "seconds": attention}, {"stage": "other", "seconds": 0.0}]}  # fmt: skip


def run_compare(*arguments):
    command = [ROOT / "bench" / "compare.sh", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=60)


def test_two_builds_in_turns(tmp_path):
    old = fake_build(tmp_path / "old", [model_result(4.0, 1.0), model_result(2.0, 1.0), model_result(3.0, 0.5)])
    new = fake_build(tmp_path / "new", [model_result(2.0, 0.5), model_result(2.0, 0.5), model_result(0.6, 0.5)])
    done = run_compare("--rounds", 3, old, new / "expertile", "model", "folder", "--tokens", 9)
    assert (done.returncode, done.stderr) == (0, "")
    rows = {line[:34].strip(): line.split() for line in done.stdout.splitlines()[2:]}
    assert rows["prefill_seconds_median"][1:] == ["3000.000", "2000.000", "0.500"]
    attention = next(line for line in done.stdout.splitlines() if line.startswith("prefill attention"))
    assert attention.split()[-3:] == ["1000.000", "500.000", "0.500"]
    assert (old / "calls").read_text() == 3 * "bench model folder --tokens 9 --json\n"


def test_what_one_build_lacks_is_left_out(tmp_path):
    compare = load("compare")
    old = compare.times_of({"seconds_median": 1.0})
    new = compare.times_of({"seconds_median": 2.0, "prefill_stages": [{"stage": "rope", "seconds": 1.0}]})
    assert [line.split()[0] for line in compare.table([(old, new)])[1:]] == ["seconds_median"]


def test_refusals_of_compare(tmp_path):
    build = fake_build(tmp_path / "build", [])
    (build / "expertile").write_text("#!/bin/sh\necho 'expertile: no such shape' >&2\nexit 2\n")
    done = run_compare(build, build, "moe", "--shape", "x")
    assert done.returncode == 1 and "no such shape" in done.stderr
    assert run_compare(build, build).returncode == 2


def test_speeds_and_table():
    peers = load("peers/compare")
    line = 'loading\n{"prefill_seconds": [3.0, 1.0, 2.0], "decode_seconds": [0.2, 0.1, 0.4, 0.3, 0.2]}\n'
    assert peers.speed_of(line) == peers.Speed(2.0, 0.2)
    ours = peers.our_speed_of('{"prefill_seconds_median": 1.0, "decode_seconds_per_token_median": 0.1}')
    lines = peers.table(512, [{"ours": ours, "peer": peers.Speed(2.0, 0.2)}, {"ours": ours, "peer": peers.Speed(3.0, 0.1)}])
    assert lines[2].split() == ["ours", "512.0", "1.00", "100.00", "1.00"]
    assert lines[3].split() == ["peer", "204.8", "2.50", "150.00", "1.50"]


def test_a_row_of_the_gpu_table():
    gpu = load("peers/gpu_compare")
    roofs = {"dense_tflops": 800.0, "copy_gbs": 3000.0}
    least = 128 * 3 * 2048 * 768 * 2 / 3000e9 * 1e3  # ms to read every expert once
    times = {"ours, N none": 2 * least, "ours, N 4": 4 * least, "grouped_mm": 6 * least, "liger": None}
    row = gpu.moe_row("qwen3-30b-a3b", 512, times, roofs)
    rate = 6 * 512 * 8 * 2048 * 768 / (2 * least) * 1e-9
    assert row == ["qwen3-30b-a3b", "512", f"{rate:.0f}", f"{rate / 2:.0f}", f"{rate / 3:.0f}", "-",
                   f"{rate / 8:.0f} %", "2.00", "3.00"]  # fmt: skip
    nothing = gpu.moe_row("qwen3-30b-a3b", 512, {"ours, N none": None, "liger": 1.0}, roofs)
    assert nothing[2] == "-" and nothing[-3:] == ["-"] * 3
    assert gpu.table(["a", "b"], [["1", "2"]]).splitlines() == ["| a | b |", "|---|---|", "| 1 | 2 |"]


def test_the_gpu_comparison_says_what_did_not_run(tmp_path):
    build = fake_build(tmp_path / "build", [{"seconds_median": 0.001}] * 2)
    python = tmp_path / "python"  # a worker without Liger
    python.write_text("""#!/usr/bin/env python3
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    print("a library's own words")
    if request["do"] == "roofs":
        print(json.dumps({"device": "A GPU", "dense_tflops": 700.0, "copy_gbs": 3000.0}), flush=True)
    elif request["implementation"] == "liger":
        print(json.dumps({"error": "ModuleNotFoundError: liger"}), flush=True)
    else:
        print(json.dumps({"milliseconds": 2.0}), flush=True)
""")
    python.chmod(0o755)
    command = [ROOT / "bench" / "peers" / "gpu_compare.py", "--expertile", build / "expertile", "--python", python]
    command += ["--shapes", "granite-3b-a800m", "--moe-tokens", "512", "--model-tokens", ""]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "A GPU: dense 700 TFLOP/s, copy 3000 GB/s" in done.stdout and "liger: ModuleNotFoundError" in done.stderr
    cells = done.stdout.splitlines()[-1].split(" | ")
    assert cells[0] == "| granite-3b-a800m" and cells[6] == "-" and cells[-1] == "2.00 |"
    calls = (build / "calls").read_text().splitlines()
    assert all("--target cuda" in call and "--tokens 512" in call for call in calls) and len(calls) == 2


@pytest.mark.parametrize("name, place", [
    ("model.embed_tokens.weight", ("token_embd.weight", None)),
    ("lm_head.weight", ("output.weight", None)),
    ("model.norm.weight", ("output_norm.weight", None)),
    ("model.layers.12.self_attn.q_norm.weight", ("blk.12.attn_q_norm.weight", None)),
    ("model.layers.0.mlp.gate.weight", ("blk.0.ffn_gate_inp.weight", None)),
    ("model.layers.3.mlp.experts.17.up_proj.weight", ("blk.3.ffn_up_exps.weight", 17)),
])  # fmt: skip
def test_names_of_a_gguf(name, place):
    write_gguf = load("peers/write_gguf")
    assert write_gguf.place_of(name) == place
    assert write_gguf.is_float32(place[0]) == ("norm" in name or name.endswith("mlp.gate.weight"))


def test_tensors_that_a_gguf_has_not():
    with pytest.raises(SystemExit, match="shared_expert"):
        load("peers/write_gguf").place_of("model.layers.0.mlp.shared_expert.up_proj.weight")


def test_tensors_of_a_checkpoint():
    numpy = pytest.importorskip("numpy")
    write_gguf = load("peers/write_gguf")
    tensors = write_gguf.tensors_of(ROOT / "models" / "tiny-qwen3_moe")
    values = write_gguf.floats_of(tensors["model.norm.weight"])
    assert values.shape == (192,) and numpy.isfinite(values).all()
    for name in tensors:
        write_gguf.place_of(name)
