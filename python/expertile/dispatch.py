"""How tokens are given to experts and experts to NSPs, as arrays (docs/dispatch.md)."""

from __future__ import annotations

import dataclasses
from typing import Any, Iterator

import numpy as np
import numpy.typing as npt

from expertile import _core
from expertile.errors import InvalidArgument

Ints = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class Placement:
    """Expert e lies on NSP e mod N, in slot e div N."""

    nsp: Ints  # [E]
    slot: Ints  # [E]
    table: Ints  # [N, L], the expert in each slot; -1 where an NSP has one fewer


@dataclasses.dataclass(frozen=True)
class MatchedIndex:
    """For every expert the assignments (numbers token K + k) that chose it, in token order."""

    offsets: Ints  # [E+1], into assignments
    assignments: Ints  # [routed rows]

    def of(self, expert: int) -> Ints:
        return self.assignments[self.offsets[expert] : self.offsets[expert + 1]]


@dataclasses.dataclass(frozen=True)
class ChunkPlan:
    """Every NSP's work as chunks of at most packed_chunk_size rows of one expert; none is empty."""

    expert: Ints  # [chunks], as all below
    nsp: Ints
    slot: Ints
    begin: Ints  # rows [begin, end) of MatchedIndex.assignments
    end: Ints
    nsp_offsets: Ints  # [N+1], into the chunks: NSP by NSP, in each slot by slot

    def __len__(self) -> int:
        return len(self.expert)

    def __iter__(self) -> Iterator[Any]:
        return zip(self.expert, self.nsp, self.slot, self.begin, self.end)


@dataclasses.dataclass(frozen=True)
class Balance:
    """How evenly a routing's work lies."""

    nsp_rows: npt.NDArray[np.int64]  # [N]
    num_chunks: int
    nsp_imbalance: float  # rows of the busiest NSP / mean of the NSPs
    worker_imbalance: float  # the same of workers that help each other, predicted


def ids2d(topk_ids: Any) -> Ints:
    """[T, K] of int32, without a copy where it is that."""
    ids = np.asarray(topk_ids)
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        raise InvalidArgument(f"topk_ids: {ids.dtype} of shape {list(ids.shape)}, expected integers [T, K]")
    if ids.dtype != np.int32 and ids.size and (ids.max() > 2**31 - 1 or ids.min() < -(2**31)):
        raise InvalidArgument("topk_ids: beyond 32 bits")
    return np.ascontiguousarray(ids, dtype=np.int32)


def placement(num_experts: int, num_nsp: int) -> Placement:
    return Placement(**_core.placement(num_experts, num_nsp))


def matched_index(topk_ids: Any, num_experts: int) -> MatchedIndex:
    """topk_ids [T, K]; a padded row is K times -1."""
    return MatchedIndex(**_core.matched_index(ids2d(topk_ids), num_experts))


def chunk_plan(topk_ids: Any, num_experts: int, num_nsp: int, packed_chunk_size: int = 256) -> ChunkPlan:
    planned = _core.chunk_plan(ids2d(topk_ids), num_experts, num_nsp, packed_chunk_size)
    expert, nsp, slot, begin, end = planned["chunks"].T
    return ChunkPlan(expert, nsp, slot, begin, end, planned["nsp_offsets"])


def balance(
    topk_ids: Any, num_experts: int, num_nsp: int, packed_chunk_size: int = 256, num_workers: int = 1
) -> Balance:
    return Balance(**_core.balance(ids2d(topk_ids), num_experts, num_nsp, packed_chunk_size, num_workers))
