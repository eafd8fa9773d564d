"""The target qaic: what the compiler of Cloud AI 100 is called with, and what becomes of its answers.

The SDK is not here: tests/qaic/compiler_recorder.sh stands in for its compiler.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
from cases import ROOT

RECORDER = ROOT / "tests" / "qaic" / "compiler_recorder.sh"
# As the documented examples of disaggregated serving ask for them (src/program/qaic/disagg_examples_test.cc).
COMMON = ["--num-cores", 4, "--mxfp6-matmul", "--mxint8-kv-cache", "--compiler-option", "mos=1"]
CHUNKED = ["--prefill-seq-len", 512, "--prefill-only", "true", "--enable-chunking", "--moe-prefill-num-nsp", "auto"]


@pytest.fixture
def recorder(tmp_path, monkeypatch):
    """The recorder in the compiler's place; one call's arguments, without the folders' names."""
    monkeypatch.setenv("EXPERTILE_QAIC_COMPILER", str(RECORDER))
    monkeypatch.setenv("RECORDER_ARGUMENTS", str(tmp_path / "arguments"))
    return tmp_path / "arguments"


@pytest.fixture
def compile_qaic(expertile, tmp_path):
    def run(family, *options):
        model = ROOT / "models" / f"tiny-{family}"
        return expertile("compile", model, "--target", "qaic", "--cache-dir", tmp_path / "cache", *options)

    return run


def programs_of(done):
    """Program folder and state by graph."""
    assert (done.returncode, done.stderr) == (0, b""), done.stderr
    lines = done.stdout.decode().splitlines()
    assert len(lines) % 2 == 0
    return {first.split(":")[0]: (Path(second), first.split(": ")[1]) for first, second in zip(lines[::2], lines[1::2])}


def recorded(arguments, program):
    """What the compiler got, with <dir> for its compile's folder and <onnx> for the graphs'."""
    lines = []
    for line in arguments.read_text().splitlines():
        if line.startswith("-aic-binary-dir="):
            assert line.endswith("/qpc") and str(program.parent) in line
            line = "-aic-binary-dir=<dir>/qpc"
        lines.append(line.replace(str(program.parent), "<dir>").replace(str(program.parent.parent), "<onnx>"))
    return lines


FIRST = ["-aic-hw", "-aic-hw-version=ai100"]
LAST = [
    "-network-specialization-config=<dir>/specializations.json",
    "-custom-IO-list-file=<dir>/custom_io.yaml",
    "-aic-binary-dir=<dir>/qpc",
]
LANGUAGE = ["-retained-state", "-convert-to-fp16", "-mxfp6-matmul", "-aic-num-cores=4"]


@pytest.mark.parametrize(("family", "ctx_len"), [("qwen3_moe", 1536), ("gpt_oss", 1024), ("granitemoe", 1024)])
def test_disaggregated_serving(recorder, compile_qaic, family, ctx_len):
    shapes = [*COMMON, "--ctx-len", ctx_len]
    once = ["--compiler-option", "aic_enable_depth_first"]
    done = compile_qaic(family, *shapes, "--prefill-seq-len", 1, "--retain-full-kv", *once)
    ((name, (program, state)),) = programs_of(done).items()
    assert (name, state) == ("decode", "compiled")
    expected = [*FIRST, "-m=<onnx>/decode.onnx", *LANGUAGE, "-mos=1", "-aic-enable-depth-first", *LAST]
    assert recorded(recorder, program) == expected
    config = json.loads((ROOT / "models" / f"tiny-{family}" / "config.json").read_text())
    window = {"sliding_window": str(config["sliding_window"])} if family == "gpt_oss" else {}
    (decode,) = json.loads((program.parent / "specializations.json").read_text())["specializations"]
    assert decode == {
        "name": "Decode",
        "symbols": {"batch_size": "1", "ctx_len": str(ctx_len), "seq_len": "1"} | window,
    }

    options = ["--compiler-option", "user_tiled", "--use-onnx-subfunctions"]
    done = compile_qaic(family, *shapes, *CHUNKED, *options, "--compiler-option", "split_retained_state_io")
    ((name, (program, state)),) = programs_of(done).items()
    assert (name, state) == ("prefill", "compiled")
    passed = ["-mos=1", "-user-tiled", "-split-retained-state-io", "-sub-functions"]
    assert recorded(recorder, program) == [*FIRST, "-m=<onnx>/prefill.onnx", *LANGUAGE, *passed, *LAST]
    (prefill,) = json.loads((program.parent / "specializations.json").read_text())["specializations"]
    assert prefill["name"] == "Prefill" and prefill["symbols"]["seq_len"] == "512"
    custom_io = (program.parent / "custom_io.yaml").read_text()
    assert " - IOName: past_key.0\n   Precision: mxint8\n" in custom_io
    assert custom_io.count("mxint8") == custom_io.count("_RetainedState") * 2
    assert (program / "programqpc.bin").read_text() == "compiled\n"


