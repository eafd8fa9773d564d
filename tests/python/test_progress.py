"""Progress where somebody looks, lines of the log, and Ctrl-C in what is no session."""

import fcntl
import hashlib
import json
import logging
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import types

import expertile
import numpy as np
import pytest
from expertile.progress import Progress

COMPILE = """
import sys
{before}
import expertile
model = expertile.AutoModelForCausalLM.from_pretrained({model!r})
model.compile(ctx_len=64, cache_dir={cache!r}, progress={wanted})
"""


def shown(models, tmp_path, wanted, before="", terminal=True):
    """What compiling shows on standard error, which is a terminal or a pipe."""
    code = COMPILE.format(before=before, model=str(models / "tiny-qwen3_moe"), cache=str(tmp_path / "cache"), wanted=wanted)
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(expertile.__file__))}
    if not terminal:
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stderr
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=theirs)
    os.close(theirs)
    text = b""
    try:
        while piece := os.read(ours, 4096):
            text += piece
    except OSError:  # how a terminal ends
        pass
    os.close(ours)
    assert process.wait() == 0, text
    return text.decode()


def test_a_terminal_sees_tqdms_bar(models, tmp_path):
    assert "compiling: " in (text := shown(models, tmp_path, None)) and "%|" in text


def test_a_terminal_sees_a_line_without_tqdm(models, tmp_path):
    text = shown(models, tmp_path, None, before="sys.modules['tqdm'] = sys.modules['tqdm.auto'] = None")
    assert "\rcompiling 4/4" in text and "%|" not in text


@pytest.mark.parametrize("terminal, wanted, is_shown", [(False, None, False), (True, False, False), (False, True, True)])
def test_nobody_sees_what_nobody_wants(models, tmp_path, terminal, wanted, is_shown):
    assert ("compiling" in shown(models, tmp_path, wanted, terminal=terminal)) == is_shown


def test_notebooks_are_looked_at(monkeypatch):
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    with Progress("compiling") as callback:
        assert callback is not None
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    with Progress("compiling") as callback:
        assert callback is None


def test_log_has_phases_and_steps(models, caplog):
    with caplog.at_level(logging.DEBUG, logger="expertile"):
        model = expertile.AutoModelForCausalLM.from_pretrained(models / "tiny-qwen3_moe")
        program = model.model.compile(None, ctx_len=64)
        expertile.Session(program).run([(0, [1, 2, 3])])
    assert any(record.levelno == logging.INFO and "packed for cpu" in record.message for record in caplog.records)
    assert any(record.levelno == logging.DEBUG and "step: 3 tokens" in record.message for record in caplog.records)
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="expertile"):
        expertile.Session(program).run([(0, [1, 2, 3])])
    assert not caplog.records
    expertile.log.refresh()


@pytest.fixture
def interruptible():
    """A test run in the background may ignore Ctrl-C."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture(scope="module")
def large(root, tmp_path_factory):
    """A checkpoint that takes a while to compile: 6 layers of 75 MB."""
    folder = tmp_path_factory.mktemp("large")
    shape = json.loads((root / "tools" / "shapes" / "granite-3b-a800m.json").read_text())
    (folder / "shape.json").write_text(json.dumps({**shape, "num_local_experts": 16}))
    synthesize = [sys.executable, root / "tools" / "synthesize", folder / "shape.json", folder / "model", "--layers", "6"]
    subprocess.run([*synthesize, "--tokenizer", root / "models" / "tiny-granitemoe"], check=True, capture_output=True)
    return folder / "model"


def interrupt_after(seconds):
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_stops_compiling(large, tmp_path):
    model = expertile.AutoModelForCausalLM.from_pretrained(large)
    options = {"ctx_len": 64, "num_cores": 2, "cache_dir": tmp_path / "cache", "progress": False}
    for seconds in (0.05, 0.6):  # while weights are hashed, and packed
        interrupt_after(seconds)
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            model.compile(**options)
            raise AssertionError(f"compiled in {time.monotonic() - start:.1f} s")
        assert time.monotonic() - start < seconds + 3
    for left in (tmp_path / "cache").rglob("*"):  # whole sections alone, which the next compile finds
        if left.is_file() and left.stat().st_size > 1000:
            assert left.parent.name == "store" and hashlib.sha256(left.read_bytes()).hexdigest() == left.stem
    model.compile(**options)
    assert model.generate(prompts=["x"], generation_len=2).generated_ids.shape == (1, 2)


@pytest.mark.usefixtures("interruptible")
def test_what_a_callback_raises_stops_compiling(models, tmp_path):
    told = []

    def fail(done, total):
        told.append(done)
        raise ZeroDivisionError("mine")

    model = expertile.Model.load(models / "tiny-qwen3_moe")
    with pytest.raises(ZeroDivisionError, match="mine"):
        model.compile(fail, ctx_len=64)
    assert len(told) == 1
    with pytest.raises(ZeroDivisionError, match="mine"):
        model.export_onnx(tmp_path / "graphs", fail)
    assert not list(tmp_path.rglob("*.onnx"))


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_stops_the_vision_tower(models):
    model = expertile.Model.load(models / "tiny-qwen3_vl_moe")
    program = model.compile(None, target="reference", ctx_len=64)
    small = program.encode_pixels(np.zeros((4, 1536), np.float32), 1, 2, 2)
    pixels = np.zeros((64 * 64, 1536), np.float32)
    interrupt_after(0.3)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        program.encode_pixels(pixels, 1, 64, 64)
        raise AssertionError(f"encoded in {time.monotonic() - start:.1f} s")
    again = program.encode_pixels(np.zeros((4, 1536), np.float32), 1, 2, 2)
    assert again.embeddings.tobytes() == small.embeddings.tobytes()
