"""A few hundred seeds, and the simulation itself. `make simulate` runs more, or one."""
from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from tests.simulation.found import FOUND
from tests.simulation.plan import draw
from tests.simulation.planted import FAULTS
from tests.simulation.runner import run_plan, run_seeds, shrink
from tests.simulation.stand_ins import installed

#: Seeds, in groups that can be told apart.
SEEDS, GROUP = 500, 50
#: Within so many seeds a fault must show.
PLANTED_SEEDS = 150


@pytest.fixture
def simulated():
    with installed():
        yield


@pytest.mark.parametrize("first", range(0, SEEDS, GROUP))
def test_seeds(first):
    failures = run_seeds(range(first, first + GROUP))
    assert not [f"make simulate SEED={failure.seed}: {failure.text}" for failure in failures]


@pytest.mark.parametrize("plan", FOUND.values(), ids=FOUND)
def test_what_was_found_before(simulated, plan):
    result = run_plan(plan)
    assert not result.failure, result.text


def test_a_seed_runs_the_same_way_each_time(simulated):
    one, other = run_plan(draw(3), verbose=True), run_plan(draw(3), verbose=True)
    assert one.record == other.record and len(one.record) > 20
    assert one.digest == other.digest == run_plan(draw(3)).digest != run_plan(draw(4)).digest


def test_a_seed_runs_the_same_way_in_another_process(simulated):
    script = (
        "from tests.simulation import stand_ins, runner, plan\n"
        "with stand_ins.installed():\n"
        "    print([runner.run_plan(plan.draw(seed)).digest for seed in range(8)])\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == str([run_plan(draw(seed)).digest for seed in range(8)])


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found(simulated, fault):
    with FAULTS[fault]():
        plans = itertools.chain(FOUND.values(), map(draw, range(PLANTED_SEEDS)))
        assert any(run_plan(plan).failure for plan in plans)


def test_a_plan_that_fails_is_made_small(simulated):
    with FAULTS["a subscription is not resumed"]():
        plan = next(
            plan for plan in map(draw, range(PLANTED_SEEDS)) if run_plan(plan).failure and
            len(plan.steps) > 20
        )
        small = shrink(plan, run_plan(plan).failure)
        assert len(small.steps) <= 4, "subscribe, and something that breaks the connection"
        assert run_plan(small).failure == run_plan(plan).failure
    assert not run_plan(small).failure
