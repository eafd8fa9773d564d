"""Token ids as the library takes them: int32, without a copy where they are."""

from __future__ import annotations

from typing import Any, Sequence, Union

import numpy as np
import numpy.typing as npt

from expertile.errors import InvalidArgument

Ids = npt.NDArray[np.int32]
TokenIds = Union[Sequence[int], npt.NDArray[np.integer[Any]]]


def token_ids(ids: TokenIds) -> Ids:
    array = np.asarray(ids)
    if array.size == 0:
        array = array.astype(np.int32)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InvalidArgument(f"token ids: {array.dtype} of shape {list(array.shape)}, expected a list of integers")
    if array.dtype != np.int32 and array.size and (array.max() > 2**31 - 1 or array.min() < -(2**31)):
        raise InvalidArgument("token ids: beyond 32 bits")
    return np.ascontiguousarray(array, dtype=np.int32)
