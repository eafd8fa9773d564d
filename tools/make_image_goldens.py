"""Writes tests/goldens/image/goldens.json: what torch and transformers make of images of noise.

Run from the repository root with torch, torchvision, transformers and Pillow installed:
    python tools/make_image_goldens.py
The file is committed; nothing in the build or the tests runs this. tools/make_decode_goldens.py
does the same for image files and Pillow.
"""

import hashlib
import json
import random

import torch
from PIL import Image
from make_decode_goldens import FOLDER, noise
from torchvision.transforms.v2 import functional as tvF
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor


def resize_cases():
    random.seed(2)
    sizes = [(1, 2, 5, 7), (5, 7, 1, 2), (40, 40, 40, 13), (40, 40, 13, 40), (3, 200, 64, 64),
             (300, 2, 31, 33), (97, 89, 96, 96), (16, 16, 128, 128), (255, 255, 32, 32)]
    for _ in range(40):
        sizes.append(tuple(random.choice([random.randint(1, 20), random.randint(20, 260)])
                           for _ in range(4)))
    for seed, (height, width, new_height, new_width) in enumerate(sizes):
        image = torch.from_numpy(noise(height, width, seed)).permute(2, 0, 1).contiguous()
        resized = tvF.resize(image, [new_height, new_width],
                             interpolation=tvF.InterpolationMode.BICUBIC, antialias=True)
        yield {"seed": seed, "from": [height, width], "to": [new_height, new_width],
               "sha256": sha256(resized.permute(1, 2, 0).contiguous().numpy())}


def sha256(array):
    return hashlib.sha256(array.tobytes()).hexdigest()


def preprocessor_cases():
    clip = {}  # the defaults of Qwen2-VL
    qwen3 = {"patch_size": 16, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
             "size": {"shortest_edge": 4096, "longest_edge": 262144}}
    small = {"patch_size": 8, "merge_size": 1, "temporal_patch_size": 1, "min_pixels": 1024,
             "max_pixels": 9000}
    plain = {"patch_size": 4, "do_normalize": False, "do_resize": False, "merge_size": 3}
    raw_mean = {"patch_size": 4, "do_rescale": False, "do_resize": False}
    cases = [(clip, 60, 80), (clip, 10, 300), (qwen3, 33, 47), (qwen3, 48, 80), (qwen3, 16, 16),
             (qwen3, 5, 900), (qwen3, 700, 500), (small, 10, 11), (small, 150, 40), (small, 4, 700),
             (plain, 24, 36), (raw_mean, 24, 40)]
    for seed, (config, height, width) in enumerate(cases):
        processor = Qwen2VLImageProcessor(**config)
        features = processor(Image.fromarray(noise(height, width, seed)), return_tensors="pt")
        yield {"config": {"image_processor_type": "Qwen2VLImageProcessor", **config}, "seed": seed,
               "height": height, "width": width,
               "image_grid_thw": features["image_grid_thw"][0].tolist(),
               "shape": list(features["pixel_values"].shape),
               "sha256": sha256(features["pixel_values"].float().numpy())}


def smart_resize_cases():
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    random.seed(3)
    for _ in range(300):
        height, width = random.randint(1, 4000), random.randint(1, 4000)
        if max(height, width) > 200 * min(height, width):
            continue
        patch = random.choice([8, 14, 16])
        low, high = random.choice([(3136, 1003520), (4096, 262144), (65536, 16777216), (1, 5000)])
        yield [patch, low, high, height, width,
               *smart_resize(height, width, 2 * patch, low, high)]


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    goldens = {
        "resize": list(resize_cases()),
        "preprocessor": list(preprocessor_cases()),
        "smart_resize": list(smart_resize_cases()),
    }
    lines = []
    for name, cases in goldens.items():
        rows = ",\n  ".join(json.dumps(case) for case in cases)
        lines.append(f' "{name}": [\n  {rows}\n ]')
    (FOLDER / "goldens.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
