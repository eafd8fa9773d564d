"""Output that cannot be written is a failure: one line on standard error, status 1, whatever the command."""

import json
import os
import resource
import subprocess

import pytest
from cases import MODEL, ROOT

COMMANDS = {
    "help": ["--help"],
    "help of a command": ["run", "--help"],
    "version": ["--version"],
    "run": ["run", MODEL, "-p", "hello", "-n", 20],
    "inspect": ["inspect", MODEL],
    "inspect json": ["inspect", MODEL, "--json"],
    "tokenize": ["tokenize", MODEL, "--text", "hello", "--json"],
    "eval": ["eval", MODEL, "--text-file", ROOT / "examples" / "prompt.txt", "--ctx-len", 2048],
    "bench": ["bench", "moe", "--shape", "4,2,64,64", "--runs", 1, "--tokens", 8],
}


@pytest.fixture
def start(binary, sanitizer):
    timeout = 3000 if sanitizer else 300

    def run(arguments, **streams):
        return subprocess.run([binary, *map(str, arguments)], check=False, timeout=timeout, **streams)

    return run


def is_one_line(stderr, *says):
    lines = [line for line in stderr.decode().splitlines() if line.startswith("expertile: ")]
    assert len(lines) == 1 and all(word in lines[0] for word in says), stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_full(start, command):
    with open("/dev/full", "wb") as full:
        done = start(COMMANDS[command], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    is_one_line(done.stderr, "standard output", "No space left on device")


@pytest.mark.parametrize("command", COMMANDS)
def test_closed(start, command):
    done = start(COMMANDS[command], preexec_fn=lambda: os.close(1), stderr=subprocess.PIPE)
    assert done.returncode == 1
    is_one_line(done.stderr, "standard output")


@pytest.mark.parametrize("command", ["help", "run", "inspect"])
def test_nobody_reads(start, command):
    """Whether the pipe's signal ends it, as usual, or is ignored: not 0, and no word."""
    for restore_signals in (True, False):
        reader, writer = os.pipe()
        os.close(reader)
        arguments = COMMANDS[command] + (["--no-statistics"] if command == "run" else [])
        done = start(arguments, stdout=writer, stderr=subprocess.PIPE, restore_signals=restore_signals)
        os.close(writer)
        assert done.returncode != 0 and done.stderr == b""


def test_statistics(start):
    with open("/dev/full", "wb") as full:
        done = start(COMMANDS["run"], stdout=subprocess.PIPE, stderr=full)
        quiet = start([*COMMANDS["run"], "--no-statistics"], stdout=subprocess.PIPE, stderr=full)
    assert done.returncode == 1
    assert quiet.returncode == 0 and quiet.stdout == done.stdout


def test_a_closed_stream_does_not_become_a_file(start, tmp_path):
    (tmp_path / "ids.json").write_text("[1,2,3]")
    output = tmp_path / "out"
    command = ["forward", MODEL, "--input-ids", tmp_path / "ids.json", "-o", output, "--ctx-len", 64]
    whole = start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (whole.returncode, whole.stdout, whole.stderr) == (0, b"", b"")
    expected = output.read_bytes()
    for closed in ([0], [1], [2], [0, 1, 2]):
        output.unlink()
        done = start(command, preexec_fn=lambda: [os.close(descriptor) for descriptor in closed])
        assert done.returncode == 0  # it prints nothing
        assert output.read_bytes() == expected


@pytest.mark.parametrize("limit", [0, 1, 1000, 100000])
def test_files_that_outgrow_their_limit(start, tmp_path, limit):
    """As on a full disk: an error that names the file, nothing half-written."""
    (tmp_path / "ids.json").write_text(json.dumps(list(range(100))))
    out = tmp_path / "out"
    out.mkdir()
    commands = [
        ["forward", MODEL, "--input-ids", tmp_path / "ids.json", "-o", out / "logits"],
        ["compile", MODEL, "--cache-dir", tmp_path / "cache", "--compile-dir", out],
        ["export", MODEL, "-o", out / "graphs", "--ctx-len", 64, "--prefill-seq-len", 8, "--cache-dir", tmp_path / "cache"],
    ]

    def with_limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    for command in commands:
        done = start(command, preexec_fn=with_limit, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 1, command
        is_one_line(done.stderr, str(tmp_path))
        left = [name for _, _, names in os.walk(out) for name in names if not name.startswith(".")]
        assert left == []
