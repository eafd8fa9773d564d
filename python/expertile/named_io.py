"""A program by the original's names of inputs and outputs: what its QAICInferenceSession does on a card."""

from __future__ import annotations

import os
from typing import Any, Dict, Iterable, List, Mapping, Optional, Set, Tuple, Union

import numpy as np
import numpy.typing as npt

from expertile import _core
from expertile.arrays import Ids
from expertile.errors import InvalidArgument
from expertile.named_images import VISION_INPUTS, VISION_OUTPUTS, ImageRows, encode_pixels, vision_outputs
from expertile.sessions import Session

Array = npt.NDArray[Any]
RETAINED = "_RetainedState"


class InferenceSession:
    """Runs steps whose state goes in and out as arrays.

    Inputs: input_ids and position_ids [batch, seq_len] (position -1 is padding; a model with MRoPE may give
    [4, batch, seq_len]), and past_key.<i>, past_value.<i> [batch, kv_heads, ctx_len, D], or none: then the
    session goes on from what it holds. Outputs: logits [batch, 1, V] of each sequence's last token, and
    past_..._RetainedState. Positions decide where tokens go: a step that begins at p sees what is held
    before p. State that comes back unchanged (the same arrays) is not copied in again.

    A model with images: pixel_values [patches, values of a patch] and image_grid_thw give vision_embeds and
    deepstack_features, which a step of tokens takes beside image_idx, the row to begin with; image_idx_output
    is the next step's. position_ids [4, batch, seq_len] is the text's index, then time, height and width.
    """

    def __init__(
        self,
        qpc_path: Union[str, "os.PathLike[str]", _core.Program],
        device_ids: Optional[List[int]] = None,
        activate: bool = True,
        enable_debug_logs: bool = False,
        data_path_timeout_ms: int = 60000,
    ) -> None:
        self.program = qpc_path if isinstance(qpc_path, _core.Program) else _core.Program.open(qpc_path)
        self.session = Session(self.program)
        self._path = qpc_path
        self._has_vision = self.program.description.has_vision
        self._buffers: Dict[str, Array] = {}  # inputs that stay until others are given
        self._skipped: Set[str] = set()
        self._given: Dict[str, Array] = {}

    @property
    def state_names(self) -> List[str]:
        layers = range(self.program.description.num_layers)
        return [f"past_{part}.{i}" for i in layers for part in ("key", "value")]

    @property
    def input_names(self) -> List[str]:
        images = [*VISION_INPUTS, *VISION_OUTPUTS, "image_idx"] if self._has_vision else []
        return ["input_ids", "position_ids", *images, *self.state_names]

    @property
    def output_names(self) -> List[str]:
        images = [*VISION_OUTPUTS, *(name + RETAINED for name in VISION_OUTPUTS), "image_idx_output"]
        return ["logits", *(images if self._has_vision else []), *(name + RETAINED for name in self.state_names)]

    def activate(self) -> None:
        """Nothing is to be done: a session is ready when it is there."""

    def deactivate(self) -> None:
        """Nothing is to be done: a session is over when it is gone."""

    def skip_buffers(self, skipped_buffer_names: Iterable[str]) -> None:
        """Outputs that are not wanted: state that stays in the session costs nothing."""
        names = [skipped_buffer_names] if isinstance(skipped_buffer_names, str) else skipped_buffer_names
        self._skipped |= set(names)

    def set_buffers(self, buffers: Mapping[str, Any]) -> None:
        """Inputs of later runs that do not name them."""
        self._buffers.update(self._known(buffers))

    def _known(self, inputs: Mapping[str, Any]) -> Dict[str, Array]:
        arrays = {name: np.asarray(value) for name, value in inputs.items()}
        unknown = sorted(set(arrays) - set(self.input_names))
        if unknown:
            raise InvalidArgument(f"{unknown[0]}: no input of the program, which has {', '.join(self.input_names[:4])}, …")
        return arrays

    def run(self, inputs: Mapping[str, Any]) -> Dict[str, Array]:
        """A step of tokens; or, where there are pixel_values and no input_ids, the vision tower."""
        given = self._known(inputs)
        if "pixel_values" in given and "input_ids" not in given:
            return vision_outputs(encode_pixels(self.program, given, self._path))
        arrays = {**self._buffers, **given}
        steps = _steps(arrays)
        image_idx = arrays.get("image_idx", np.zeros(1, np.int64))
        if image_idx.size != 1:
            raise InvalidArgument(f"image_idx: shape {list(image_idx.shape)}, expected one number")
        images = ImageRows(self.program.image_token_id, arrays, int(image_idx.reshape(())))
        rows = []
        for sequence, (_, ids, positions) in steps.items():
            positions = positions if self._has_vision else None
            rows.append((sequence, ids, images.of(ids, positions), positions))
        past = self._past(arrays)
        if past is not None and self._has_vision and arrays["position_ids"].ndim != 3:
            raise InvalidArgument("position_ids: expected [4, batch, seq_len] beside a state that may hold images")
        for sequence, (start, _, _) in steps.items():
            self._go_to(sequence, start, past)
        logits = self.session.run(rows)
        outputs: Dict[str, Array] = {"logits": logits[:, None, :]}
        if self._has_vision:
            self._buffers.update({name: arrays[name] for name in VISION_OUTPUTS if name in arrays})
            outputs["image_idx_output"] = np.array([[images.next_image_idx]])
            outputs.update({name + RETAINED: arrays[name] for name in VISION_OUTPUTS if name in arrays})
        outputs.update(self._state(list(steps)))
        return outputs

    def _past(self, arrays: Dict[str, Array]) -> Optional[List[Tuple[Array, Array]]]:
        """The state that is given, by layer; None: none, or what this session holds anyway."""
        given = [name for name in self.state_names if name in arrays]
        if not given or all(arrays[name] is self._given.get(name) for name in given):
            return None
        missing = sorted(set(self.state_names) - set(given))
        if missing:
            raise InvalidArgument(f"{missing[0]}: missing, while {given[0]} is there")
        planes = [arrays[name] for name in self.state_names]
        for name, plane in zip(self.state_names, planes):
            if plane.ndim != 4:
                raise InvalidArgument(f"{name}: shape {list(plane.shape)}, expected [batch, kv_heads, ctx_len, D]")
        return list(zip(planes[::2], planes[1::2]))

    def _go_to(self, sequence: int, start: int, past: Optional[List[Tuple[Array, Array]]]) -> None:
        """Makes the sequence hold `start` tokens."""
        if past is None:
            held = self.session.length(sequence)
            if held < start:
                raise InvalidArgument(f"position_ids: from {start} on, sequence {sequence} holds {held} tokens")
            if held > start:
                self._given = {}  # arrays that came from here are of more tokens
            self.session.truncate(sequence, start)
            return
        self._given = {}
        self.session.clear(sequence)
        if start > 0:
            layers = [(keys[sequence, :, :start], values[sequence, :, :start]) for keys, values in past]
            self.session.write_kv(sequence, layers)

    def _state(self, sequences: List[int]) -> Dict[str, Array]:
        """The retained state: read-only, so that the same array means the same state."""
        wanted = [name for name in self.state_names if name + RETAINED not in self._skipped and name not in self._skipped]
        self._given = {}
        if not wanted:
            return {}
        description = self.program.description
        shape = (self.session.batch_size, description.num_kv_heads, self.session.ctx_len, description.head_dim)
        self._given = {name: np.zeros(shape, np.float32) for name in wanted}
        for sequence in range(shape[0]):
            length = self.session.length(sequence)
            if length == 0:
                continue
            layers, _ = self.session.read_kv(sequence)
            for name, rows in zip(self.state_names, (rows for layer in layers for rows in layer)):
                if name in self._given:
                    self._given[name][sequence, :, :length] = rows
        for array in self._given.values():
            array.setflags(write=False)
        return {name + RETAINED: array for name, array in self._given.items()}


