"""One MoE layer on arrays of any framework: NumPy, torch on the CPU, whatever has __dlpack__."""

from __future__ import annotations

import weakref
from typing import Any, Dict, List, Optional, Tuple, Union

import numpy as np

from expertile import _core
from expertile.errors import InvalidArgument

NumNsp = Union[None, int, str]


def _detached(tensor: Any) -> Any:
    """A torch tensor without its gradient, which __dlpack__ would refuse."""
    return tensor.detach() if hasattr(tensor, "detach") else tensor


def _plain(array: Any) -> Any:
    """`array` as NumPy; torch's bfloat16, which NumPy does not have, by way of float32."""
    array = _detached(array)
    if type(array).__module__.split(".")[0] == "torch" and array.is_floating_point():
        array = array.float()
    return np.asarray(array)


def _checked(name: str, array: Any, kinds: str) -> Any:
    """`array` [T, n], of a dtype of one of these kinds."""
    if array.ndim != 2 or array.dtype.kind not in kinds:
        numbers = "integers" if kinds == "iu" else "numbers"
        raise InvalidArgument(f"{name}: {array.dtype} of shape {list(array.shape)}, expected {numbers} of two dimensions")
    return array


def _ids(topk_ids: Any) -> Any:
    ids = _checked("topk_ids", _plain(topk_ids), "iu")
    if ids.size and ids.dtype != np.int32 and (ids.max() > 2**31 - 1 or ids.min() < -(2**31)):
        raise InvalidArgument("topk_ids: beyond 32 bits")
    return np.ascontiguousarray(ids, dtype=np.int32)


def _weights(topk_weights: Any) -> Any:
    return np.ascontiguousarray(_checked("topk_weights", _plain(topk_weights), "fiu"), dtype=np.float32)


def _rows(hidden: Any) -> Any:
    """Contiguous, and NumPy's in this machine's byte order."""
    rows = _detached(hidden)
    if getattr(rows, "ndim", 2) != 2:
        raise InvalidArgument(f"hidden: shape {list(rows.shape)}, expected [T, H]")
    if isinstance(rows, np.ndarray):
        return np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("="))
    return rows.contiguous() if hasattr(rows, "contiguous") else rows


def _empty_like(rows: Any) -> Any:
    if isinstance(rows, np.ndarray):
        return np.empty_like(rows)
    if hasattr(rows, "new_empty"):
        return rows.new_empty(rows.shape)
    raise InvalidArgument(f"hidden: {type(rows).__name__}; give out=, an array for the result")


class Experts:
    """The experts of one layer, packed once for this processor; call it with routed tokens.

    Args:
        gate_up: [E, 2I, H], gate rows before up rows; is_transposed: [E, H, 2I]; with is_concatenated
            False gate and up take turns. float32 or bfloat16, kept as it is.
        down: [E, H, I]; is_transposed: [E, I, H].
        gate_up_bias, down_bias: [E, 2I] and [E, H].
        clamped_swiglu: (limit, alpha) of GPT-OSS's activation; None: silu(gate) up.
        num_nsp: expert groups that run in parallel, "auto": what compile() would choose, None: blocking off.
        packed_chunk_size: rows of packed tokens per step, or "auto".
        num_cores: workers, which all layers of a process share; 0: all processors.
        dtype: "float32" or "bfloat16", the arithmetic of matrix products.

    Packing copies the weights, in a few times what reading them takes: packing_seconds.
    """

    def __init__(
        self,
        gate_up: Any,
        down: Any,
        *,
        gate_up_bias: Any = None,
        down_bias: Any = None,
        is_transposed: bool = False,
        is_concatenated: bool = True,
        clamped_swiglu: Optional[Tuple[float, float]] = None,
        num_nsp: NumNsp = "auto",
        packed_chunk_size: Union[int, str] = "auto",
        num_cores: int = 0,
        dtype: str = "float32",
    ) -> None:
        self._core = _core.MoeExperts.pack(
            _detached(gate_up),
            _detached(down),
            _detached(gate_up_bias),
            _detached(down_bias),
            is_transposed,
            is_concatenated,
            clamped_swiglu,
            num_nsp,
            packed_chunk_size,
            num_cores,
            dtype,
        )

    @property
    def packing_seconds(self) -> float:
        return self._core.packing_seconds

    @property
    def num_bytes(self) -> int:
        return self._core.num_bytes

    @property
    def isa(self) -> str:
        return self._core.isa

    def __call__(self, hidden: Any, topk_ids: Any, topk_weights: Any, out: Any = None) -> Any:
        """sum over k of topk_weights[t, k] expert(topk_ids[t, k])(hidden[t]): [T, H], as hidden is.

        A row of ids -1 is padding: its result is zero. The same bits for every num_nsp, chunk size,
        number of workers and T.
        """
        rows = _rows(hidden)
        result = _empty_like(rows) if out is None else out
        self._core.run(rows, _ids(topk_ids), _weights(topk_weights), _detached(result))
        return result


# By the identity of gate_up; an entry goes when the array goes.
_packed: Dict[int, Tuple[Any, List[Any], Experts]] = {}


def _version(array: Any) -> Any:
    """What changes when values do; None: it cannot be told."""
    if isinstance(array, np.ndarray):
        return None if array.flags.writeable else array.__array_interface__["data"]
    return (array._version, array.data_ptr()) if hasattr(array, "_version") else None


def packed_experts(gate_up: Any, down: Any, **layout: Any) -> Experts:
    """Experts(...), made once for weights that cannot have changed since: torch tensors that were not
    written to, NumPy arrays that are read-only. Others are packed by every call."""
    arrays = [gate_up, down, *(layout[name] for name in ("gate_up_bias", "down_bias") if layout.get(name) is not None)]
    rest = sorted((name, value) for name, value in layout.items() if not name.endswith("_bias"))
    key = [[_version(array) for array in arrays], [id(array) for array in arrays], rest]
    known = _packed.get(id(gate_up))
    if known is not None and known[0]() is gate_up and known[1] == key:
        return known[2]
    experts = Experts(gate_up, down, **layout)
    if None not in key[0]:
        number = id(gate_up)
        _packed[number] = (weakref.ref(gate_up, lambda _: _packed.pop(number, None)), key, experts)
    return experts


def moe(hidden: Any, gate_up: Any, down: Any, topk_ids: Any, topk_weights: Any, **layout: Any) -> Any:
    """A MoE layer's experts on routed tokens, NSP-blocked: Experts(gate_up, down, ...)(hidden, topk_ids, topk_weights).

    Keywords are those of Experts: num_nsp, packed_chunk_size, gate_up_bias, ... Packing the weights is
    most of a first call; packed_experts() says when a later call does not pack again. Where you have
    the weights for good, make an Experts and keep it.
    """
    return packed_experts(gate_up, down, **layout)(hidden, topk_ids, topk_weights)