def test_vision_and_language_on_several_devices(recorder, compile_qaic):
    shapes = [*COMMON, "--ctx-len", 512, "--num-devices", 2, "--height", 64, "--width", 96]
    prefill = ["--prefill-seq-len", 128, "--prefill-only", "true", "--enable-chunking", "--moe-prefill-num-nsp", "auto"]
    done = compile_qaic("qwen3_vl_moe", *shapes, *prefill, "--skip-lang")
    vision = programs_of(done)["vision"][0]
    slicing = ["-mdp-load-partition-config=<dir>/mdp_ts_2.json"]
    flags = ["-convert-to-fp16", "-aic-num-cores=4", "-mos=1"]
    assert recorded(recorder, vision) == [*FIRST, "-m=<onnx>/vision.onnx", *flags, *slicing, *LAST]
    io = (vision.parent / "custom_io.yaml").read_text()
    assert [line.split()[-1] for line in io.splitlines() if "IOName" in line] == [
        "pixel_values",
        "vision_embeds",
        "deepstack_features",
    ]

    done = compile_qaic("qwen3_vl_moe", *shapes, *prefill, "--mdp-num-partitions", 2)
    programs = programs_of(done)
    assert list(programs) == ["vision", "prefill"]
    program = programs["prefill"][0]
    stages = ["-mdp-load-partition-config=<dir>/mdp_disagg_2d_2p.json"]
    assert recorded(recorder, program) == [*FIRST, "-m=<onnx>/prefill.onnx", *stages, *LANGUAGE, "-mos=1", *LAST]
    partitions = json.loads((program.parent / "mdp_disagg_2d_2p.json").read_text())["partitions"]
    layers = [{part for node in p["nodeList"] for part in node.split("/") if part.startswith("layers.")} for p in partitions]
    assert all(layers) and not layers[0] & layers[1]


def test_one_program_for_both_by_default(recorder, compile_qaic):
    done = compile_qaic("qwen3_moe", "--ctx-len", 64, "--prefill-seq-len", 32)
    ((name, (program, _)),) = programs_of(done).items()
    both = json.loads((program.parent / "specializations.json").read_text())["specializations"]
    assert name == "decode" and [each["name"] for each in both] == ["Prefill", "Decode"]
    blocked = programs_of(compile_qaic("qwen3_moe", "--ctx-len", 64, "--prefill-seq-len", 32, "--moe-prefill-num-nsp", 8))
    assert list(blocked) == ["prefill", "decode"]


def test_a_second_compile_is_found(recorder, compile_qaic):
    options = ["--ctx-len", 64, "--prefill-seq-len", 1]
    (first,) = programs_of(compile_qaic("qwen3_moe", *options)).values()
    recorder.unlink()
    (second,) = programs_of(compile_qaic("qwen3_moe", *options)).values()
    assert second == (first[0], "compiled before") and not recorder.exists()
    (other,) = programs_of(compile_qaic("qwen3_moe", *options, "--mxfp6-matmul")).values()
    assert other[0] != first[0] and other[0].parent.parent == first[0].parent.parent  # the same graph
    folders = {
        programs_of(compile_qaic("qwen3_moe", *options, *extra))["decode"][0]
        for extra in (
            ["--num-cores", 8],
            ["--num-devices", 2],
            ["--mxint8-kv-cache"],
            ["--aic-hw-version", "ai200"],
            ["--compiler-option", "mos=1"],
            ["--compiler-option", "mos=2"],
        )
    }
    assert len(folders | {first[0], other[0]}) == 8


