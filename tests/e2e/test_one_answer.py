"""One answer: through the command line, the bits of the logits depend on no blocking option."""

import hashlib
import itertools

import pytest

NUM_NSP = ["none", 1, 3, 16, 32]
CHUNKS_AND_LENGTHS = [(1, 32), (7, 100), (256, 512), (4096, 32)]
SANITIZED = ["none", 5], [(7, 32), (256, 512)]  # the two, under a sanitizer
NUM_CORES = [1, 2]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "mxint8"])
def test_one_answer(forward, golden, sanitizer, dtype):
    nums_nsp, chunks_and_lengths = SANITIZED if sanitizer else (NUM_NSP, CHUNKS_AND_LENGTHS)
    ids = golden.ids("window")[:130]
    hashes = {}
    for num_nsp, (chunk, length), cores in itertools.product(nums_nsp, chunks_and_lengths, NUM_CORES):
        options = [
            *("--moe-prefill-num-nsp", num_nsp, "--moe-prefill-packed-chunk-size", chunk),
            *("--prefill-seq-len", length, "--num-cores", cores, "--dtype", dtype),
        ]
        logits = forward(ids, *options)["logits"]
        hashes[tuple(options)] = hashlib.sha256(logits.tobytes()).hexdigest()
    assert len(set(hashes.values())) == 1, hashes
