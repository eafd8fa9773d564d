"""How a prompt's tokens lie on experts, layers and NSPs, and how they would lie on others."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Union

import numpy as np
import numpy.typing as npt

from expertile import _core
from expertile.arrays import TokenIds, token_ids


class Profile:
    """Of one prompt's prefill. `facts` has everything by the names of include/expertile/profile.h."""

    def __init__(self, program: _core.Program, ids: TokenIds) -> None:
        self._core = _core.profile(program, token_ids(ids))
        self.facts: Dict[str, Any] = json.loads(self._core.to_json())

    @property
    def layers(self) -> List[int]:
        """The indices of the MoE layers."""
        return list(self.facts["layers"])

    @property
    def expert_rows(self) -> npt.NDArray[np.int64]:
        """Token rows [layers, E]."""
        return np.array(self.facts["expert_rows"], np.int64)

    @property
    def expert_seconds(self) -> npt.NDArray[np.float64]:
        """Busy time [layers, E]; zeros where the target does not tell."""
        return np.array(self.facts["expert_seconds"], np.float64)

    def _by_nsp(self, by_expert: npt.NDArray[Any]) -> npt.NDArray[Any]:
        placed = _core.placement(self.facts["num_experts"], self.facts["num_nsp"])["nsp"]
        return np.stack([by_expert[:, placed == nsp].sum(axis=1) for nsp in range(self.facts["num_nsp"])], axis=1)

    @property
    def nsp_rows(self) -> npt.NDArray[np.int64]:
        """Token rows [layers, N]."""
        return self._by_nsp(self.expert_rows)

    @property
    def nsp_seconds(self) -> npt.NDArray[np.float64]:
        """Busy time [layers, N]."""
        return self._by_nsp(self.expert_seconds)

    def write_report(self, file: Union[str, "os.PathLike[str]"]) -> None:
        """One HTML page that needs nothing else: rows and times, and what another N, placement or chunk size would give."""
        self._core.write_report(file)

    def plot(self, axes: Any = None) -> Any:
        """Rows of layers and experts as a heat map, on matplotlib's `axes` or a new figure's; returns the axes."""
        if axes is None:
            from matplotlib import pyplot

            _, axes = pyplot.subplots(figsize=(10, 3.5), layout="constrained")
        rows = self.expert_rows
        image = axes.imshow(rows, aspect="auto", interpolation="nearest", cmap="viridis")
        axes.set(xlabel="expert", ylabel="MoE layer", title=f"{self.facts['name']}: token rows")
        axes.set_yticks(range(len(self.layers)), self.layers)
        axes.figure.colorbar(image, ax=axes)
        return axes

    def __repr__(self) -> str:
        facts = self.facts
        return (
            f"<Profile of {facts['num_tokens']} tokens on {facts['num_nsp']} NSPs: "
            f"busiest NSP {facts['nsp_imbalance']:.2f} x the mean>"
        )
