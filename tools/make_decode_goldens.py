"""Writes small image files to tests/goldens/image, and what Pillow makes of them to decode.json.

Run from the repository root with Pillow, numpy and cjpeg (Debian's libjpeg-turbo-progs) installed:
    python tools/make_decode_goldens.py
The files are committed; nothing in the build or the tests runs this.
"""

import hashlib
import io
import json
import pathlib
import struct
import subprocess
import zlib

import numpy as np
from PIL import Image, ImageOps

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


def adam7(samples, bit_depth=8, color_type=2):
    """An interlaced PNG of 8 or 16 bits (big-endian) a sample."""
    height, width, _ = samples.shape
    rows = b""
    for y0, x0, dy, dx in [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2),
                           (0, 1, 2, 2), (1, 0, 2, 1)]:
        for row in samples[y0::dy, x0::dx]:
            if row.size:
                rows += b"\0" + row.tobytes()
    header = struct.pack(">IIBBBBB", width, height, bit_depth, color_type, 0, 0, 1)
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
    yield "grey16_interlaced.png", adam7(random(16, 1, 11, 13).astype(">u2"), 16, 0)
    yield "rgb8_profiles.png", png(random(8, 3), 8, 2, (
        chunk(b"iCCP", b"a\0\0not deflated") + chunk(b"cHRM", bytes(32)) + chunk(b"sRGB", b"\0")
        + chunk(b"tRNS", bytes(6)) + chunk(b"bKGD", bytes(6)) + chunk(b"sBIT", bytes(3))))
    plain = png(random(8, 3), 8, 2)
    data = plain.index(b"IDAT") - 4
    end = len(plain) - 12
    xmp = b'<x:xmpmeta tiff:Orientation="8"/>'
    yield "orientation8_xmp.png", (
        plain[:data] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp) + plain[data:])
    yield "orientation8_deflated_xmp.png", (
        plain[:end] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp))
        + plain[end:])
    tiff = exif_with(3).tobytes()
    profile = b"\nexif\n%8d\n" % len(tiff) + b"\n".join(
        tiff[i : i + 36].hex().encode() for i in range(0, len(tiff), 36)) + b"\n"
    yield "orientation3_profile.png", (
        plain[:data] + chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile))
        + plain[data:])
    yield "orientation5_late.png", plain[:end] + chunk(b"eXIf", exif_with(5).tobytes()[6:]) + plain[end:]
    length = struct.unpack(">I", plain[data : data + 4])[0]
    body = plain[data + 8 : data + 8 + length]
    yield "several_data_chunks.png", (
        plain[:data] + b"".join(chunk(b"IDAT", body[i : i + 50]) for i in range(0, length, 50))
        + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    yield "unknown_chunks.png", (
        plain[:data] + chunk(b"abCD", b"1") + plain[data:end] + chunk(b"ABCD", b"2") + plain[end:])
    yield "data_in_two_runs.png", (
        plain[:data] + chunk(b"IDAT", body[:60]) + chunk(b"tEXt", b"a\0b") + chunk(b"IDAT", body[60:])
        + chunk(b"IEND", b""))
    yield "animated.png", saved(
        Image.fromarray(noise(6, 9, 1)), "PNG", save_all=True,
        append_images=[Image.fromarray(noise(6, 9, 2))])
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
    yield "progressive_cmyk.jpg", saved(
        Image.fromarray(noise(16, 24, 6)).resize((45, 35)).convert("CMYK"), "JPEG", progressive=True)
    for name, options in [("arithmetic", []), ("arithmetic_progressive", ["-progressive"])]:
        stream = io.BytesIO()
        image.save(stream, "PPM")
        command = ["cjpeg", "-arithmetic", *options]
        yield f"{name}.jpg", subprocess.run(
            command, input=stream.getvalue(), stdout=subprocess.PIPE, check=True).stdout
    plain = saved(image, "JPEG")
    tiff = exif_with(6).tobytes()
    parts = [tiff[:20], b"Exif\0\0" + tiff[20:]]
    yield "orientation6_two_markers.jpg", plain[:2] + b"".join(
        b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part for part in parts) + plain[2:]
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="3"/>'
    yield "orientation3_xmp.jpg", (
        plain[:2] + b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp + plain[2:])
    yield "two_pictures.mpo.jpg", saved(
        image, "MPO", save_all=True, append_images=[Image.fromarray(picture(20, 30))])
    grey12 = saved(image.convert("L"), "JPEG")
    frame = grey12.index(b"\xff\xc0")
    yield "bits12.jpg", grey12[: frame + 4] + b"\x0c" + grey12[frame + 5 :]
    for orientation in range(1, 9):
        yield f"orientation{orientation}.jpg", saved(
            Image.fromarray(picture(17, 26)), "JPEG", exif=exif_with(orientation))


def webp_files():
    image = Image.fromarray(picture(35, 46))
    alpha = image.copy()
    alpha.putalpha(Image.fromarray(noise(35, 46, 3)[:, :, 0]))
    small = Image.fromarray(picture(18, 27))
    yield "lossy.webp", saved(image, "WEBP", quality=60)
    yield "lossy_odd.webp", saved(small.crop((0, 0, 27, 17)), "WEBP", quality=90, method=0)
    yield "lossless.webp", saved(image, "WEBP", lossless=True)
    yield "lossless_noise.webp", saved(Image.fromarray(noise(9, 14, 7)), "WEBP", lossless=True)
    yield "lossless_palette.webp", saved(image.quantize(7).convert("RGB"), "WEBP", lossless=True)
    yield "lossy_alpha.webp", saved(alpha, "WEBP", quality=70)
    yield "lossless_alpha.webp", saved(alpha, "WEBP", lossless=True)
    yield "lossless_hidden.webp", saved(alpha, "WEBP", lossless=True, exact=True)
    yield "orientation6.webp", saved(small, "WEBP", exif=exif_with(6))
    yield "orientation4_xmp.webp", saved(
        small, "WEBP", xmp=b"<tiff:Orientation>4</tiff:Orientation>")
    yield "animated.webp", saved(
        image, "WEBP", save_all=True, append_images=[image.rotate(90)], duration=50)
    yield "animated_lossless.webp", saved(
        alpha, "WEBP", save_all=True, append_images=[alpha.rotate(90)], lossless=True)
    animated = saved(small, "WEBP", save_all=True, append_images=[small.rotate(90)], lossless=True)
    canvas = animated.index(b"VP8X") + 12
    frame = animated.index(b"ANMF") + 8
    yield "animated_smaller_frame.webp", (  # at (4, 6) of a canvas of 40 x 30
        animated[:canvas] + b"\x27\0\0\x1d\0\0" + animated[canvas + 6 : frame] + b"\2\0\0\3\0\0"
        + animated[frame + 6 :])


def lzw(indices, bits):
    """The image data of a GIF, every pixel with a code of its own; the table never fills up."""
    clear, width = 1 << bits, bits + 1
    codes = []
    for i, index in enumerate(indices):
        if i % max(1, clear - 2) == 0:
            codes.append(clear)
        codes.append(int(index))
    codes.append(clear + 1)
    number = sum(code << (width * i) for i, code in enumerate(codes))
    data = number.to_bytes((width * len(codes) + 7) // 8, "little")
    blocks = (data[i : i + 255] for i in range(0, len(data), 255))
    return bytes([bits]) + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def gif(indices, palette, screen=None, at=(0, 0), local=None, transparent=None, interlaced=False,
        bits=None, background=1, before=b"", after=b";"):
    """A GIF of one frame of indices [height, width]; palettes are bytes, a power of two of colours."""
    height, width = indices.shape
    screen = screen or (width, height)

    def flags(colors):
        return 0x80 | (len(colors) // 3).bit_length() - 2 if colors else 0

    bits = bits or max(2, (len(local or palette or bytes(768)) // 3).bit_length() - 1)
    order = range(height)
    if interlaced:
        order = [*range(0, height, 8), *range(4, height, 8), *range(2, height, 4), *range(1, height, 2)]
    control = b""
    if transparent is not None:
        control = b"!\xf9\x04\x01\0\0" + bytes([transparent]) + b"\0"
    return (
        b"GIF89a" + struct.pack("<HHBBB", *screen, flags(palette), background, 0) + (palette or b"")
        + before + control
        + b"," + struct.pack("<HHHHB", *at, width, height, flags(local) | (0x40 if interlaced else 0))
        + (local or b"") + lzw(indices[list(order)].reshape(-1), bits) + after
    )


def gif_files():
    draw = np.random.default_rng(2)

    def random(colors, height=11, width=13):
        return draw.integers(0, colors, (height, width))

    def colours(count):
        return bytes(draw.integers(0, 256, 3 * count).tolist())

    image = Image.fromarray(picture(35, 46))
    yield "saved.gif", saved(image.quantize(64), "GIF", interlace=0)
    yield "saved_interlaced.gif", saved(image.quantize(64), "GIF", interlace=1)
    yield "saved_animated.gif", saved(
        image.quantize(32), "GIF", save_all=True, append_images=[image.rotate(90).quantize(16)])
    yield "global2.gif", gif(random(2), colours(2))
    yield "global256.gif", gif(random(256), colours(256))
    yield "local16.gif", gif(random(16), colours(4), local=colours(16))
    yield "interlaced.gif", gif(random(8), colours(8), interlaced=True)
    yield "interlaced_low.gif", gif(random(8, height=3), colours(8), interlaced=True)
    yield "transparent.gif", gif(random(8), colours(8), transparent=5)
    yield "smaller_frame.gif", gif(random(8), colours(8), screen=(20, 17), at=(3, 2))
    yield "smaller_frame_transparent.gif", gif(
        random(8), colours(8), screen=(20, 17), at=(3, 2), local=colours(8), transparent=6)
    yield "greater_frame.gif", gif(random(8), colours(8), screen=(5, 4), at=(2, 1))
    yield "greater_frame_transparent.gif", gif(
        random(8), colours(8), screen=(5, 30), at=(2, 1), transparent=3)
    yield "no_palette.gif", gif(random(256), None)
    yield "grey_palette.gif", gif(random(256), bytes(i // 3 for i in range(768)), screen=(20, 17))
    yield "index_beyond_palette.gif", gif(random(16), colours(4), bits=4)
    yield "transparent_beyond_palette.gif", gif(
        random(4), colours(4), screen=(20, 17), transparent=200)
    yield "extensions.gif", gif(
        random(4), colours(4), before=b"!\xfe\5hello\0!\xff\x0bNETSCAPE2.0\3\1\0\0\0")
    yield "without_trailer.gif", gif(random(4), colours(4), after=b"")
    yield "empty_frame.gif", gif(random(4, height=1)[:0], colours(4))
    yield "no_frame.gif", b"GIF89a" + struct.pack("<HHBBB", 3, 3, 0x80, 0, 0) + colours(2) + b";"


def bmp(pixels, width, height, bits, palette=b"", info_size=40, compression=0, masks=(), colors=0,
        offset=None):
    """A BMP of rows as they lie in the file; height is negative for one from top to bottom."""
    if info_size == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", info_size, width, height, 1, bits, compression,
                           len(pixels), 2835, 2835, colors, 0)
        info += b"".join(struct.pack("<I", mask) for mask in masks)
        info = info.ljust(max(info_size, len(info) if info_size == 40 else 0), b"\0")
    start = 14 + len(info) + len(palette)
    return (b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start if offset is None else offset)
            + info + palette + pixels)


def packed_rows(samples, bits):
    """Rows of integers of `bits` bits each, the first in the highest ones, padded to 4 bytes."""
    rows = b""
    for row in samples:
        if bits < 8:
            text = "".join(format(int(sample), f"0{bits}b") for sample in row)
            text += "0" * (-len(text) % 8)
            data = int(text, 2).to_bytes(len(text) // 8, "big")
        else:
            data = b"".join(int(sample).to_bytes(bits // 8, "little") for sample in row)
        rows += data + b"\0" * (-len(data) % 4)
    return rows


def bmp_files():
    draw = np.random.default_rng(3)
    height, width = 7, 11

    def random(bits):
        return packed_rows(draw.integers(0, 1 << bits, (height, width)), bits)

    def colours(count, entry=4):
        return bytes(draw.integers(0, 256, entry * count).tolist())

    size = (width, height)
    for bits in (1, 4, 8):
        yield f"palette{bits}.bmp", bmp(random(bits), *size, bits, colours(1 << bits))
        yield f"palette{bits}_os2.bmp", bmp(
            random(bits), *size, bits, colours(1 << bits, 3), info_size=12)
    yield "black_and_white.bmp", bmp(random(1), *size, 1, bytes(4) + b"\xff\xff\xff\0")
    yield "white_and_black.bmp", bmp(random(1), *size, 1, b"\xff\xff\xff\0" + bytes(4))
    yield "one_black.bmp", bmp(random(1), *size, 1, bytes(4), colors=1)
    ramp = b"".join(bytes([i, i, i, 0]) for i in range(256))
    yield "grey8.bmp", bmp(random(8), *size, 8, ramp)
    yield "grey8_part.bmp", bmp(random(8), *size, 8, ramp[:400], colors=100)
    yield "palette8_part.bmp", bmp(random(8), *size, 8, colours(100), colors=100)
    yield "palette8_no_offset.bmp", bmp(random(8), *size, 8, colours(256), offset=54)
    yield "palette8_zero_offset.bmp", bmp(random(8), *size, 8, colours(256), offset=0)
    yield "palette_too_long.bmp", bmp(random(8), *size, 8, colours(300), colors=300)
    yield "palette8_os2_long.bmp", bmp(random(8), *size, 8, colours(256), info_size=64)
    yield "palette8_top_down.bmp", bmp(random(8), width, -height, 8, colours(256))
    for bits in (16, 24, 32):
        yield f"rgb{bits}.bmp", bmp(random(bits), *size, bits)
        yield f"rgb{bits}_top_down.bmp", bmp(random(bits), width, -height, bits)
    yield "rgb24_os2.bmp", bmp(random(24), *size, 24, info_size=12)
    layouts = [
        (16, 40, (0xF800, 0x7E0, 0x1F)), (16, 108, (0x7C00, 0x3E0, 0x1F, 0)),
        (16, 56, (0xF800, 0x7E0, 0x1F, 0x8000)), (24, 40, (0xFF0000, 0xFF00, 0xFF)),
        (32, 40, (0xFF0000, 0xFF00, 0xFF)), (32, 52, (0xFF000000, 0xFF0000, 0xFF00)),
        (32, 56, (0xFF000000, 0xFF0000, 0xFF00, 0xFF)), (32, 108, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
        (32, 124, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)), (32, 124, (0xFF000000, 0xFF00, 0xFF, 0xFF0000)),
        (32, 124, (0, 0, 0, 0)), (32, 56, (0xFF000000, 0xFF00, 0xFF, 0)),
        (32, 40, (0x3FF00000, 0xFFC00, 0x3FF)), (16, 40, (0xF00, 0xF0, 0xF)), (8, 40, (0xE0, 0x1C, 3))]
    for i, (bits, info_size, masks) in enumerate(layouts):
        yield f"masks{i}.bmp", bmp(
            random(bits), *size, bits, info_size=info_size, compression=3, masks=masks)
    runs8 = bytes([3, 7, 0, 5, 1, 2, 3, 4, 5, 0, 3, 9, 0, 0]) + bytes([20, 4, 0, 0]) + bytes(
        [0, 2, 4, 2, 6, 1, 0, 0, 11, 5, 0, 0]) + bytes([0, 4, 9, 8, 7, 6, 2, 1, 0, 0, 11, 3, 0, 1])
    yield "rle8.bmp", bmp(runs8, *size, 8, colours(256), compression=1)
    yield "rle8_grey.bmp", bmp(runs8, *size, 8, ramp, compression=1)
    yield "rle8_top_down.bmp", bmp(runs8, width, -height, 8, colours(256), compression=1)
    yield "rle8_short.bmp", bmp(runs8[:-6] + bytes([0, 1]), *size, 8, colours(256), compression=1)
    runs4 = bytes([3, 0x7A, 0, 5, 0x12, 0x34, 0x50, 0, 3, 0x9B, 0, 0]) + bytes([20, 0x4C, 0, 0]) + bytes(
        [0, 2, 4, 2, 6, 0x1D, 0, 0, 11, 0x5E, 0, 0]) + bytes([0, 7, 0x98, 0x76, 0x54, 0x30, 2, 1, 0, 0,
                                                              11, 0x3F, 0, 1])
    yield "rle4.bmp", bmp(runs4, *size, 4, colours(16), compression=2)
    yield "rle4_no_rows.bmp", bmp(bytes([200, 0x12]) * 60, *size, 4, colours(16), compression=2)
    yield "rle8_of_rgb.bmp", bmp(runs8, *size, 24, compression=1)
    yield "jpeg_inside.bmp", bmp(random(24), *size, 24, compression=4)
    yield "bits2.bmp", bmp(random(8), *size, 2, colours(4))
    yield "info16.bmp", bmp(random(8), *size, 8, colours(256), info_size=16)
    yield "empty.bmp", bmp(b"", 0, 5, 24)


def read(data):
    """What transformers' load_image gives: (width, height, samples), or None where it fails."""
    try:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    except Exception:  # whatever Pillow raises
        return None
    return image.width, image.height, image.tobytes()


def outcome(data):
    result = read(data)
    if result is None:
        return {"sha256": None}
    width, height, samples = result
    return {"width": width, "height": height, "sha256": hashlib.sha256(samples).hexdigest()}


def damage_cases(files):
    """Files that are cut, or have a byte changed, or rubbish at their end.

    Not changed are the pixels of GIF, where giflib goes on over codes that Pillow refuses, and EXIF,
    which Pillow refuses a picture for.
    """
    draw = np.random.default_rng(4)
    for name, data in files:
        size = len(data)
        cuts = {*range(size - 30, size, 3), *draw.integers(8, size, 8).tolist()}
        cases = [{"size": cut, "flips": {}, "tail": ""} for cut in sorted(cuts) if cut >= 8]
        cases.append({"size": size, "flips": {}, "tail": "rubbish" * 3})
        end = 40 if name.endswith(".gif") else data.find(b"eXIf")
        for offset in draw.integers(8, end if end > 0 else size, 24).tolist():
            mask = 1 << int(draw.integers(0, 7))
            cases.append({"size": size, "flips": {str(offset): mask}, "tail": ""})
        for case in cases:
            damaged = bytearray(data[: case["size"]])
            for offset, mask in case["flips"].items():
                damaged[int(offset)] ^= mask
            yield {"file": name, **case, **outcome(bytes(damaged) + case["tail"].encode())}


DAMAGED = ["rgb8.png", "interlaced.png", "palette4.png", "several_data_chunks.png",
           "orientation5_late.png", "baseline_420.jpg", "restarts.jpg", "progressive.jpg", "cmyk.jpg",
           "lossy.webp", "lossless_alpha.webp", "animated.webp", "global256.gif", "saved.gif",
           "smaller_frame_transparent.gif", "palette8.bmp", "rgb24.bmp", "masks8.bmp", "rle8.bmp",
           "rle4.bmp"]


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    files = dict([*png_files(), *jpeg_files(), *webp_files(), *gif_files(), *bmp_files()])
    for name, data in files.items():
        (FOLDER / name).write_bytes(data)
    goldens = {
        "decode": [{"file": name, **outcome(data)} for name, data in files.items()],
        "damage": list(damage_cases((name, files[name]) for name in DAMAGED)),
    }
    lines = []
    for name, cases in goldens.items():
        rows = ",\n  ".join(json.dumps(case) for case in cases)
        lines.append(f' "{name}": [\n  {rows}\n ]')
    (FOLDER / "decode.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
