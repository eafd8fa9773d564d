"""Compile options and numbers on the command line: words that they take, and how they refuse others."""

import json

import pytest
from cases import MODEL, ROOT
from test_bad_input import assert_refusal

SMALL = ["--ctx-len", 64, "--prefill-seq-len", 8]


@pytest.fixture
def options_of(expertile, tmp_path):
    """Compiles with the given flags in the given order; returns the manifest's options."""

    def run(*arguments):
        done = expertile("compile", *arguments, "--cache-dir", tmp_path / "cache")
        assert (done.returncode, done.stderr) == (0, b""), done.stderr
        program = done.stdout.decode().splitlines()[-1]
        return json.loads(expertile("inspect", program, "--json").stdout)["options"]

    return run


@pytest.mark.parametrize(
    "flags, prefill_only, enable_chunking",
    [
        (["--prefill-only", "--enable-chunking"], True, True),
        (["--enable-chunking", "--prefill-only"], True, True),
        (["--prefill-only"], True, False),
        (["--prefill-only=true"], True, False),
        (["--prefill-only", "true"], True, False),
        (["--prefill-only=false"], False, False),
        (["--prefill-only", "false", "--enable-chunking"], False, True),
        (["--prefill-only", "0"], False, False),
        (["--prefill-only=none"], None, False),
        (["--enable-chunking=true"], None, True),
        (["--enable-chunking=false"], None, False),
        (["--enable-chunking", "false"], None, False),
        (["--enable-chunking"], None, True),
        (["--prefill-only", "--prefill-only=false"], False, False),
        ([], None, False),
    ],
)
def test_a_yes_needs_no_word(options_of, flags, prefill_only, enable_chunking):
    for arguments in ([MODEL, *SMALL, *flags], [*SMALL, *flags, MODEL]):
        options = options_of(*arguments)
        assert (options["prefill_only"], options["enable_chunking"]) == (prefill_only, enable_chunking)


@pytest.mark.parametrize("flag", ["retain-full-kv", "mxfp6-matmul", "mxint8-kv-cache", "enable-chunking"])
def test_every_yes_or_no(options_of, flag):
    name = flag.replace("-", "_")
    assert options_of(MODEL, *SMALL, f"--{flag}")[name] is True
    assert options_of(MODEL, *SMALL, f"--{flag}=true")[name] is True
    assert options_of(f"--{flag}", MODEL, *SMALL)[name] is True
    assert options_of(MODEL, *SMALL, f"--{flag}=false")[name] is False


def test_a_word_that_is_no_yes_or_no(expertile):
    assert_refusal(expertile("compile", MODEL, "--prefill-only=maybe"), ["--prefill-only", "maybe", "true"], (2,))
    assert_refusal(expertile("compile", MODEL, "--enable-chunking=2"), ["--enable-chunking", "2", "true"], (2,))
    assert_refusal(expertile("compile", MODEL, "--prefill-only", "maybe"), ["maybe"], (2,))


