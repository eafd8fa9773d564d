"""The files of the repository, for the checks beside this file."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def tracked_files(root=ROOT):
    """Paths relative to `root` of the files that git tracks, or would with `git add`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout
    names = sorted(set(listing.decode().split("\0")) - {""})
    return [Path(name) for name in names if (root / name).is_file()]


def exit_with(problems):
    """Prints each problem on its line; the exit status says whether there was one."""
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)
