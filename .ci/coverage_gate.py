"""Fail if fewer branches of the pure folders are covered than was reached.

Run it after ``make coverage``; a change that covers more raises the figure. A branch is one of the
ways on from a line with several.
"""
from __future__ import annotations

import json
import subprocess
import sys

#: Folder -> covered branches / all branches, in percent, that must be reached.
GATES = {
    "caproto/_client/": 98.0,
    "caproto/_protocol/": 98.0,
    "caproto/_server/": 98.0,
}


def measured() -> dict[str, tuple[int, int]]:
    """Return by file its covered branches, and all of them."""
    command = [sys.executable, "-m", "coverage", "json", "-q", "-o", "-"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    summaries = {name: file["summary"] for name, file in json.loads(done.stdout)["files"].items()}
    return {name: (s["covered_branches"], s["num_branches"]) for name, s in summaries.items()}


def main() -> int:
    """Print a line for each folder; return 1 if a gate is not reached."""
    files = measured()
    failed = False
    for folder, gate in GATES.items():
        inside = [counts for name, counts in files.items() if name.startswith(folder)]
        covered, total = (sum(numbers) for numbers in zip(*inside))
        percent = 100.0 * covered / total
        failed |= percent < gate
        verdict = "FAILED" if percent < gate else "ok"
        print(f"{folder:20} {covered} of {total} branches: {percent:.2f} % (of {gate} %) {verdict}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
