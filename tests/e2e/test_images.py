"""--image: pictures in run and forward, and what is refused."""

import json
import os
import struct
import subprocess
import zlib

import numpy as np
import pytest
from cases import FLOAT32_RELATIVE_L2, ROOT, read_safetensors, relative_l2

MODEL = ROOT / "models" / "tiny-qwen3_vl_moe"
GOLDEN = read_safetensors(ROOT / "tests" / "goldens" / "tiny-qwen3_vl_moe.safetensors")
CASES = json.loads((ROOT / "tests" / "goldens" / "tiny-qwen3_vl_moe.json").read_text(encoding="utf-8"))["cases"]
IMAGE_TOKEN = json.loads((MODEL / "config.json").read_text())["image_token_id"]
PROMPT = "Describe the image."


def picture(index):
    return MODEL / "images" / f"{index}.png"


@pytest.fixture
def forward(expertile, tmp_path):
    def run(ids, *options):
        (tmp_path / "ids.json").write_text(json.dumps(ids))
        output = tmp_path / "out.safetensors"
        done = expertile("forward", MODEL, "--input-ids", tmp_path / "ids.json", "-o", output, *options)
        assert (done.returncode, done.stderr) == (0, b"")
        return read_safetensors(output)

    return run


@pytest.mark.parametrize("target", ["reference", "cpu"])
@pytest.mark.parametrize("index", range(4))
def test_captions(expertile, target, index):
    case = CASES[f"image_{index}"]
    command = ["run", MODEL, "--image", picture(index), "--prompt", PROMPT, "--chat", "--target", target]
    whole = expertile(*command, "--ignore-eos", "--max-new-tokens", len(case["greedy"]))
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout.decode() == case["greedy_text"] + "\n"
    caption = expertile(*command, "--no-statistics")
    assert caption.stdout.decode() == case["greedy_text"].split("<|im_end|>")[0] + "\n"


@pytest.mark.parametrize("target", ["reference", "cpu"])
def test_the_tower_and_the_logits(forward, target):
    ids = GOLDEN["image_1.input_ids"].tolist()
    out = forward(ids, "--image", picture(1), "--target", target, "--dump-vision", "--prefill-seq-len", 9)
    assert out["image.0.grid_thw"].tolist() == GOLDEN["image_1.image_grid_thw"].tolist()
    assert out["image.0.pixel_values"].tobytes() == GOLDEN["image_1.pixel_values"].tobytes()
    for ours, theirs in [("vision_embeds", "vision_embeds"), ("deepstack.0", "deepstack.0"), ("deepstack.1", "deepstack.1")]:
        assert relative_l2(out["image.0." + ours], GOLDEN["image_1." + theirs]) <= FLOAT32_RELATIVE_L2
    assert relative_l2(out["logits"][-1], GOLDEN["image_1.logits_last"]) <= FLOAT32_RELATIVE_L2


def test_one_placeholder_stands_for_the_whole_image(forward):
    ids = GOLDEN["image_0.input_ids"].tolist()
    first = ids.index(IMAGE_TOKEN)
    marked = [id for i, id in enumerate(ids) if id != IMAGE_TOKEN or i == first]
    expected = forward(ids, "--image", picture(0))["logits"]
    assert forward(marked, "--image", picture(0))["logits"].tobytes() == expected.tobytes()


def test_two_images_in_their_order(forward):
    ids = [5, IMAGE_TOKEN, 6, IMAGE_TOKEN, 7]
    one_way = forward(ids, "--image", picture(0), "--image", picture(2), "--last-only")["logits"]
    other_way = forward(ids, "--image", picture(2), "--image", picture(0), "--last-only")["logits"]
    assert relative_l2(one_way, other_way) > 1e-3


def test_a_text_prompt_needs_no_vision(forward):
    ids = GOLDEN["short.input_ids"].tolist()
    logits = forward(ids, "--skip-vision")["logits"]
    assert relative_l2(logits[-1], GOLDEN["short.logits_last"]) <= FLOAT32_RELATIVE_L2


