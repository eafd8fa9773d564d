"""`python -m expertile`: the command.

It becomes the command that the package brings, rather than calling it: signals, standard streams
and exit statuses are then the command's own.
"""

import os
import sys
from pathlib import Path


def main() -> None:
    command = Path(__file__).parent / "bin" / "expertile"
    if not command.exists():
        sys.exit(f"expertile: {command} is not there: the package was built without the command")
    os.execv(command, ["expertile", *sys.argv[1:]])


if __name__ == "__main__":
    main()
