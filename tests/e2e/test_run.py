"""expertile run: text on standard output, statistics on standard error."""

import pytest
from cases import MODEL

OPTIONS = ["--max-new-tokens", 32, "--ignore-eos", "--dtype", "float32"]


@pytest.mark.parametrize("target", ["reference", "cpu"])
@pytest.mark.parametrize("case", ["short", "long", "window"])
def test_greedy_text(expertile, golden, tmp_path, target, case):
    prompt = tmp_path / "prompt.txt"
    prompt.write_bytes(golden.cases[case]["text"].encode())
    done = expertile("run", MODEL, "--prompt-file", prompt, "--target", target, *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == golden.cases[case]["greedy_text"] + "\n"
    assert f"prefill: {golden.cases[case]['tokens']} tokens" in done.stderr.decode()


def test_prompt_from_anywhere(expertile, golden):
    text = golden.cases["short"]["text"]
    argument = expertile("run", MODEL, "--prompt", text, "--no-statistics", *OPTIONS)
    stdin = expertile("run", MODEL, "--prompt-file", "-", "--no-statistics", *OPTIONS, stdin=text)
    assert argument.stdout == stdin.stdout != b""
    assert argument.stderr == stdin.stderr == b""


def test_a_seed_repeats(expertile):
    def sample(seed):
        sampling = ["--temperature", 1.5, "--top-k", 50, "--seed", seed]
        return expertile("run", MODEL, "--prompt", "The", *sampling, *OPTIONS).stdout

    assert sample(1) == sample(1)
    assert len({sample(seed) for seed in range(4)}) > 1
