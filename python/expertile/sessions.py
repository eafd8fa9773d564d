"""Sessions of a program: sequences that are extended, forked and truncated."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import numpy.typing as npt

from expertile import _core, log
from expertile.arrays import Ids, TokenIds, token_ids
from expertile.errors import InvalidArgument
from expertile.generation import Generation, Prompt
from expertile.progress import Progress, Wanted

Floats = npt.NDArray[np.float32]
Images = Sequence[_core.EncodedImage]
# A sequence and what it is extended by: token ids, the images of its image tokens, and RoPE's positions
# [3, tokens] where the caller knows them: images may then be parts of images (EncodedImage.of_rows).
Row = Union[Tuple[int, TokenIds], Tuple[int, TokenIds, Images], Tuple[int, TokenIds, Images, Optional[Ids]]]


def _plane(rows: Floats) -> Floats:
    return np.ascontiguousarray(rows, dtype=np.float32)


class Session:
    """Sequences over one pool of KV cache; 0 to batch_size - 1 are there from the start.

    Whatever runs beside it and however it came to its tokens, a sequence's logits are the same bits.
    Calls run without the GIL. Ctrl-C stops one before its next layer: the session is then as it was
    before the call. Sessions of one program share its workers, so that their calls follow each other.
    """

    def __init__(self, program: _core.Program) -> None:
        log.refresh()
        self.program = program
        self._core = program.new_session()

    batch_size: int = property(lambda self: self._core.batch_size)  # type: ignore[assignment]
    ctx_len: int = property(lambda self: self._core.ctx_len)  # type: ignore[assignment]
    prefill_seq_len: int = property(lambda self: self._core.prefill_seq_len)  # type: ignore[assignment]

    @staticmethod
    def _rows(rows: Sequence[Row]) -> List[Tuple[int, Ids, List[_core.EncodedImage], Optional[Ids]]]:
        complete: List[Tuple[int, Ids, List[_core.EncodedImage], Optional[Ids]]] = []
        for row in rows:
            if not isinstance(row, (tuple, list)) or not 2 <= len(row) <= 4:
                raise InvalidArgument(f"rows: {str(row)[:60]}, expected (sequence, token ids[, images[, positions]])")
            images = list(row[2]) if len(row) > 2 else []
            complete.append((row[0], token_ids(row[1]), images, row[3] if len(row) > 3 else None))
        return complete

    def run(self, rows: Sequence[Row], all_logits: bool = False) -> Floats:
        """Extends each row's sequence: (sequence, token ids[, images[, positions]]), prompts and single tokens mixed.

        Returns the logits of each row's last token, [rows, V], or with all_logits of all tokens, row by
        row. A token id of -1 is padding: it costs nothing.
        """
        return self._core.run(self._rows(rows), all_logits)

    def decode(self, rows: Sequence[Row]) -> Floats:
        """run() of one token for each row."""
        return self._core.decode(self._rows(rows))

    def cancel(self) -> None:
        """Stops the call that another thread is in, before its next layer: it raises an Error of code CANCELLED."""
        self._core.cancel()

    def new_sequence(self) -> int:
        return self._core.new_sequence()

    def drop_sequence(self, sequence: int) -> None:
        self._core.drop_sequence(sequence)

    def fork(self, sequence: int) -> int:
        """A new sequence that holds what `sequence` does, in the same memory until one of them grows."""
        return self._core.fork(sequence)

    def length(self, sequence: int = 0) -> int:
        return self._core.length(sequence)

    def truncate(self, sequence: int, length: int) -> None:
        """Forgets the tokens from `length` on."""
        self._core.truncate(sequence, length)

    def clear(self, sequence: int = 0) -> None:
        self._core.clear(sequence)

    def read_kv(self, sequence: int = 0) -> Tuple[List[Tuple[Floats, Floats]], Ids]:
        """Keys and values [kv_heads, tokens, D] of each layer, keys after RoPE; and RoPE's deltas (docs/kv-cache-file.md)."""
        layers, deltas = self._core.read_kv(sequence)
        return layers, deltas

    def write_kv(
        self, sequence: int, layers: Sequence[Tuple[Floats, Floats]], next_deltas: Optional[Ids] = None
    ) -> None:
        """Continues, on an empty sequence, what read_kv() gave."""
        planes = [(_plane(keys), _plane(values)) for keys, values in layers]
        self._core.write_kv(sequence, planes, next_deltas)

    def save_kv(self, sequence: int, file: Union[str, os.PathLike[str]]) -> None:
        self._core.save_kv(sequence, file)

    def load_kv(self, sequence: int, file: Union[str, os.PathLike[str]]) -> None:
        self._core.load_kv(sequence, file)

    def generate(self, prompts: Sequence[Prompt], max_new_tokens: int = 128, **choices: Any) -> Generation:
        """Continues prompts on sequences 0, 1, ...; the iterator gives (prompt, token id) as they are made."""
        return Generation(self, prompts, max_new_tokens, **choices)

    def evaluate(self, ids: TokenIds, progress: Wanted = None) -> Dict[str, Any]:
        """How well the model predicts a text: mean_nll in nats for each scored token."""
        with Progress("evaluating", progress) as callback:
            return self._core.evaluate(token_ids(ids), callback)

    @property
    def nsp_load(self) -> Dict[str, Any]:
        """What the NSPs did in prefill so far, summed over layers."""
        return self._core.nsp_load
