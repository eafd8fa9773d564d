"""Exports: found again, as many as sets of options, whole or not at all, in bounded memory."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import onnx
import pytest
from cases import MODEL, ROOT

GRAPHS = {"export.json", "prefill.onnx", "decode.onnx"}
SMALL = ["--ctx-len", 64, "--prefill-seq-len", 8]


@pytest.fixture
def compile_graphs(expertile, tmp_path):
    """Compiles for target onnx; returns the folder and whether it was there before."""

    def run(*options, model=MODEL):
        done = expertile("compile", model, "--target", "onnx", "--cache-dir", tmp_path / "cache", *options)
        assert (done.returncode, done.stderr) == (0, b"")
        said, folder = done.stdout.decode().splitlines()
        assert said in ("compiled", "compiled before")
        return folder, said == "compiled before"

    return run


def test_a_second_export_is_found(compile_graphs):
    folder, was_found = compile_graphs(*SMALL)
    assert not was_found and set(os.listdir(folder)) == GRAPHS
    before = {name: os.stat(f"{folder}/{name}").st_mtime_ns for name in GRAPHS}
    assert compile_graphs(*SMALL) == (folder, True)
    assert {name: os.stat(f"{folder}/{name}").st_mtime_ns for name in GRAPHS} == before
    record = json.loads(open(f"{folder}/export.json").read())
    assert folder.endswith("-" + record["fingerprint"][:16])
    assert record["files"] == {name: os.path.getsize(f"{folder}/{name}") for name in GRAPHS - {"export.json"}}


def test_every_option_makes_a_folder_of_its_own(compile_graphs):
    model = ROOT / "models" / "tiny-qwen3_vl_moe"
    small = {"--ctx-len": 64, "--prefill-seq-len": 8, "--height": 64, "--width": 64, "--moe-prefill-num-nsp": 4}
    changes = [{}] + [
        {"--ctx-len": 65},
        {"--prefill-seq-len": 9},
        {"--prefill-seq-len": 1},
        {"--moe-prefill-num-nsp": 5},
        {"--moe-prefill-num-nsp": "none"},
        {"--moe-prefill-packed-chunk-size": 4},
        {"--moe-prefill-packed-chunk-size": 512},  # more than a chunk has: the same graph, another folder all the same
        {"--batch-size": 2},
        {"--height": 96},
        {"--onnx-sentinel": "in-bounds"},
        {"--prefill-only": "true"},
        {"--prefill-only": "false"},
        {"--use-onnx-subfunctions": None},
        {"--enable-chunking": None},
        {"--retain-full-kv": None},
        {"--skip-lang": None},
    ]
    folders = set()
    for change in changes:
        options = [word for pair in (small | change).items() for word in pair if word is not None]
        folder, was_found = compile_graphs(*options, model=model)
        assert not was_found
        folders.add(folder)
    folders.add(compile_graphs("--skip-vision", *SMALL, model=model)[0])
    assert len(folders) == len(changes) + 1


def test_prefill_and_decode_differ(compile_graphs):
    folder, _ = compile_graphs(*SMALL, "--moe-prefill-num-nsp", 4)
    assert open(f"{folder}/prefill.onnx", "rb").read() != open(f"{folder}/decode.onnx", "rb").read()


def test_a_damaged_export_is_made_again(compile_graphs):
    folder, _ = compile_graphs(*SMALL)
    whole = open(f"{folder}/decode.onnx", "rb").read()
    for damage in (lambda path: os.truncate(path, 100), os.remove):
        damage(f"{folder}/decode.onnx")
        assert compile_graphs(*SMALL) == (folder, False)
        assert open(f"{folder}/decode.onnx", "rb").read() == whole


def test_a_changed_checkpoint_is_another_export(compile_graphs, model_copy):
    first, _ = compile_graphs(*SMALL, model=model_copy)
    path = model_copy / "model-00002-of-00002.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert compile_graphs(*SMALL, model=model_copy)[0] != first


def test_export_replaces_its_own_files_alone(expertile, tmp_path):
    folder = tmp_path / "graphs"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")

    def export(*options):
        done = expertile("export", MODEL, "-o", folder, "--cache-dir", tmp_path / "cache", *options)
        assert (done.returncode, done.stderr) == (0, b"")
        return set(os.listdir(folder)) - {"notes.txt"}

    assert export(*SMALL) == GRAPHS
    made = (folder / "decode.onnx").stat().st_mtime_ns
    assert export(*SMALL) == GRAPHS and (folder / "decode.onnx").stat().st_mtime_ns == made
    assert export("--ctx-len", 64, "--prefill-seq-len", 1) == GRAPHS - {"prefill.onnx"}
    assert (folder / "notes.txt").read_text() == "mine"


def test_killed_at_any_moment(binary, compile_graphs, tmp_path):
    rng = random.Random(7)
    start = time.monotonic()
    compile_graphs("--ctx-len", 63)
    takes = time.monotonic() - start
    for attempt in range(10):
        options = ["--ctx-len", str(64 + attempt)]
        command = [binary, "compile", MODEL, "--target", "onnx", "--cache-dir", tmp_path / "cache", *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(rng.random() * takes)
        process.send_signal(signal.SIGKILL)
        process.wait()
        folder, _ = compile_graphs(*options)
        assert set(os.listdir(folder)) == GRAPHS
        onnx.checker.check_model(f"{folder}/prefill.onnx")


def test_eight_processes_export_once(binary, tmp_path):
    command = [binary, "compile", MODEL, "--target", "onnx", "--cache-dir", tmp_path / "cache"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(8)]
    said = [process.communicate()[0].decode().splitlines() for process in processes]
    assert sorted(lines[0] for lines in said) == ["compiled"] + 7 * ["compiled before"]
    assert len({lines[1] for lines in said}) == 1


def test_memory_is_bounded_and_large_weights_are_external(binary, sanitizer, tmp_path):
    config = json.loads((MODEL / "config.json").read_text())
    config |= {"hidden_size": 1024, "moe_intermediate_size": 768, "num_experts": 32, "num_hidden_layers": 5}
    (tmp_path / "config.json").write_text(json.dumps(config))
    synthesize = [sys.executable, ROOT / "tools" / "synthesize", tmp_path / "config.json", tmp_path / "model"]
    subprocess.run(synthesize, check=True, stdout=subprocess.DEVNULL)
    options = ["--prefill-seq-len", "8", "--moe-prefill-num-nsp", "16", "--prefill-only", "true"]
    command = [binary, "compile", tmp_path / "model", "--target", "onnx", "--cache-dir", tmp_path / "cache", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    folder = process.stdout.read().decode().splitlines()[-1]
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert set(os.listdir(folder)) == {"export.json", "prefill.onnx", "prefill.onnx.data"}
    assert os.path.getsize(f"{folder}/prefill.onnx.data") > 1 << 30
    assert os.path.getsize(f"{folder}/prefill.onnx") < 8 << 20
    layer = 4 * 3 * 32 * 1024 * 768  # bytes in float32; half of it in the checkpoint
    if not sanitizer:  # it has memory of its own
        assert usage.ru_maxrss * 1024 < 1.3 * layer + (128 << 20)
    onnx.checker.check_model(f"{folder}/prefill.onnx")