def test_compile_dir(recorder, compile_qaic, tmp_path):
    (program,) = programs_of(compile_qaic("qwen3_moe", "--prefill-seq-len", 1, "--compile-dir", tmp_path / "qpcs")).values()
    assert program[0].parent.parent == tmp_path / "qpcs"


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [("refuse", b"Unhandled ElemKind in Clip operation | node /model/layers.0/mlp/Clip"), ("die", b"killed by signal 9"), ("make-empty", b"no programqpc.bin")],
)
def test_a_compiler_that_fails(recorder, compile_qaic, monkeypatch, tmp_path, behaviour, says):
    options = ["--ctx-len", 64, "--prefill-seq-len", 1]
    monkeypatch.setenv("RECORDER_BEHAVIOUR", behaviour)
    done = compile_qaic("qwen3_moe", *options)
    assert done.returncode == 1 and done.stdout == b""
    assert done.stderr.startswith(b"expertile: ") and done.stderr.count(b"\n") == 1 and says in done.stderr
    assert not list((tmp_path / "cache").rglob("programqpc.bin"))
    monkeypatch.setenv("RECORDER_BEHAVIOUR", "compile")
    assert programs_of(compile_qaic("qwen3_moe", *options))["decode"][1] == "compiled"


def test_without_the_sdk_the_line_to_run_is_printed(recorder, compile_qaic, monkeypatch):
    """The line, run by a shell where a compiler is, makes what the next compile finds."""
    options = ["--ctx-len", 64, "--prefill-seq-len", 1]
    monkeypatch.delenv("EXPERTILE_QAIC_COMPILER")
    if os.path.exists("/opt/qti-aic/exec/qaic-compile"):
        pytest.skip("the SDK is here")
    done = compile_qaic("qwen3_moe", *options)
    assert (done.returncode, done.stderr) == (0, b"")
    said, line, program = done.stdout.decode().splitlines()
    assert said.startswith("decode: to be compiled") and not os.path.exists(program)
    subprocess.run(line.replace("/opt/qti-aic/exec/qaic-compile", str(RECORDER)), shell=True, check=True)
    assert programs_of(compile_qaic("qwen3_moe", *options)) == {"decode": (Path(program), "compiled before")}


def test_refusals(recorder, expertile, compile_qaic, tmp_path):
    def refused(says, *options):
        done = compile_qaic("qwen3_moe", "--ctx-len", 64, *options)
        assert done.returncode in (1, 2) and done.stdout == b""
        message = done.stderr.decode()
        assert message.startswith("expertile: ") and message.count("\n") == 1 and says in message, message

    refused("qaic_compiler", "--qaic-compiler", tmp_path / "nothing")
    refused("mdp_num_partitions", "--num-devices", 3, "--mdp-num-partitions", 2)
    refused("aic_hw_version", "--aic-hw-version", "ai50")
    refused("aic-num-cores", "--compiler-option", "aic_num_cores=4")
    refused("mos", "--compiler-option", "mos=1", "--compiler-option", "mos=2")
    refused("dtype", "--dtype", "bfloat16")
    refused("layer", "--num-devices", 1024, "--mdp-num-partitions", 1024)
    (tmp_path / "given.json").write_text("{}")
    refused("given.json", "--mdp-load-partition-config", tmp_path / "given.json")
    assert not list((tmp_path / "cache").rglob("*.onnx")), "refused after the export"
    done = expertile("run", ROOT / "models" / "tiny-qwen3_moe", "--target", "qaic", "--prompt", "The")
    assert done.returncode == 1 and b"target" in done.stderr
