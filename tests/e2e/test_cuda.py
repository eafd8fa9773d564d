"""--target cuda through the command line: its answers on a Hopper GPU, and what it says where there is none."""

import json
import os
import random
import subprocess

import numpy
import pytest
from cases import MODEL, ROOT, relative_l2
from forced_reply import force_reply
from test_bad_input import assert_refusal
from test_bench import check_stages
from test_random_configs import FAMILIES, checkpoint_of, forward_of, random_blocking

CUDA = ["--target", "cuda"]
CONFIG = ROOT / "tools" / "shapes" / "qwen3-30b-a3b.json"
CUDA_RELATIVE_L2 = 3e-2  # of a row whose router chooses as the reference's; tests/tolerances.h
CUDA_MEAN_NLL = 2e-2
CONFIGS_PER_FAMILY = 2


@pytest.fixture(scope="module")
def missing(expertile):
    """What is missing; empty on a machine with the device."""
    return expertile("bench", "roof", *CUDA, "--json").stderr.decode().strip()


@pytest.fixture
def cuda(missing):
    if missing:
        pytest.skip(missing)


@pytest.mark.parametrize("command", [
    ["run", MODEL, "-p", "a"], ["run", MODEL, "--chat", "-p", "a"], ["compile", MODEL],
    ["eval", MODEL, "--text-file", ROOT / "README.md"], ["bench", "roof"], ["bench", "moe"], ["bench", "moe", "--sweep"],
    ["bench", "model", MODEL], ["bench", "model", CONFIG, "--layers", 1],
], ids=lambda command: " ".join(map(str, command[:2])))  # fmt: skip
def test_one_line_where_there_is_no_device(expertile, missing, tmp_path, monkeypatch, command):
    if not missing:
        pytest.skip("there is a device")
    monkeypatch.setenv("EXPERTILE_HOME", str(tmp_path))
    assert_refusal(expertile(*command, *CUDA), ["cuda: "], (1,))
    assert not list(tmp_path.rglob("*.json"))


def test_another_arithmetic_is_refused(expertile):
    for dtype in ("float32", "mxint8"):
        refused = expertile("run", MODEL, "-p", "a", *CUDA, "--dtype", dtype)
        assert_refusal(refused, [f"dtype: {dtype}", "the target cuda has bfloat16 only"], (2,))
    assert_refusal(expertile("bench", "moe", *CUDA, "--arithmetic", "float32"), ["arithmetic: float32", "cuda"], (2,))
    assert_refusal(expertile("bench", "model", CONFIG, "--target", "cpu"), ["cpu makes no weights", "cuda"], (1,))
    assert_refusal(expertile("bench", "model", CONFIG, *CUDA, "--layers", 49), ["layers: 49", "48"], (2,))
    assert_refusal(expertile("bench", "model", MODEL, "--layers", 1), ["--layers", "config.json"], (2,))


def test_a_program_gives_its_checkpoints_text(cuda, expertile, golden, tmp_path):
    prompt = ["--prompt", golden.cases["short"]["text"], "--max-new-tokens", 24, "--ignore-eos", "--no-statistics"]
    compiled = expertile("compile", MODEL, *CUDA, "--cache-dir", tmp_path)
    assert compiled.returncode == 0, compiled.stderr
    program = compiled.stdout.decode().splitlines()[-1]
    assert json.loads(expertile("inspect", program, "--json").stdout)["options"]["dtype"] == "bfloat16"
    texts = [expertile("run", of, *prompt, *options) for of, options in ((program, []), (MODEL, CUDA))]
    assert texts[0].returncode == 0 and texts[0].stdout == texts[1].stdout != b""


def test_perplexity(cuda, expertile, golden, tmp_path):
    text = tmp_path / "text.txt"
    text.write_bytes(golden.cases["window"]["text"].encode())
    done = expertile("eval", MODEL, "--text-file", text, "--json", *CUDA)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["mean_nll"] == pytest.approx(golden.cases["window"]["mean_nll"], abs=CUDA_MEAN_NLL)


def test_chat(cuda, expertile, tmp_path):
    def ids(text):
        return json.loads(expertile("tokenize", MODEL, "--text", text, "--json").stdout)["ids"]

    chain = ids("<|im_start|>assistant\n")[-1:] + ids("Good day, sir.<|im_end|>")
    model = force_reply(tmp_path / "model", "tiny-qwen3_moe", chain)
    done = expertile("run", model, "--chat", "--prompt", "Hi", "--no-statistics", *CUDA)
    assert (done.returncode, done.stdout.decode().strip()) == (0, "Good day, sir."), done.stderr


