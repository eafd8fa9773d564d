"""expertile compile: programs compute what their checkpoints do, are found again, and survive anything."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from cases import MODEL, ROOT, read_safetensors

FAMILIES = ["qwen3_moe", "gpt_oss", "granitemoe", "qwen3_vl_moe"]


@pytest.fixture
def compile_program(expertile, tmp_path):
    """Compiles; returns the program's folder and whether it was there before."""

    def run(*options, model=MODEL, cache=tmp_path / "cache"):
        done = expertile("compile", model, "--cache-dir", cache, *options)
        assert (done.returncode, done.stderr) == (0, b"")
        said, folder = done.stdout.decode().splitlines()
        assert said in ("compiled", "compiled before")
        return folder, said == "compiled before"

    return run


def refused(done, *says):
    assert done.returncode in (1, 2) and done.stdout == b""
    message = done.stderr.decode()
    assert message.startswith("expertile: ") and message.count("\n") == 1, message
    for word in says:
        assert str(word) in message, message


def logits_of(expertile, tmp_path, model, *options, ids=tuple(range(7, 60))):
    (tmp_path / "ids.json").write_text(json.dumps(ids))
    done = expertile("forward", model, "--input-ids", tmp_path / "ids.json", "-o", tmp_path / "out", *options)
    assert (done.returncode, done.stderr) == (0, b"")
    return read_safetensors(tmp_path / "out")["logits"].tobytes()


