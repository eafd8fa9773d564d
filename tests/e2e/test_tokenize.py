"""expertile tokenize against the tokenizers library."""

import json

from cases import MODEL


def answer(done):
    assert (done.returncode, done.stderr) == (0, b"")
    return json.loads(done.stdout)


def test_goldens(expertile, golden):
    assert golden.cases["tokenizer"]
    for case in golden.cases["tokenizer"]:
        encoded = answer(expertile("tokenize", MODEL, "--json", stdin=case["text"]))
        assert encoded["ids"] == case["ids"], case["text"]
        assert len(encoded["tokens"]) == len(case["ids"])
        decoded = answer(expertile("tokenize", MODEL, "--json", "--decode", json.dumps(case["ids"])))
        assert decoded == {"text": case["decoded"]}


def test_text_on_the_command_line(expertile, golden):
    case = golden.cases["tokenizer"][0]
    assert answer(expertile("tokenize", MODEL, "--json", "--text", case["text"]))["ids"] == case["ids"]
