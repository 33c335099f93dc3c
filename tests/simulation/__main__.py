"""Run seeds: ``python -m tests.simulation SEED`` or ``python -m tests.simulation --seeds N``."""
from __future__ import annotations

import argparse
import sys

from .runner import replay, run_many


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="replay this one, and make it small")
    parser.add_argument("--seeds", type=int, default=100, help="how many to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--whole", action="store_true", help="replay without making it small")
    options = parser.parse_args()
    if options.seed is not None:
        return replay(options.seed, small=not options.whole)
    return run_many(range(options.first, options.first + options.seeds), options.jobs)


if __name__ == "__main__":
    sys.exit(main())
