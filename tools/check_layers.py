"""Refuses an include that goes up the layers of DESIGN (docs/design.md section 3), or across them."""

import re
from pathlib import Path

from tracked_files import ROOT, exit_with, tracked_files

# A folder may include itself and folders with a smaller number.
LAYERS = {
    "expertile": 0,
    "base": 1,
    "formats": 2,
    "tokenizer": 2,
    "image": 2,
    "dispatch": 3,
    "model": 3,
    "targets": 4,
    "program": 5,
    "text": 6,
    "running": 6,
    "compiling": 7,
    "benchmarks": 7,
}
# libs/NAME/: includes nothing but itself; src/ and what is free may include it.
LIBRARIES = {"jinja"}
SAME_LAYER = {("image", "formats"), ("benchmarks", "compiling")}
# Lower layers that are closed to a folder all the same, but for the files named.
CLOSED = {("dispatch", "formats"): set(), ("model", "image"): {"image/image_grid.h", "image/vision_preprocessor.h"}}
# Rooms of a target that include nothing of the rest of it.
INNER_ROOMS = {"targets/cuda/kernels"}
# Clients use the public API and themselves, and what else is named.
CLIENTS = {"cli": set(), "examples": set(), "bench": {"targets"}, "python": set()}
# Free to include anything: they look inside on purpose.
FREE = {"tests", "fuzz"}

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.MULTILINE)


def folder_of(path):
    """The layer or client folder that a source belongs to, or None."""
    parts = path.parts
    if parts[0] in ("src", "include"):
        return parts[1] if len(parts) > 2 and parts[1] in LAYERS else None
    if parts[0] == "libs":
        return parts[1] if parts[1] in LIBRARIES else None
    return parts[0] if parts[0] in CLIENTS or parts[0] in FREE else None


def target_of(parts):
    """The target's own folder in ("targets", "cpu", "x.h"); None for a file shared by all targets."""
    return parts[1] if parts[0] == "targets" and len(parts) > 2 else None


def refusal(path, include):
    """Why `path` may not include `include`, or None if it may."""
    source = folder_of(path)
    parts = Path(include).parts
    if source is None:
        return "the including file is in no known folder"
    if include.startswith("/") or "." in parts or ".." in parts or len(parts) < 2:
        return "expected a path from the root of src/"
    if source in LIBRARIES:
        return None if parts[0] == source else f"libs/{source}/ stands alone"
    if source in FREE or (parts[0] == "tests" and path.stem.endswith("_test")):
        return None
    if parts[0] in LIBRARIES and source in LAYERS and source != "expertile":
        return None
    if parts[0] not in LAYERS and parts[0] not in CLIENTS:
        return f"{parts[0]}/ is no known folder"
    if source in CLIENTS:
        allowed = {"expertile", source} | CLIENTS[source]
        return None if parts[0] in allowed else f"{source}/ may include only {sorted(allowed)}"
    return layer_refusal(path, source, include, parts)


def layer_refusal(path, source, include, parts):
    wanted = parts[0]
    if wanted in CLIENTS:
        return f"{source}/ may not include a client"
    if wanted == source:
        own, other = target_of(path.parts[1:]), target_of(parts)
        room = "/".join(path.parts[1:-1])
        if room in INNER_ROOMS and room != "/".join(parts[:-1]):
            return f"{room}/ includes nothing of the rest of its target"
        if other in (None, own):
            return None
        return f"targets/{own or ''} may not include targets/{other}"
    if (source, wanted) in CLOSED and include not in CLOSED[source, wanted]:
        return f"{wanted}/ is closed to {source}/"
    if LAYERS[wanted] < LAYERS[source] or (source, wanted) in SAME_LAYER:
        return None
    return f"{source}/ is layer {LAYERS[source]}, {wanted}/ is layer {LAYERS[wanted]}"


def problems_in(path, text):
    """One line for each include in `text`, the content of `path`, that is refused."""
    problems = []
    for match in INCLUDE.finditer(text):
        bracket, include = match.groups()
        if bracket == "<" and include.split("/")[0] not in LAYERS.keys() | LIBRARIES:
            continue
        reason = "use quotes" if bracket == "<" else refusal(path, include)
        if reason:
            line = text.count("\n", 0, match.start(1)) + 1
            problems.append(f'{path}:{line}: #include "{include}": {reason}')
    return problems


def main():
    problems = []
    for path in tracked_files():
        if path.suffix in (".h", ".cc", ".cu", ".cuh"):
            problems += problems_in(path, (ROOT / path).read_text(encoding="utf-8"))
    exit_with(problems)


if __name__ == "__main__":
    main()
