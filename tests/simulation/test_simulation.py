"""A few hundred seeds, and the simulation itself. `make simulate` runs more, or one."""
from __future__ import annotations

import subprocess
import sys

import pytest

from tests.simulation import system
from tests.simulation.found import FOUND
from tests.simulation.plan import draw
from tests.simulation.runner import run_plan, run_seeds

#: Seeds, in groups that can be told apart.
SEEDS, GROUP = 500, 50


@pytest.fixture
def simulated():
    with system.installed():
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
        "from tests.simulation import system, runner, plan\n"
        "with system.installed():\n"
        "    print([runner.run_plan(plan.draw(seed)).digest for seed in range(8)])\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == str([run_plan(draw(seed)).digest for seed in range(8)])