def _steps(arrays: Dict[str, Array]) -> Dict[int, Tuple[int, Array, Optional[Ids]]]:
    """For each sequence with tokens: where they begin, the tokens, and RoPE's positions if they are given apart."""
    for name in ("input_ids", "position_ids"):
        if name not in arrays:
            raise InvalidArgument(f"{name}: missing")
    ids, given = arrays["input_ids"], arrays["position_ids"]
    positions = given[0] if given.ndim == 3 and len(given) == 4 else given
    if ids.ndim != 2 or ids.shape != positions.shape:
        raise InvalidArgument(
            f"input_ids: shape {list(ids.shape)}, position_ids: shape {list(given.shape)}, expected [batch, seq_len] of both"
        )
    if given.dtype.kind not in "iu":
        raise InvalidArgument(f"position_ids: {given.dtype}, expected integers")
    steps = {}
    for sequence in range(ids.shape[0]):
        kept = positions[sequence] >= 0
        at = positions[sequence][kept]
        if at.size == 0:
            continue
        if not np.array_equal(at, np.arange(at[0], at[0] + at.size)):
            raise InvalidArgument(f"position_ids: sequence {sequence}: they do not follow each other")
        rope = None if given.ndim == 2 else np.ascontiguousarray(given[1:, sequence, kept], dtype=np.int32)
        steps[sequence] = (int(at[0]), ids[sequence][kept], rope)
    if not steps:
        raise InvalidArgument("position_ids: no position that is not padding")
    return steps


QAICInferenceSession = InferenceSession
