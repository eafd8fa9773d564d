"""Two builds' `expertile bench` in turns: medians, and the median of each turn's ratio. See compare.sh.

What is compared is what both builds' JSON has: the medians of moe or model, and the stages of model.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

SECONDS = ("seconds_median", "prefill_seconds_median", "decode_seconds_per_token_median")


def times_of(result):
    """Name to seconds, of all that one run of bench measured."""
    times = {key: result[key] for key in SECONDS if result.get(key)}
    for part in ("prefill", "decode"):
        for stage in result.get(part + "_stages", []):
            times[f"{part} {stage['stage']}"] = stage["seconds"]
    return times


def binary_of(path):
    return path / "expertile" if path.is_dir() else path


def measure(binary, arguments):
    done = subprocess.run([binary, "bench", *arguments, "--json"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{binary}: {done.stderr.strip()}")
    return times_of(json.loads(done.stdout))


def table(rounds):
    """The lines for `rounds`: pairs of what the old and the new build took."""
    names = [name for name in rounds[0][0] if all(name in old and name in new for old, new in rounds)]
    width = max(len(name) for name in names)
    lines = [f"{'':{width}}  {'old, ms':>12}  {'new, ms':>12}  {'new / old':>9}"]
    for name in names:
        pairs = [(old[name], new[name]) for old, new in rounds]
        old, new = (statistics.median(side) * 1e3 for side in zip(*pairs))
        ratios = [after / before for before, after in pairs if before > 0]
        ratio = f"{statistics.median(ratios):9.3f}" if ratios else f"{'':9}"
        lines.append(f"{name:{width}}  {old:12.3f}  {new:12.3f}  {ratio}")
    return lines


def main():
    parser = argparse.ArgumentParser(usage="bench/compare.sh [--rounds N] OLD NEW moe|model [bench options]")
    parser.add_argument("old", type=Path, help="a build folder, or its expertile")
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("bench", nargs=argparse.REMAINDER, help="what `expertile bench` gets")
    arguments = parser.parse_args()
    if not arguments.bench or arguments.rounds < 1:
        parser.error("expected moe or model and their options, and 1 round or more")
    binaries = [binary_of(arguments.old), binary_of(arguments.new)]
    rounds = []
    for turn in range(arguments.rounds):
        order = (0, 1) if turn % 2 == 0 else (1, 0)
        times = {which: measure(binaries[which], arguments.bench) for which in order}
        rounds.append((times[0], times[1]))
    print(f"{arguments.rounds} rounds in turns: bench {' '.join(arguments.bench)}")
    print("\n".join(table(rounds)))


if __name__ == "__main__":
    main()
