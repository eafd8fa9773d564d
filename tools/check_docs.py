"""Refuses docs that name a file, link, make target or command line option that is not there."""

import re
import subprocess

from tracked_files import ROOT, exit_with, tracked_files

# Folders that docs/design.md keeps a place for; drop one here when it gets its first file.
PLANNED = set()
BINARY = ROOT / "build" / "release" / "expertile"

FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
BACKTICKS = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"[\w.-]+(?:/[\w.+-]+)*/?")
EXPERTILE = re.compile(r"(?:^|[\s/])expertile ([a-z]+)((?:[^\n]*\\\n)*[^\n]*)", re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z0-9-]*)")


def code_of(text):
    """(offset, code) of each backticked span and each block of commands."""
    for match in FENCE.finditer(text):
        yield match.start(), match.group()
    prose = FENCE.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)
    for match in BACKTICKS.finditer(prose):
        yield match.start(), match.group(1)


def path_problems(text, top_level, exists):
    """Backticked paths, from the root of the repository, whose first part is in `top_level`."""
    prose = FENCE.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)
    for match in BACKTICKS.finditer(prose):
        name = match.group(1)
        if "/" not in name or not PATH.fullmatch(name) or name.split("/")[0] not in top_level:
            continue
        if not exists(name):
            yield match.start(), f"`{name}` does not exist"


def link_problems(text, exists):
    """`exists` resolves a path from the document's folder."""
    for match in LINK.finditer(FENCE.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)):
        target = match.group(1).split("#")[0]
        if target and not re.match(r"[a-z]+:", target) and not exists(target):
            yield match.start(), f"the link to {target} leads nowhere"


def make_problems(text, targets):
    for offset, code in code_of(text):
        for line in code.splitlines():
            command = re.match(r"[\s$]*(?:[A-Z_]+=\S+ )*make((?: [a-zA-Z_=0-9-]+)+)", line.split("#")[0])
            for word in command.group(1).split() if command else []:
                if re.fullmatch(r"[a-z][a-z-]*", word) and word not in targets:
                    yield offset, f"make {word}: the Makefile has no such target"


def option_problems(text, help_of):
    """`help_of(subcommand)` is the text of its --help, or None if there is no such subcommand."""
    for offset, code in code_of(text):
        for match in EXPERTILE.finditer(code):
            subcommand = match.group(1)
            known = help_of(subcommand)
            if known is None:
                yield offset, f"expertile {subcommand}: no such subcommand"
                continue
            command = re.split(r"\s#|[|;&]\s|`", match.group(2))[0]
            for option in OPTION.findall(command):
                if not re.search(rf"(?<![\w-]){option}(?![\w-])", known):
                    yield offset, f"expertile {subcommand}: no option {option}"


def help_of(subcommand, known={}):
    if subcommand not in known:
        command = [BINARY, subcommand, "--help"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        known[subcommand] = done.stdout + nested_help(subcommand, done.stdout) if done.returncode == 0 else None
    return known[subcommand]


def nested_help(subcommand, text):
    """The help of `expertile bench roof` and the like."""
    names = re.findall(r"^  ([a-z]+) ", text.partition("Subcommands:")[2], re.MULTILINE)
    commands = [[BINARY, subcommand, name, "--help"] for name in names]
    return "".join(subprocess.run(c, stdout=subprocess.PIPE, text=True).stdout for c in commands)


def documents():
    for path in tracked_files():
        is_doc = path.suffix == ".md" and path.parts[0] == "docs" and len(path.parts) == 2
        if is_doc or str(path) in ("README.md", "CONTRIBUTING.md"):
            yield path


def main():
    tracked = tracked_files()
    top_level = {path.parts[0] for path in tracked} - {path.name for path in tracked}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    if not BINARY.exists():
        print("check_docs: build/release/expertile is not built: its options are not checked")
    problems = []
    for path in documents():
        text = (ROOT / path).read_text(encoding="utf-8")
        found = list(path_problems(text, top_level, lambda name: name in PLANNED or (ROOT / name).exists()))
        found += link_problems(text, lambda name: (ROOT / path.parent / name).exists())
        found += make_problems(text, targets)
        if BINARY.exists():
            found += option_problems(text, help_of)
        for offset, problem in sorted(found):
            problems.append(f"{path}:{text.count(chr(10), 0, offset) + 1}: {problem}")
    exit_with(problems)


if __name__ == "__main__":
    main()