@pytest.mark.parametrize("seed", range(CONFIGS_PER_FAMILY))
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_any_configuration(cuda, expertile, tmp_path, family, seed):
    rng = random.Random(f"{family.__name__} {seed}")
    config = family(rng)
    text = config.get("text_config", config)
    ids = [rng.randrange(4, text["vocab_size"]) for _ in range(rng.choice([9, 70, 130]))]
    logits = forward_of(expertile, checkpoint_of(config, seed, tmp_path), ids, config)
    skip = ["--skip-vision"] if "text_config" in config else []
    whole = logits(*CUDA, *skip)
    blocked = random_blocking(rng, text)
    assert whole.tobytes() == logits(*CUDA, *skip, *blocked, "--prefill-seq-len", rng.choice([7, 64])).tobytes(), config
    expected = logits("--target", "reference", *skip)
    errors = [relative_l2(row, other) for row, other in zip(whole, expected)]
    assert numpy.median(errors) <= CUDA_RELATIVE_L2, config


def test_stages(cuda, expertile):
    done = expertile("bench", "model", MODEL, *CUDA, "--tokens", 100, "--prefill-seq-len", 64, "--decode-tokens", 3,
                     "--runs", 3, "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["dtype"], result["are_stages_apart"]) == ("bfloat16", True)
    for part in ("prefill", "decode"):
        check_stages(result[part + "_stages"])
        seconds = {row["stage"]: row["seconds"] for row in result[part + "_stages"]}
        assert all(seconds[stage] > 0 for stage in ("norms", "projections", "KV write", "attention", "router", "experts"))
        assert seconds["rope"] < seconds["KV write"]  # its table alone: the rotation is part of the write
    whole = sum(row["seconds"] for row in result["prefill_stages"])
    assert 0.5 < whole / result["prefill_seconds_median"] < 5


def test_a_configuration_alone(cuda, expertile):
    done = expertile("bench", "model", CONFIG, *CUDA, "--layers", 2, "--tokens", 64, "--runs", 1, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["layers"] == 2 and result["prefill_seconds_median"] > 0


def test_layers_in_turns(cuda, expertile, tmp_path):
    moe = ["bench", "moe", *CUDA, "--shape", "8,2,128,64", "--runs", 2, "--json"]
    sweep = json.loads(expertile(*moe, "--tokens", 300, "--sweep").stdout)
    assert {row["num_nsp"] for row in sweep["rows"]} == {"none", 1, 2, 4, 8}
    assert [row["num_nsp"] for row in sweep["rows"] if row["is_auto"]] == [1]
    routing = tmp_path / "routing.json"
    routing.write_text(json.dumps([[0, 4]] * 30 + [[-1, -1]]))
    result = json.loads(expertile(*moe, "--routing", routing).stdout)
    assert (result["tokens"], result["weight_bytes"], result["dtype"]) == (31, 2 * 3 * 128 * 64 * 2, "bfloat16")


def test_not_enough_memory_names_both_sizes(cuda, expertile, tmp_path):
    """Of the weights, which are looked at before the first is made, and of a session."""
    for name in ("weights", "keys and values"):
        size = ["--ctx-len", 40960, "--batch-size", 4096] if name != "weights" else []
        config = json.loads(CONFIG.read_text()) | ({"num_hidden_layers": 400} if name == "weights" else {})
        (tmp_path / "config.json").write_text(json.dumps(config))
        layers = ["--layers", 400 if name == "weights" else 1]
        done = expertile("bench", "model", tmp_path / "config.json", *CUDA, *layers, *size)
        assert_refusal(done, [name, "need", "GB free of"], (1,))


def test_programs_on_one_device(cuda, binary):
    """At the same time, each in a process of its own."""
    command = [str(binary), "run", str(MODEL), "-p", "The", *CUDA, "--max-new-tokens", "24", "--no-statistics"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) for _ in range(3)]
    texts = {process.communicate(timeout=300)[0] for process in processes}
    assert len(texts) == 1 and [process.returncode for process in processes] == [0, 0, 0]
