"""Writes tests/goldens/image: small image files and what Pillow, torch and transformers make of them.

Run from the repository root with torch, torchvision, transformers and Pillow installed:
    python tools/make_image_goldens.py
The files are committed; nothing in the build or the tests runs this.
"""

import hashlib
import io
import json
import pathlib
import random
import struct
import zlib

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as tvF
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

FOLDER = pathlib.Path("tests/goldens/image")


def noise(height, width, seed):
    """The image that src/image/golden_cases.h makes from the same arguments."""
    samples = np.empty(height * width * 3, np.uint8)
    state = seed
    for i in range(samples.size):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        samples[i] = state >> 24
    return samples.reshape(height, width, 3)


def picture(height, width):
    """Smooth colours with an edge: what JPEG is made for."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([255 * x / width, 255 * y / height, 128 + 100 * np.sin(x / 3 + y / 5)], -1)
    rgb[(x > width // 2) & (y > height // 3)] = (250, 20, 90)
    return rgb.astype(np.uint8)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples, bit_depth, color_type, extra=b""):
    """An uninterlaced PNG of samples [height, width, channels], any bit depth."""
    height, width, _ = samples.shape
    rows = b""
    for row in samples.reshape(height, -1):
        bits = "".join(format(int(sample), f"0{bit_depth}b") for sample in row)
        bits += "0" * (-len(bits) % 8)
        rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    header = struct.pack(">IIBBBBB", width, height, bit_depth, color_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
        + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def adam7(samples):
    """An interlaced 8-bit RGB PNG."""
    height, width, _ = samples.shape
    rows = b""
    for y0, x0, dy, dx in [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2),
                           (0, 1, 2, 2), (1, 0, 2, 1)]:
        for row in samples[y0::dy, x0::dx]:
            if row.size:
                rows += b"\0" + row.tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def exif_with(orientation):
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    exif[0x0112] = orientation
    return exif


def saved(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_files():
    draw = np.random.default_rng(1)

    def random(bit_depth, channels, height=9, width=13):
        return draw.integers(0, 1 << bit_depth, (height, width, channels))

    palette = bytes(draw.integers(0, 256, 3 * 12).tolist())
    for depth in (1, 2, 4, 8, 16):
        yield f"grey{depth}.png", png(random(depth, 1), depth, 0)
    yield "grey16_dark.png", png(random(9, 1), 16, 0)
    yield "grey4_transparent.png", png(random(4, 1), 4, 0, chunk(b"tRNS", b"\0\3"))
    yield "grey_alpha8.png", png(random(8, 2), 8, 4)
    yield "grey_alpha16.png", png(random(16, 2), 16, 4)
    yield "rgb8.png", png(random(8, 3), 8, 2)
    yield "rgb8_gamma.png", png(random(8, 3), 8, 2, chunk(b"gAMA", struct.pack(">I", 20000)))
    yield "rgb16.png", png(random(16, 3), 16, 2)
    yield "rgba8.png", png(random(8, 4), 8, 6)
    yield "rgba16.png", png(random(16, 4), 16, 6)
    yield "palette4.png", png(random(4, 1) % 12, 4, 3, chunk(b"PLTE", palette))
    yield "palette8_transparent.png", png(
        random(8, 1) % 12, 8, 3, chunk(b"PLTE", palette) + chunk(b"tRNS", bytes([0, 128, 255])))
    yield "palette4_out_of_range.png", png(random(4, 1), 4, 3, chunk(b"PLTE", palette))
    yield "interlaced.png", adam7(random(8, 3, 11, 13).astype(np.uint8))
    yield "orientation6.png", saved(Image.fromarray(noise(5, 7, 4)), "PNG", exif=exif_with(6))


def jpeg_files():
    image = Image.fromarray(picture(35, 45))
    yield "baseline_420.jpg", saved(image, "JPEG", quality=80)
    yield "baseline_444.jpg", saved(image, "JPEG", quality=95, subsampling=0)
    yield "baseline_422.jpg", saved(image, "JPEG", quality=60, subsampling=1)
    yield "progressive.jpg", saved(image, "JPEG", quality=75, progressive=True)
    yield "restarts.jpg", saved(image, "JPEG", quality=75, restart_marker_blocks=2)
    yield "rgb.jpg", saved(image, "JPEG", quality=90, keep_rgb=True)
    yield "grey.jpg", saved(image.convert("L"), "JPEG", quality=80)
    cmyk = saved(Image.fromarray(noise(16, 24, 5)).resize((45, 35)).convert("CMYK"), "JPEG")
    yield "cmyk.jpg", cmyk
    transform = cmyk.index(b"Adobe") + 11
    yield "ycck.jpg", cmyk[:transform] + b"\2" + cmyk[transform + 1 :]
    for orientation in range(1, 9):
        yield f"orientation{orientation}.jpg", saved(
            Image.fromarray(picture(17, 26)), "JPEG", exif=exif_with(orientation))


def decode_cases():
    for name, data in [*png_files(), *jpeg_files()]:
        (FOLDER / name).write_bytes(data)
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        yield {"file": name, "height": image.height, "width": image.width,
               "rgb": image.tobytes().hex()}


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
        "decode": list(decode_cases()),
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
