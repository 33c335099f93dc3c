"""The command line of `fuzz`."""
from __future__ import annotations

import argparse
import importlib
import sys
import time
from types import ModuleType

from . import TARGETS
from .engine import Failure, Fuzzer


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each target")
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--replay", metavar="HEX", help="run this input only")
    parser.add_argument("--atheris", action="store_true", help="let coverage choose the inputs")
    options = parser.parse_args()
    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        parser.error(f"there are no targets {sorted(unknown)}")
    targets = [importlib.import_module(f"fuzz.{name}") for name in options.targets or TARGETS]
    if options.replay is not None:
        for target in targets:
            target.fuzz_target(bytes.fromhex(options.replay))
        return 0
    if options.atheris:
        _run_atheris(targets[0])
    number = time.time_ns() % 1_000_000 if options.seed is None else options.seed
    return max(_run(target, number, options.seconds) for target in targets)


def _run(target: ModuleType, number: int, seconds: float) -> int:
    fuzzer = Fuzzer(target, number)
    count, end = len(fuzzer.seeds), time.monotonic() + seconds
    try:
        fuzzer.try_seeds()
        while time.monotonic() < end:
            fuzzer.try_one()
            count += 1
    except Failure as failure:
        print(f"{fuzzer.name}: {failure.__cause__!r}\n    {failure}", file=sys.stderr)
        return 1
    print(f"{fuzzer.name}: {count} inputs, seed {number}")
    return 0


def _run_atheris(target: ModuleType) -> None:
    import atheris

    atheris.instrument_all()
    seeds = list(target.seeds())

    def run(data: bytes) -> None:
        if len(data) >= 2 and data[0] == 0xFF:  # begin with a recording
            data = seeds[data[1] % len(seeds)] + data[2:]
        target.fuzz_target(data)

    atheris.Setup([sys.argv[0]], run)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
