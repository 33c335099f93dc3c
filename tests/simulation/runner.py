"""Running seeds: many, or one again and again until what is left of its plan is small."""
from __future__ import annotations

import gc
import multiprocessing
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from caproto.threading import _lifetime

from .plan import Plan, Step, draw
from .simulation import Simulation, Violation
from .stand_ins import installed


class Result(NamedTuple):
    """What came of one run."""

    seed: int
    #: The name of the invariant that does not hold, or of an exception; empty if all is well.
    failure: str
    text: str
    digest: int
    record: list[str]


def run_plan(plan: Plan, verbose: bool = False) -> Result:
    """Run one plan; with `installed`."""
    living = _lifetime._living.copy()
    simulation = Simulation(plan, verbose)
    failure = text = ""
    try:
        simulation.run()
    except Violation as error:
        failure, text = error.invariant, str(error)
    except Exception as error:
        failure, text = type(error).__name__, traceback.format_exc()
    # What is left of a run that has failed belongs to a system that is gone.
    _lifetime._living.clear()
    _lifetime._living.update(living)
    world = simulation.world
    return Result(plan.seed, failure, text, world.digest, world.record)


def run_seeds(seeds: Iterable[int]) -> list[Result]:
    """Run some seeds in this process; the failures."""
    results = []
    with installed():
        gc.collect()
        gc.freeze()
        for seed in seeds:
            result = run_plan(draw(seed))
            if result.failure:
                results.append(result)
            if seed % 20 == 0:
                gc.collect()
        gc.unfreeze()
    return results


def run_many(seeds: Sequence[int], jobs: int) -> int:
    """Run seeds in several processes; prints, and returns the number of failures (at most 1)."""
    started = time.monotonic()
    size = max(1, min(100, len(seeds) // jobs))
    chunks = [seeds[start:start + size] for start in range(0, len(seeds), size)]
    failures: list[Result] = []
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for done, found in enumerate(pool.imap_unordered(run_seeds, chunks), 1):
            failures += found
            if done % 10 == 0:
                print(f"{done * size} of {len(seeds)} seeds", file=sys.stderr)
            for result in found:
                line = result.text.strip().splitlines()[-1][:300]
                print(f"seed {result.seed}: {line}", flush=True)
                print(f"    make simulate SEED={result.seed}", flush=True)
    seconds = time.monotonic() - started
    print(f"{len(seeds)} seeds, {len(failures)} failures, {seconds:.1f} s")
    return min(1, len(failures))


def shrink(plan: Plan, failure: str) -> Plan:
    """A plan with fewer steps that fails in the same way; with `installed`."""
    steps: list[Step] = list(plan.steps)
    size = len(steps)
    while size:
        start = 0
        while start < len(steps):
            fewer = steps[:start] + steps[start + size:]
            if run_plan(plan.with_steps(fewer)).failure == failure:
                steps = fewer
            else:
                start += size
        size //= 2
    return plan.with_steps(steps)


def replay(seed: int, small: bool = True) -> int:
    """Run one seed, and tell everything about it."""
    with installed():
        plan = draw(seed)
        result = run_plan(plan)
        if result.failure and small:
            plan = shrink(plan, result.failure)
        result = run_plan(plan, verbose=True)
    print(f"servers {plan.servers}, name server {plan.name_server}")
    print(f"connection timeout {plan.connection_timeout}, search period {plan.search_period}")
    print("\n".join(result.record))
    print(f"\nThe steps, in {plan.duration:.1f} s:")
    print("\n".join(map(str, plan.steps)))
    print(f"\nseed {seed}: {result.text or 'all is well'} (digest {result.digest:08x})")
    return int(bool(result.failure))
