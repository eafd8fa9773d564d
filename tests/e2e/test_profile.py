"""expertile profile: what it says, and the report."""

import json

import numpy
import pytest
from cases import MODEL

CONFIG = json.loads((MODEL / "config.json").read_text())
TEXT = "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n" * 8


@pytest.fixture(scope="module")
def profile(expertile, tmp_path_factory):
    folder = tmp_path_factory.mktemp("profile")
    (folder / "text.txt").write_text(TEXT)
    options = ["--moe-prefill-num-nsp", 6, "--prefill-seq-len", 64, "--moe-prefill-packed-chunk-size", 16, "--num-cores", 2]
    report = folder / "report.html"
    done = expertile("profile", MODEL, "--text-file", folder / "text.txt", "-o", report, "--json", *options)
    assert (done.returncode, done.stderr) == (0, b"")
    return json.loads(done.stdout), report.read_text()


def test_facts(profile):
    facts, _ = profile
    rows = numpy.array(facts["expert_rows"])
    E, K = CONFIG["num_experts"], CONFIG["num_experts_per_tok"]
    assert rows.shape == (CONFIG["num_hidden_layers"], E)
    assert (rows.sum(axis=1) == facts["num_tokens"] * K).all()
    seconds = numpy.array(facts["expert_seconds"])
    assert seconds.shape == rows.shape and ((seconds > 0) <= (rows > 0)).all() and seconds.sum() > 0
    assert facts["num_nsp"] == 6 and facts["nsp_imbalance"] >= 1
    assert len(facts["layer_imbalance"]) == len(facts["layers"])


def test_alternatives(profile):
    facts, _ = profile
    numbers = {(each["num_nsp"], each["placement"].split()[0]): each for each in facts["numbers"]}
    assert numbers[6, "interleaved"]["nsp_imbalance"] == facts["nsp_imbalance"]
    assert {n for n, _ in numbers} == {2, 4, 6, 8, 16, 32}
    for n, _ in numbers:
        # Placed by the loads themselves, the NSPs are at least about as even.
        assert numbers[n, "fitted"]["nsp_imbalance"] <= 1.1 * numbers[n, "interleaved"]["nsp_imbalance"]
    # With one expert each, where they lie makes no difference.
    assert len({numbers[32, kind]["nsp_imbalance"] for kind in ("interleaved", "contiguous", "fitted")}) == 1
    chunks = {each["packed_chunk_size"]: each for each in facts["chunk_sizes"]}
    assert chunks[16]["num_chunks"] == facts["num_chunks"]
    counts = [chunks[size]["num_chunks"] for size in sorted(chunks)]
    assert counts == sorted(counts, reverse=True)
    # A step has 64 tokens, so no expert has more rows: one chunk for each expert that is chosen.
    assert counts[-1] == chunks[64]["num_chunks"]


def test_the_report_stands_alone(profile):
    facts, page = profile
    assert page.startswith("<!doctype html>") and "@PROFILE@" not in page
    for word in ("http://", "https://", "src=", "@import", "url("):
        assert word not in page.replace("http://www.w3.org/2000/svg", "")
    data = page.split('<script type="application/json" id="profile">')[1].split("</script>")[0]
    assert json.loads(data)["expert_rows"] == facts["expert_rows"]


def test_refusals(expertile, tmp_path):
    for arguments, message in [
        ([], b"--prompt or --text-file"),
        (["--prompt", "x", "--text-file", "y"], b"--text-file"),
        (["--prompt", "x", "--moe-prefill-num-nsp", 99], b"99"),
        (["--prompt", ""], b"no tokens"),
        (["--prompt", "x", "-o", tmp_path / "nowhere" / "x.html"], b"nowhere"),
    ]:
        done = expertile("profile", MODEL, *arguments)
        assert done.returncode in (1, 2) and message in done.stderr and done.stderr.count(b"\n") == 1


def test_summary(expertile):
    done = expertile("profile", MODEL, "--prompt", TEXT, "--moe-prefill-num-nsp", "4")
    assert done.returncode == 0 and b"on 4 NSPs" in done.stdout and b"busiest NSP" in done.stdout
