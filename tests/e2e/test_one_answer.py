"""One answer: through the command line, the bits of the logits depend on no blocking option."""

import hashlib
import itertools

import pytest

NUM_NSP = ["none", 1, 3, 16, 32]
CHUNKS_AND_LENGTHS = [(1, 32), (7, 100), (256, 512), (4096, 32)]
NUM_CORES = [1, 2]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_answer(forward, golden, dtype):
    ids = golden.ids("window")[:130]
    hashes = {}
    for num_nsp, (chunk, length), cores in itertools.product(NUM_NSP, CHUNKS_AND_LENGTHS, NUM_CORES):
        options = [
            *("--moe-prefill-num-nsp", num_nsp, "--moe-prefill-packed-chunk-size", chunk),
            *("--prefill-seq-len", length, "--num-cores", cores, "--dtype", dtype),
        ]
        logits = forward(ids, *options)["logits"]
        hashes[tuple(options)] = hashlib.sha256(logits.tobytes()).hexdigest()
    assert len(set(hashes.values())) == 1, hashes
