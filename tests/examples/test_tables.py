"""The examples of the page about tables do what it shows."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas
import pytest

from caproto.threading.client import Context, TableSnapshot
from tests.examples.test_values import Running, masked, output, shown
from tests.harness.ioc_process import DemoIOC

PAGE = "../tables"
#: Seconds between two measurements, so that the tests are quick.
PERIOD = 0.02


@pytest.fixture(scope="module")
def orbit() -> Iterator[DemoIOC]:
    with DemoIOC("orbit") as ioc, Context(configuration=ioc.configuration) as ctx:
        ctx.get_pv("orbit:period").write(PERIOD)
        yield ioc


def blocks() -> list[list[str]]:
    """What the page shows as output of its examples; the first block is of a program."""
    return [shown(PAGE, number) for number in range(1, 5)]


def test_an_orbit(orbit: DemoIOC) -> None:
    lines = output(orbit, "watch_orbit.py", "0.5")
    while lines and lines[0].endswith("positions are missing"):  # the others are on their way
        del lines[0]
    assert lines and {*masked(lines)} == {*masked(blocks()[0])}
    x, y, largest = (float(number) for number in re.findall(r"(\d\.\d+) mm", lines[-1]))
    assert 0.3 < x < 1 and 0.3 < y < 1 < largest < 3


@pytest.fixture
def run(orbit: DemoIOC) -> Iterator[Callable[..., Running]]:
    running = []

    def run(*arguments: str) -> Running:
        running.append(Running(orbit, *arguments))
        return running[-1]

    yield run
    for one in running:
        one.kill()


def test_an_archive(orbit: DemoIOC, run: Callable[..., Running], tmp_path: Path) -> None:
    path = str(tmp_path / "orbit.parquet")
    names = [f"orbit:{plane}{number:03}" for plane in "xy" for number in range(1, 11)]
    archiver = run("archive_to_parquet.py", path, *names)
    lines = [archiver.line(), archiver.line()]
    with Context(configuration=orbit.configuration) as ctx:
        measured = 0
        with ctx.table(names[:1]).record(timeout=20) as recording:
            while measured < 20:
                measured += len(next(recording).index)
    code, rest = archiver.interrupt()
    assert code == 0 and masked(lines + rest) == masked(
        [line.replace("orbit.parquet", path) for line in blocks()[1]]
    )
    archive = pandas.read_parquet(path)
    assert len(archive) == int(rest[-1].split()[0]) > 0
    assert list(archive) == ["name", "value", "time", "severity", "gap"]
    assert {*archive["name"]} == {*names} and not archive["gap"].any()
    for _, updates in archive.groupby("name", observed=True):
        assert updates["time"].is_monotonic_increasing and updates["time"].is_unique


def test_compare_and_restore(orbit: DemoIOC, tmp_path: Path) -> None:
    path = str(tmp_path / "magnets.npz")
    lines = output(orbit, "compare_and_restore.py", path)
    assert [line.replace(path, "magnets.npz") for line in lines] == blocks()[2]
    assert TableSnapshot.load(path).ok.all()


def test_training(orbit: DemoIOC) -> None:
    """It keeps the best of what it tries, so the orbit is not worse afterwards."""
    lines = output(orbit, "train_on_orbit.py", "10")
    assert masked(lines) == masked(blocks()[3])
    before, after = (float(number) for number in re.findall(r"(\d\.\d+) mm", lines[1]))
    assert after < before + 0.01