@pytest.mark.parametrize("target", ["reference", "cpu"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_program_computes_what_its_checkpoint_does(expertile, compile_program, tmp_path, family, target):
    model = ROOT / "models" / f"tiny-{family}"
    options = ["--target", target, "--moe-prefill-num-nsp", 5, "--prefill-seq-len", 16, "--ctx-len", 80]
    program, _ = compile_program(*options, model=model)
    assert logits_of(expertile, tmp_path, program) == logits_of(expertile, tmp_path, model, *options)
    run = ["--prompt", "The", "--max-new-tokens", 8, "--no-statistics"]
    assert expertile("run", program, *run).stdout == expertile("run", model, *run, *options).stdout


def test_a_program_needs_no_checkpoint_and_no_cache(expertile, compile_program, tmp_path):
    model = ROOT / "models" / "tiny-qwen3_vl_moe"
    program, _ = compile_program(model=model)
    shutil.copytree(program, tmp_path / "copy")
    shutil.rmtree(tmp_path / "cache")
    ask = ["--image", model / "images" / "0.png", "--chat", "--prompt", "Describe the image.", "--no-statistics"]
    done = expertile("run", tmp_path / "copy", "--verify", *ask)
    assert done.stdout == expertile("run", model, *ask).stdout != b""
    text = ["tokenize", tmp_path / "copy", "--text", "Hello", "--json"]
    assert expertile(*text).stdout == expertile("tokenize", model, *text[2:]).stdout


def test_prefill_and_decode_programs_share_their_weights(compile_program):
    prefill, _ = compile_program("--prefill-only", "true", "--enable-chunking")
    decode, _ = compile_program("--prefill-seq-len", 1)
    assert prefill != decode
    sections = sorted(os.listdir(f"{prefill}/sections"))
    assert sections == sorted(os.listdir(f"{decode}/sections"))
    assert all(os.path.samefile(f"{prefill}/sections/{name}", f"{decode}/sections/{name}") for name in sections)


def test_compile_dir(expertile, compile_program, tmp_path):
    program, _ = compile_program("--compile-dir", tmp_path / "here")
    assert os.path.dirname(program) == str(tmp_path / "here")
    assert compile_program("--compile-dir", tmp_path / "here") == (program, True)
    assert expertile("run", program, "--prompt", "The", "-n", 2).returncode == 0


CHOICES = {
    "--target": ["cpu", "reference"],
    "--dtype": ["float32"],
    "--batch-size": [1, 2],
    "--prefill-seq-len": [1, 7, 512],
    "--ctx-len": [64, 65],
    "--num-cores": [0, 1, 2],
    "--moe-prefill-num-nsp": ["none", 1, 16],
    "--moe-prefill-packed-chunk-size": [1, 256],
    "--prefill-only": ["false", None],
    "--enable-chunking": [True, False],
    "--retain-full-kv": [True, False],
}


def draw(rng):
    return {name: rng.choice(values) for name, values in CHOICES.items()}


def flags_of(chosen, rng):
    names = rng.sample(list(chosen), len(chosen))  # in any order
    flags = []
    for name in names:
        value = chosen[name]
        if value is True:
            flags.append(name)
        elif value is not None and value is not False:
            flags += [name, value]
    return flags


def test_programs_are_as_many_as_sets_of_options(compile_program, sanitizer):
    rng = random.Random(5)
    programs = {}
    num_compiles = 30 if sanitizer else 120
    for _ in range(num_compiles):
        chosen = draw(rng)
        if programs and rng.random() < 0.5:  # a neighbour: one option differs
            chosen = dict(rng.choice([dict(key) for key in programs]))
            name = rng.choice([name for name, values in CHOICES.items() if len(values) > 1])
            chosen[name] = rng.choice(CHOICES[name])
        key = tuple(chosen.items())
        program, was_found = compile_program(*flags_of(chosen, rng))
        assert was_found == (key in programs)
        assert programs.setdefault(key, program) == program
    assert len(set(programs.values())) == len(programs) > 5 * num_compiles // 12


def test_neither_paths_nor_times_make_a_difference(compile_program, tmp_path):
    program, was_found = compile_program()
    assert not was_found
    copy = shutil.copytree(MODEL, tmp_path / "elsewhere" / "model")
    for name in os.listdir(copy):
        os.utime(copy / name, (1, 1))
    assert compile_program(model=copy) == (program, True)
    shutil.move(tmp_path / "cache", tmp_path / "moved")
    moved, was_found = compile_program(cache=tmp_path / "moved")
    assert was_found and os.path.basename(moved) == os.path.basename(program)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model-00002-of-00002.safetensors"])
def test_a_changed_model_makes_another_program(compile_program, model_copy, name):
    program, _ = compile_program(model=model_copy)
    content = bytearray((model_copy / name).read_bytes())
    if name == "config.json":
        content = content.replace(b'"rms_norm_eps": 1e-06', b'"rms_norm_eps": 2e-06')
    elif name == "tokenizer.json":
        content += b" "
    else:
        content[-3] ^= 1
    (model_copy / name).write_bytes(content)
    other, was_found = compile_program(model=model_copy)
    assert other != program and not was_found


def test_flipped_bits_are_found_and_the_file_named(expertile, compile_program):
    program, _ = compile_program()
    rng = random.Random(3)
    files = [os.path.join(folder, name) for folder, _, names in os.walk(program) for name in names]
    for path in files:
        os.chmod(path, 0o644)
        with open(path, "r+b") as file:
            position = rng.randrange(os.path.getsize(path))
            file.seek(position)
            byte = file.read(1)[0]
            file.seek(position)
            file.write(bytes([byte ^ 1 << rng.randrange(8)]))
        for command in (["inspect", program, "--verify"], ["run", program, "--verify", "--prompt", "The", "-n", 1]):
            refused(expertile(*command), os.path.basename(path))
        with open(path, "r+b") as file:
            file.seek(position)
            file.write(bytes([byte]))
    assert expertile("inspect", program, "--verify").returncode == 0


def test_refusals(expertile, compile_program, monkeypatch):
    program, _ = compile_program()
    ask = ["--prompt", "The"]
    refused(expertile("run", program, *ask, "--dtype", "bfloat16"), "--dtype")
    refused(expertile("run", MODEL, *ask, "--verify"), "--verify")
    refused(expertile("inspect", program, "--moe-prefill-num-nsp", 4), "--moe-prefill-num-nsp")
    refused(expertile("compile", MODEL, "--prefill-only", "true", "--prefill-seq-len", 1), "prefill_only")
    refused(expertile("compile", MODEL, "--cache-dir", "/dev/null/x"), "/dev/null/x")
    monkeypatch.setenv("EXPERTILE_ISA", "avx2")
    if b'"isa":"avx2"' not in expertile("inspect", program, "--json").stdout:
        refused(expertile("run", program, *ask), "EXPERTILE_ISA=avx2")


def test_a_prefill_program_only_prefills(expertile, compile_program):
    program, _ = compile_program("--prefill-only", "true", "--prefill-seq-len", 8)
    assert expertile("run", program, "--prompt", "The", "-n", 1).returncode == 0
    done = expertile("run", program, "--prompt", "The", "-n", 2)
    assert done.returncode == 2 and b"prefill_only" in done.stderr
    refused(expertile("run", program, "--prompt", "The one and the other and all of them and more", "-n", 1), 8, "enable_chunking")


@pytest.fixture(scope="module")
def synthesized(sanitizer, tmp_path_factory):
    """A checkpoint that takes a second or so to compile."""
    folder = tmp_path_factory.mktemp("synthesized")
    config = json.loads((MODEL / "config.json").read_text())
    size = 128 if sanitizer else 512
    config |= {"hidden_size": size, "moe_intermediate_size": size, "num_hidden_layers": 6, "mlp_only_layers": []}
    (folder / "config.json").write_text(json.dumps(config))
    command = [sys.executable, ROOT / "tools" / "synthesize", folder / "config.json", folder / "model"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "model"


def test_killed_at_any_moment(binary, expertile, synthesized, tmp_path):
    rng = random.Random(1)
    cache = tmp_path / "cache"
    for attempt in range(12):
        options = ["--cache-dir", str(cache), "--ctx-len", str(64 + attempt)]
        process = subprocess.Popen([binary, "compile", synthesized, *options], stdout=subprocess.DEVNULL)
        time.sleep(rng.random())
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = expertile("compile", synthesized, *options)
        assert (done.returncode, done.stderr) == (0, b"")
        program = done.stdout.decode().splitlines()[-1]
        assert expertile("inspect", program, "--verify").returncode == 0
    assert all(name[0] != "." or name.endswith(".lock") for name in os.listdir(cache / "programs"))


def test_eight_processes_compile_once(binary, synthesized, tmp_path):
    command = [binary, "compile", synthesized, "--cache-dir", tmp_path / "cache"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(8)]
    said = [process.communicate()[0].decode().splitlines() for process in processes]
    assert sorted(lines[0] for lines in said) == ["compiled"] + 7 * ["compiled before"]
    assert len({lines[1] for lines in said}) == 1


# Bytes of memory beside 1.3 times the largest layer.
MEMORY_ALLOWANCE = 256 << 20


def test_memory_is_bounded_by_a_layer(binary, sanitizer, tmp_path):
    if shutil.disk_usage(tmp_path).free < 10 << 30:
        pytest.skip("needs 10 GiB of disk")
    config = json.loads((MODEL / "config.json").read_text())
    hidden_size = 256 if sanitizer else 2048
    config |= {"hidden_size": hidden_size, "moe_intermediate_size": 768, "num_experts": 40, "num_hidden_layers": 6}
    (tmp_path / "config.json").write_text(json.dumps(config))
    synthesize = [sys.executable, ROOT / "tools" / "synthesize", tmp_path / "config.json", tmp_path / "model"]
    subprocess.run(synthesize, check=True, stdout=subprocess.DEVNULL)
    assert sum(file.stat().st_size for file in (tmp_path / "model").iterdir()) > 1e6 * hidden_size
    process = subprocess.Popen([binary, "compile", tmp_path / "model", "--cache-dir", tmp_path / "cache"])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    shutil.rmtree(tmp_path / "model")
    programs = tmp_path / "cache" / "programs"
    (program,) = [name for name in os.listdir(programs) if name[0] != "."]
    largest = max(path.stat().st_size for path in (programs / program / "sections").iterdir())
    shutil.rmtree(tmp_path / "cache")
    assert process.returncode == 0
    if not sanitizer:  # it has memory of its own
        assert usage.ru_maxrss * 1024 < 1.3 * largest + MEMORY_ALLOWANCE