def refused(done, *says):
    assert done.returncode in (1, 2) and done.stdout == b""
    message = done.stderr.decode()
    assert message.startswith("expertile: ") and message.count("\n") == 1
    for word in says:
        assert str(word) in message, message


def test_refusals(expertile, tmp_path):
    ask = ["--prompt", PROMPT]
    refused(expertile("run", MODEL, "--image", tmp_path / "none.png", *ask), "none.png")
    (tmp_path / "text.png").write_text("no picture")
    refused(expertile("run", MODEL, "--image", tmp_path / "text.png", *ask), "text.png")
    (tmp_path / "cut.png").write_bytes(picture(0).read_bytes()[:90])
    refused(expertile("run", MODEL, "--image", tmp_path / "cut.png", *ask), "cut.png")
    refused(expertile("run", MODEL, "--image", picture(0), "--skip-vision", *ask), "vision")
    refused(expertile("run", ROOT / "models" / "tiny-qwen3_moe", "--image", picture(0), *ask), "qwen3_moe")
    refused(expertile("run", ROOT / "models" / "tiny-qwen3_moe", "--skip-vision", *ask), "skip_vision")
    two = "<|image_pad|> and <|image_pad|>"
    refused(expertile("run", MODEL, "--image", picture(0), "--prompt", two), 2, 1)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples):
    height, width, channels = samples.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), samples.reshape(height, -1)], 1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows.tobytes(), 1)) + chunk(b"IEND", b"")
    )


def bmp(samples):
    height, width, _ = samples.shape
    rows = samples[::-1, :, ::-1].reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, rows.size, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + rows.size, 0, 0, 54) + info + rows.tobytes()


def test_one_picture_in_two_formats(forward, tmp_path):
    samples = np.random.default_rng(1).integers(0, 256, (70, 91, 3), np.uint8)
    pixels = []
    for name, data in [("a.png", png(samples)), ("a.bmp", bmp(samples))]:
        (tmp_path / name).write_bytes(data)
        out = forward([5, IMAGE_TOKEN, 6], "--image", tmp_path / name, "--dump-vision")
        pixels.append(out["image.0.pixel_values"].tobytes())
    assert pixels[0] == pixels[1]


@pytest.mark.parametrize("name", ["lossy_alpha.webp", "animated.webp", "smaller_frame.gif", "rle8.bmp", "ycck.jpg"])
def test_every_format_is_looked_at(expertile, name):
    image = ROOT / "tests" / "goldens" / "image" / name
    done = expertile("run", MODEL, "--image", image, "--prompt", PROMPT, "--chat", "--max-new-tokens", 1)
    assert done.returncode == 0, done.stderr


def peak_kib(command):
    """The greatest resident size of a run."""
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss


def test_a_large_picture_lies_in_memory_once(binary, sanitizer, tmp_path):
    height, width = (900, 1200) if sanitizer else (9000, 12000)
    (tmp_path / "large.png").write_bytes(png(np.zeros((height, width, 1), np.uint8)))
    command = [binary, "run", MODEL, "--prompt", PROMPT, "--max-new-tokens", 1, "--image"]
    extra = peak_kib([*command, tmp_path / "large.png"]) - peak_kib([*command, picture(0)])
    if not sanitizer:  # it has memory of its own
        assert extra < 1.9 * 3 * width * height / 1024


def test_files_that_are_no_pictures(expertile, tmp_path):
    for data, word in [
        (b"<!DOCTYPE html><title>404</title>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        (b"\0\0\0\x20ftypheic\0\0\0\0", "HEIC"),
    ]:
        (tmp_path / "picture.jpg").write_bytes(data)
        refused(expertile("run", MODEL, "--image", tmp_path / "picture.jpg", "--prompt", PROMPT), "picture.jpg", word)