NUMBERS = [
    (["run", MODEL, "-p", "a"], "--max-new-tokens", ["0", "2147483647"]),
    (["run", MODEL, "-p", "a"], "--top-k", ["0", "2147483647"]),
    (["run", MODEL, "-p", "a"], "--temperature", ["0 or more"]),
    (["run", MODEL, "-p", "a"], "--top-p", ["above 0", "at most 1"]),
    (["run", MODEL, "-p", "a"], "--min-p", ["0 or more", "at most 1"]),
    (["run", MODEL, "-p", "a"], "--seed", ["0", "2^64-1"]),
    (["inspect", MODEL], "--moe-prefill-num-nsp", ["1", "2147483647"]),
    (["bench", "roof"], "--num-cores", ["0", "1024"]),
    (["bench", "moe"], "--num-cores", ["0", "1024"]),
    (["bench", "moe"], "--tokens", ["1", "2147483647"]),
    (["bench", "moe"], "--packed-chunk-size", ["1", "2147483647"]),
    (["bench", "moe"], "--runs", ["1", "2147483647"]),
    (["bench", "moe"], "--routing-layer", ["0", "2147483647"]),
    (["bench", "moe"], "--skew", ["0 or more"]),
    (["bench", "model", MODEL], "--tokens", ["1", "2147483647"]),
    (["bench", "model", MODEL], "--decode-tokens", ["0", "2147483647"]),
    (["bench", "model", MODEL], "--runs", ["1", "2147483647"]),
    (["compile", MODEL], "--batch-size", ["1", "1048576"]),
    (["compile", MODEL], "--prefill-seq-len", ["1", "1073741824"]),
    (["compile", MODEL], "--ctx-len", ["1", "1073741824"]),
    (["compile", MODEL], "--num-cores", ["0", "1024"]),
    (["compile", MODEL], "--num-devices", ["1", "1024"]),
    (["compile", MODEL], "--mdp-num-partitions", ["1", "num_devices"]),
    (["compile", MODEL], "--moe-prefill-num-nsp", ["1", "number of experts"]),
    (["compile", MODEL], "--moe-prefill-packed-chunk-size", ["1", "1073741824"]),
    (["compile", MODEL], "--height", ["1", "1073741824"]),
    (["compile", MODEL], "--width", ["1", "1073741824"]),
    (["export", MODEL, "-o", "/nowhere"], "--ctx-len", ["1", "1073741824"]),
]


@pytest.mark.parametrize("value", ["-1", "99999999999999999999", "-99999999999999999999", "abc", "", "1e999", "nan", "inf", "1x", " 1"])
@pytest.mark.parametrize("command, flag, bounds", NUMBERS, ids=lambda value: value if isinstance(value, str) else None)
def test_a_number_is_refused_by_name_value_and_bounds(expertile, command, flag, bounds, value):
    name = flag[2:]
    if flag in ("--temperature", "--skew") and value == "99999999999999999999":
        return  # a number that is in bounds
    done = expertile(*command, flag, value)
    assert_refusal(done, [value], (2,))
    message = done.stderr.decode()
    assert name in message or name.replace("-", "_") in message
    assert all(bound in message for bound in bounds), message
    assert len(message) < 150


def test_n_is_short_for_max_new_tokens(expertile):
    done = expertile("run", MODEL, "-p", "a", "-n", "-1")
    assert done.stderr == b"expertile: --max-new-tokens: -1, expected an integer from 0 to 2147483647\n"


def test_help_has_every_option_of_the_docs(expertile):
    """docs/options.md is held to the option table by tests/option_docs_test.cc; the flags are from it, too."""
    help_text = expertile("compile", "--help").stdout.decode()
    rows = [line for line in (ROOT / "docs" / "options.md").read_text().splitlines() if line.startswith("| `")]
    flags = [line.split("`")[3] for line in rows if line.count("`--")]
    assert len(flags) > 20
    for flag in flags:
        assert f"  {flag} " in help_text, flag


def test_options_of_a_program_are_its_own(expertile, tmp_path):
    done = expertile("compile", MODEL, *SMALL, "--cache-dir", tmp_path / "cache")
    program = done.stdout.decode().splitlines()[-1]
    for flags in (["--ctx-len", 5], ["--aic-hw-version", "ai200"], ["--mxfp6-matmul"], ["--height", 5]):
        assert_refusal(expertile("run", program, "-p", "a", *flags), [flags[0]], (2,))


def test_log(monkeypatch, expertile):
    quiet = expertile("run", MODEL, "-p", "a", "-n", 2, "--no-statistics", *SMALL)
    assert quiet.stderr == b""
    said = {}
    for level in ("info", "debug"):
        monkeypatch.setenv("EXPERTILE_LOG", level)
        done = expertile("run", MODEL, "-p", "a", "-n", 2, "--no-statistics", *SMALL)
        assert (done.returncode, done.stdout) == (0, quiet.stdout)
        said[level] = done.stderr.decode()
        assert str(MODEL) in said[level] and "packed for cpu" in said[level]
    assert "step: 1 tokens" in said["debug"] and "step: " not in said["info"]
    monkeypatch.setenv("EXPERTILE_LOG", "loud")
    assert_refusal(expertile("inspect", MODEL), ["EXPERTILE_LOG", "loud", "info or debug"], (2,))
