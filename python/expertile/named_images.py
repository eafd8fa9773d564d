"""Pictures by the original's names: pixel_values in, vision_embeds and deepstack_features out, and those into a prompt."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np
import numpy.typing as npt

from expertile import _core
from expertile.arrays import Ids
from expertile.errors import InvalidArgument

Array = npt.NDArray[Any]
VISION_INPUTS = ["pixel_values", "image_grid_thw"]
VISION_OUTPUTS = ["vision_embeds", "deepstack_features"]


class ProgramPath(str):
    """A program's folder, and the size in pixels of the pictures that it was compiled for: pixel_values without
    image_grid_thw are of that size."""

    height: Optional[int] = None
    width: Optional[int] = None

    @classmethod
    def of(cls, path: str, options: Mapping[str, Any]) -> ProgramPath:
        made = cls(path)
        made.height, made.width = options.get("height"), options.get("width")
        return made


def encode_pixels(program: _core.Program, inputs: Mapping[str, Any], path: Any = None) -> List[_core.EncodedImage]:
    """Every picture of pixel_values through the vision tower.

    image_grid_thw [pictures, 3] says which rows are which picture's; or its shape does, [pictures, t, h, w],
    as the original's graphs have it; or all pictures have the size of `path`, a ProgramPath.
    """
    if inputs.get("pixel_values") is None:
        return []
    pixels = np.ascontiguousarray(np.asarray(inputs["pixel_values"]), dtype=np.float32)
    if pixels.ndim != 2:
        raise InvalidArgument(f"pixel_values: shape {list(pixels.shape)}, expected [patches, values of a patch]")
    images = []
    first = 0
    for t, h, w in _grids(program, inputs.get("image_grid_thw"), len(pixels), path):
        images.append(program.encode_pixels(pixels[first : first + t * h * w], t, h, w))
        first += t * h * w
    if first != len(pixels):
        raise InvalidArgument(f"pixel_values: {len(pixels)} patches, image_grid_thw has {first}")
    return images


def _grids(program: _core.Program, given: Any, num_patches: int, path: Any) -> List[Tuple[int, int, int]]:
    if given is None:
        if getattr(path, "height", None) is None or path.width is None:
            raise InvalidArgument("image_grid_thw: missing; it says which rows of pixel_values are which picture's")
        t, h, w = program.grid_of(path.height, path.width)
        return [(t, h, w)] * max(1, num_patches // (t * h * w))
    grids = np.asarray(given)
    if grids.ndim == 4:
        count, t, h, w = grids.shape
        return [(t, h, w)] * count
    if grids.dtype.kind not in "iu" or grids.size % 3 != 0:
        raise InvalidArgument(f"image_grid_thw: {grids.dtype} of shape {list(grids.shape)}, expected integers [pictures, 3]")
    return [(t, h, w) for t, h, w in grids.reshape(-1, 3).tolist()]


def vision_outputs(images: List[_core.EncodedImage]) -> Dict[str, Array]:
    """vision_embeds [1, M, H] and deepstack_features [features, 1, M, H] of all pictures, one after another."""
    return {
        "vision_embeds": np.concatenate([image.embeddings for image in images])[None],
        "deepstack_features": np.concatenate([image.deepstack for image in images], axis=1)[:, None],
    }


class ImageRows:
    """Rows of vision_embeds for the image tokens of a step, from image_idx on."""

    def __init__(self, image_token_id: Optional[int], arrays: Mapping[str, Array], image_idx: int) -> None:
        self._image_token_id = image_token_id
        self._first = self._end = image_idx
        self._embeds: Optional[Array] = None
        if "vision_embeds" in arrays:
            self._take(arrays)

    def _take(self, arrays: Mapping[str, Array]) -> None:
        if "deepstack_features" not in arrays:
            raise InvalidArgument("deepstack_features: missing, while vision_embeds is there")
        embeds, features = arrays["vision_embeds"], arrays["deepstack_features"]
        if embeds.ndim != 3 or features.ndim != 4 or features.shape[1:] != embeds.shape:
            raise InvalidArgument(
                f"vision_embeds: shape {list(embeds.shape)}, deepstack_features: shape {list(features.shape)}, "
                "expected [batch, rows, H] and [features, batch, rows, H]"
            )
        self._embeds = np.ascontiguousarray(embeds.reshape(-1, embeds.shape[2]), dtype=np.float32)
        self._deepstack = features.reshape(features.shape[0], *self._embeds.shape)

    @property
    def next_image_idx(self) -> int:
        """Of the step after this one: the original's image_idx_output."""
        return self._end

    def of(self, ids: Array, positions: Optional[Ids]) -> List[_core.EncodedImage]:
        """Each sequence of a batch begins at image_idx, as in the original's graphs."""
        count = int((ids == self._image_token_id).sum())
        if count == 0 or self._embeds is None:
            return []
        if positions is None:
            raise InvalidArgument("position_ids: expected [4, batch, seq_len] where there are image tokens")
        end = self._first + count
        if self._first < 0 or end > len(self._embeds):
            raise InvalidArgument(
                f"vision_embeds: {len(self._embeds)} rows, the image tokens need rows {self._first} to {end - 1}"
            )
        self._end = max(self._end, end)
        rows = slice(self._first, end)
        deepstack = np.ascontiguousarray(self._deepstack[:, rows], dtype=np.float32)
        return [_core.EncodedImage.of_rows(self._embeds[rows], deepstack)]
