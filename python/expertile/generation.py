"""Generation as an iterator, sampling, and the figures of the original's generate()."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np
import numpy.typing as npt

from expertile import _core
from expertile.arrays import Ids, TokenIds, token_ids

if TYPE_CHECKING:
    from expertile.sessions import Session

# Token ids, the images of its image tokens, and what the sequence holds already.
Prompt = Union[TokenIds, Tuple[TokenIds, Sequence[_core.EncodedImage]], Tuple[TokenIds, Sequence[_core.EncodedImage], TokenIds]]

sampling = _core.sampling
CHOICES = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "seed")


def _prompt(prompt: Prompt) -> Tuple[Ids, List[_core.EncodedImage], Ids]:
    parts: Tuple[Any, ...] = prompt if isinstance(prompt, tuple) else (prompt,)
    images = list(parts[1]) if len(parts) > 1 else []
    return token_ids(parts[0]), images, token_ids(parts[2] if len(parts) > 2 else [])


class Generation(Iterator[Tuple[int, int]]):
    """Continues prompts on sequences 0, 1, ... of a session: gives (prompt, token id), a step at a time.

    `choices` are those of expertile.sampling(): temperature, top_k, ...; without any the checkpoint's
    generation_config.json decides. Nothing is computed ahead of what is asked for, so leaving the loop
    stops it. After Ctrl-C, or an exception in the loop, it can be gone on with.
    """

    def __init__(
        self,
        session: Session,
        prompts: Sequence[Prompt],
        max_new_tokens: int = 128,
        *,
        end_token_ids: Optional[Sequence[int]] = None,
        **choices: Any,
    ) -> None:
        program = session.program
        ends = program.end_token_ids if end_token_ids is None else list(end_token_ids)
        chosen = sampling(program.model_folder, **choices)
        self._session = session
        self._core = _core.Generation.start(
            session._core, [_prompt(prompt) for prompt in prompts], max_new_tokens, chosen, ends
        )
        self._ready: List[Tuple[int, int]] = []

    def __iter__(self) -> Generation:
        return self

    def __next__(self) -> Tuple[int, int]:
        if not self._ready:
            self._ready = self._core.next()[::-1]
        if not self._ready:
            raise StopIteration
        return self._ready.pop()

    def stop(self, prompt: int = 0) -> None:
        """The token that was given last for `prompt` is its last."""
        self._core.stop(prompt)

    def result(self) -> Dict[str, Any]:
        """What was made so far: token_ids and finish_reasons by prompt, statistics."""
        return self._core.finish()


@dataclasses.dataclass
class PerfMetrics:
    """Seconds and tokens per second, as the original counts them."""

    prefill_time: float
    decode_perf: float
    total_perf: float
    total_time: float


@dataclasses.dataclass
class ExecInfo:
    """What generate() returns, with the names of the original's."""

    batch_size: int
    generated_texts: List[str]
    generated_ids: npt.NDArray[np.int64]
    perf_metrics: PerfMetrics
    finish_reasons: List[str] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        perf = self.perf_metrics
        lines = [" Performance Stats ".center(69, "=")]
        if self.batch_size > 1:
            lines.append("Batch Performance : ")
        lines += [
            f"Average Prefill time a.k.a TTFT is= {perf.prefill_time:.2f} sec",
            f"Decode is= {perf.decode_perf * self.batch_size:.2f} tokens/sec",
            f"Total is= {perf.total_perf * self.batch_size:.2f} tokens/sec",
            f"Total (E2E) inference time is= {perf.total_time:.2f} sec",
            "=" * 69,
        ]
        return "\n".join(lines)


def perf_metrics(statistics: Sequence[Dict[str, Any]], num_prompts: int) -> PerfMetrics:
    """Of one sequence on average, from the statistics of the batches."""
    prefill = sum(each["prefill_seconds"] for each in statistics)
    decode = sum(each["decode_seconds"] for each in statistics)
    made = sum(each["new_tokens"] for each in statistics)
    decoded = max(0, made - num_prompts) / max(1, num_prompts)
    total = prefill + decode
    return PerfMetrics(
        prefill_time=prefill / max(1, len(statistics)),
        decode_perf=decoded / decode if decode > 0 else 0.0,
        total_perf=made / max(1, num_prompts) / total if total > 0 else 0.0,
        total_time=total,
    )
