"""Writes tests/goldens/vision_positions.json: the positions that transformers gives patches and tokens.

Run from the repository root with torch and transformers installed:
    python tools/make_vision_position_goldens.py
The file is committed; nothing in the build or the tests runs this.
"""

import functools
import json
import random
import types

import numpy as np
import torch
from transformers.models.qwen3_vl_moe import modeling_qwen3_vl_moe as qwen
from transformers.vision_utils import (
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
)

IMAGE_TOKEN = 7


def patch_cases():
    for side, merge, grids in [
        (16, 2, [[1, 4, 6]]),
        (16, 2, [[1, 2, 2], [1, 20, 2]]),
        (48, 2, [[1, 6, 10], [1, 4, 4], [2, 2, 4]]),
        (5, 3, [[1, 9, 3]]),
        (7, 1, [[1, 1, 5], [1, 7, 7]]),
        (1, 2, [[1, 2, 4]]),
    ]:
        grid_thw = torch.tensor(grids)
        indices, weights = get_vision_interpolation_indices_and_weights(
            grid_thw, side, "bilinear", True, merge)
        rows_columns = get_vision_position_ids(grid_thw, merge)
        yield {"grid_side": side, "merge_size": merge, "grids": grids,
               "rows": rows_columns[:, 0].tolist(), "columns": rows_columns[:, 1].tolist(),
               "tap_indices": indices.flatten().tolist(),
               "tap_weights": [float(str(np.float32(w))) for w in weights.flatten().tolist()]}


def prompt_cases():
    random.seed(1)
    prompts = [[("text", 5)], [("image", [1, 4, 6])], [("image", [1, 2, 2]), ("text", 1)]]
    for _ in range(12):
        pieces = [("text", random.randint(1, 6))]
        for _ in range(random.randint(1, 4)):
            grid = [random.choice([1, 1, 3]), *(2 * random.randint(1, 7) for _ in range(2))]
            pieces += [("image", grid), ("text", random.randint(1, 6))]
        prompts.append(pieces)
    for merge in (1, 2):
        for pieces in prompts:
            ids, grids = [], []
            for kind, value in pieces:
                if kind == "text":
                    ids += [random.choice([0, 1, 2, 8, 9]) for _ in range(value)]
                else:
                    grids.append(value)
                    ids += [IMAGE_TOKEN] * (value[0] * value[1] * value[2] // merge**2)
            yield {"merge_size": merge, "grids": grids, "ids": ids, **rope_index(ids, grids, merge)}


def rope_index(ids, grids, merge):
    vision_config = types.SimpleNamespace(spatial_merge_size=merge)
    model = types.SimpleNamespace(config=types.SimpleNamespace(vision_config=vision_config))
    model.get_vision_position_ids = functools.partial(
        qwen.Qwen3VLMoeModel.get_vision_position_ids, model)
    input_ids = torch.tensor([ids])
    positions, delta = qwen.Qwen3VLMoeModel.get_rope_index(
        model, input_ids, (input_ids == IMAGE_TOKEN).int(),
        torch.tensor(grids) if grids else None)
    return {"positions": positions[:, 0].tolist(), "delta": int(delta)}


def axis_cases():
    for sections in ([24, 20, 20], [6, 5, 5], [8, 8, 0], [4, 12, 3], [1, 1, 1]):
        num_pairs = sum(sections)
        rotation = types.SimpleNamespace(mrope_section=sections)
        axis_of_itself = torch.arange(3.0)[:, None, None].repeat(1, 1, num_pairs)
        axes = qwen.Qwen3VLMoeTextRotaryEmbedding.recomposition_frequencies(rotation, axis_of_itself)
        yield {"sections": sections, "axes": axes[0, :num_pairs].int().tolist()}


def main():
    goldens = {"image_token": IMAGE_TOKEN, "patches": list(patch_cases()),
               "prompts": list(prompt_cases()), "mrope_axes": list(axis_cases())}
    with open("tests/goldens/vision_positions.json", "w") as file:
        json.dump(goldens, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
