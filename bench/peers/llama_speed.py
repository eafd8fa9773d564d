"""Times a GGUF model through llama.cpp's C API, of llama.cpp or of ik_llama.cpp: one line of JSON.

The two bindings' ctypes modules have the C functions under their own names; where the forks differ
the newer name is tried first.
"""

import argparse
import ctypes
import importlib
import json
import time


def first_of(library, *names):
    return next(getattr(library, name) for name in names if hasattr(library, name))


class Engine:
    def __init__(self, library, path, threads, capacity):
        self.library = library
        library.llama_backend_init()
        silent = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
        self.silent = silent  # the library keeps the pointer
        if hasattr(library, "llama_log_set"):
            library.llama_log_set(silent, None)
        load = first_of(library, "llama_model_load_from_file", "llama_load_model_from_file")
        self.model = load(path.encode(), library.llama_model_default_params())
        options = library.llama_context_default_params()
        options.n_ctx = capacity
        options.n_batch = options.n_ubatch = capacity
        options.n_threads = options.n_threads_batch = threads
        self.context = first_of(library, "llama_init_from_model", "llama_new_context_with_model")(self.model, options)
        if not self.model or not self.context:
            raise SystemExit(f"{path}: not loaded")

    def clear(self):
        library = self.library
        if hasattr(library, "llama_memory_clear"):
            library.llama_memory_clear(library.llama_get_memory(self.context), True)
        else:
            library.llama_kv_cache_clear(self.context)

    def run(self, ids, position):
        """Extends the one sequence; returns the seconds until the last token's logits are there."""
        batch = self.library.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i] = token, position + i
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
            batch.logits[i] = i + 1 == len(ids)
        start = time.perf_counter()
        outcome = self.library.llama_decode(self.context, batch)
        self.library.llama_get_logits_ith(self.context, len(ids) - 1)
        seconds = time.perf_counter() - start
        self.library.llama_batch_free(batch)
        if outcome != 0:
            raise SystemExit(f"llama_decode: {outcome}")
        return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--module", required=True, help="of the C functions")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--decode-tokens", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    library = importlib.import_module(arguments.module)
    tokens = arguments.tokens
    engine = Engine(library, arguments.model, arguments.threads, tokens + arguments.decode_tokens)
    ids = [(7919 * i + 1) % 32000 for i in range(tokens)]
    times = {"prefill_seconds": [], "decode_seconds": []}
    for repeat in range(arguments.repeats + 1):  # the first warms up
        engine.clear()
        prefill = engine.run(ids, 0)
        decode = [engine.run(ids[:1], tokens + i) for i in range(arguments.decode_tokens)]
        if repeat > 0:
            times["prefill_seconds"].append(prefill)
            times["decode_seconds"] += decode
    print(json.dumps(times))


if __name__ == "__main__":
    main()
