"""Holds sources, functions, files and the repository to their sizes, and finds forgotten tests and goldens."""

import ast
import re
from pathlib import Path

from tracked_files import ROOT, exit_with, tracked_files

SOURCE_LINES = 500
FUNCTION_LINES = 60
MIB = 1 << 20
FILE_BYTES = 8 * MIB
REPOSITORY_BYTES = 100 * MIB

CPP = {".cc", ".h", ".cu", ".cuh"}
SCRIPTS = {".py", ".sh"}

# Comments, strings and character literals; a ' between digits separates them.
OPAQUE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'""",
    re.DOTALL,
)
PREPROCESSOR = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
NO_FUNCTION = re.compile(r"^\s*(?:(?:inline\s+)?namespace|class|struct|union|enum|concept|extern)\b|=\s*$")


def blank(match):
    return "\n" * match.group().count("\n")


def cpp_functions(text):
    """(first line, number of lines) of each function body outside of other functions."""
    text = PREPROCESSOR.sub(blank, OPAQUE.sub(blank, text))
    depth, inside, head_start, line = 0, None, 0, 1
    for i, c in enumerate(text):
        line += c == "\n"
        if c == "{":
            head = re.sub(r"^\s*template\s*<[^{}]*?>\s*(?=\w)", "", text[head_start:i])
            if inside is None and "(" in head and not NO_FUNCTION.search(head):
                inside = (depth, line - head.strip().count("\n"))
            depth += 1
        elif c == "}":
            depth -= 1
            if inside and depth == inside[0]:
                yield inside[1], line - inside[1] + 1
                inside = None
        if c in "{};":
            head_start = i + 1


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.end_lineno - node.lineno + 1


def length_problems(path, text):
    num_lines = text.count("\n")
    if num_lines > SOURCE_LINES:
        yield f"{path}: {num_lines} lines, at most {SOURCE_LINES}"
    functions = cpp_functions if path.suffix in CPP else python_functions
    if path.suffix == ".sh":
        return
    for line, length in functions(text):
        if length > FUNCTION_LINES:
            yield f"{path}:{line}: a function of {length} lines, at most {FUNCTION_LINES}"


def byte_problems(sizes):
    """`sizes`: path to bytes."""
    for path, size in sizes.items():
        if size > FILE_BYTES:
            yield f"{path}: {size} bytes, at most {FILE_BYTES}"
    total = sum(sizes.values())
    if total >= REPOSITORY_BYTES:
        yield f"the repository: {total} bytes, less than {REPOSITORY_BYTES} wanted"


def forgotten_tests(texts):
    """`texts`: path to content. Each *_test.cc must stand in the CMakeLists.txt of its folder or one above."""
    for path in texts:
        if not path.name.endswith("_test.cc"):
            continue
        lists = [(folder, texts.get(folder / "CMakeLists.txt", "")) for folder in path.parents]
        pattern = r"(?<![\w/])%s(?!\w)"
        if not any(re.search(pattern % re.escape(str(path.relative_to(folder))), text) for folder, text in lists):
            yield f"{path}: in no CMakeLists.txt, so never run"


def forgotten_goldens(paths, texts):
    """A golden must be named by a test or script: its file, its name without suffix, or its folder."""
    readers = "\n".join(text for path, text in texts.items() if path.suffix in CPP | SCRIPTS)
    for path in paths:
        if path.parts[:2] != ("tests", "goldens"):
            continue
        names = [path.name, path.stem] + list(path.parts[2:-1])
        if not any(re.search(rf"""["'/]{re.escape(name)}["'/.]""", readers) for name in names):
            yield f"{path}: no test or script names it"


def main():
    paths = tracked_files()
    texts = {}
    problems = list(byte_problems({path: (ROOT / path).stat().st_size for path in paths}))
    for path in paths:
        if path.suffix in CPP | SCRIPTS or path.name == "CMakeLists.txt":
            texts[path] = (ROOT / path).read_text(encoding="utf-8")
        if path.suffix in CPP | SCRIPTS:
            problems += length_problems(path, texts[path])
    problems += forgotten_tests(texts)
    problems += forgotten_goldens(paths, texts)
    exit_with(problems)


if __name__ == "__main__":
    main()
