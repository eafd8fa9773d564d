"""Checkpoints that answer with tokens of our choice: a chain from each token to the next.

Attention and experts add nothing, so the last hidden state is the last token's embedding: a unit vector of the
chain, which the head turns into the next token. A token may therefore stand in the chain once."""

import json
import shutil
import struct

import numpy
from cases import ROOT

SILENT = ("o_proj.", "down_proj", "output_linear.")


def read_tensors(folder):
    """Name to (dtype, shape, bytes) of every shard."""
    tensors = {}
    for shard in sorted(folder.glob("*.safetensors")):
        data = shard.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        for name, entry in json.loads(data[8:start]).items():
            if name != "__metadata__":
                first, last = entry["data_offsets"]
                tensors[name] = (entry["dtype"], entry["shape"], data[start + first : start + last])
    return tensors


def write_tensors(path, tensors):
    header, offset = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def encoded(array, dtype):
    """float32 values as BF16 (exact here) or F32 bytes."""
    array = numpy.ascontiguousarray(array, numpy.float32)
    return array.tobytes() if dtype == "F32" else (array.view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes()


def force_reply(folder, model, chain):
    """Copies `model` to `folder`; after chain[i] it says chain[i + 1]."""
    assert len(set(chain)) == len(chain), f"{chain} has a token twice"
    shutil.copytree(ROOT / "models" / model, folder)
    tensors = read_tensors(folder)
    for shard in folder.glob("*.safetensors*"):
        shard.unlink()
    name = next(name for name in tensors if name.endswith("embed_tokens.weight"))
    dtype, (vocab_size, hidden_size), _ = tensors[name]
    embeddings = numpy.zeros((vocab_size, hidden_size))
    head = numpy.zeros((vocab_size, hidden_size))
    for i, (token, following) in enumerate(zip(chain, chain[1:])):
        embeddings[token, i] = 1
        head[following, i] = 64
    tensors[name] = (dtype, [vocab_size, hidden_size], encoded(embeddings, dtype))
    tensors["lm_head.weight"] = (dtype, [vocab_size, hidden_size], encoded(head, dtype))
    for name, (dtype, shape, data) in tensors.items():
        if any(part in name for part in SILENT):
            tensors[name] = (dtype, shape, bytes(len(data)))
        if name == "model.norm.weight":
            tensors[name] = (dtype, shape, encoded(numpy.ones(shape), dtype))
    write_tensors(folder / "model.safetensors", tensors)
    config = json.loads((folder / "config.json").read_text())
    config["tie_word_embeddings"] = False
    (folder / "config.json").write_text(json.dumps(config))
    return folder
