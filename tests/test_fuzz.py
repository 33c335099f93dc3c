"""A short run of each fuzz target, and the engine itself. `make fuzz` runs longer."""
from __future__ import annotations

import importlib
from types import SimpleNamespace

import pytest

from fuzz import TARGETS
from fuzz.engine import Failure, Fuzzer
from fuzz.support import check_same, pieces

#: Inputs for each target: about a second.
INPUTS = 300


@pytest.mark.parametrize("name", TARGETS)
def test_recordings_and_what_becomes_of_them(name):
    fuzzer = Fuzzer(importlib.import_module(f"fuzz.{name}"))
    assert len(fuzzer.seeds) > 20
    fuzzer.try_seeds()
    for _ in range(INPUTS):
        fuzzer.try_one()


def planted(data: bytes) -> None:
    if b"\xff" in data[10:]:
        raise ZeroDivisionError


def target(run=planted):
    return SimpleNamespace(__name__="fuzz.planted", fuzz_target=run, seeds=lambda: [bytes(40)])


def failure_of(number: int) -> Failure:
    fuzzer = Fuzzer(target(), number)
    with pytest.raises(Failure) as caught:
        for _ in range(10_000):
            fuzzer.try_one()
    return caught.value


def test_a_planted_fault_is_found_and_made_small():
    failure = failure_of(1)
    assert isinstance(failure.__cause__, ZeroDivisionError)
    assert failure.data.endswith(b"\xff") and len(failure.data) == 11
    assert str(failure) == f"python -m fuzz planted --replay {failure.data.hex()}"


def test_the_same_number_gives_the_same_inputs():
    def inputs(number: int) -> list[bytes]:
        tried: list[bytes] = []
        fuzzer = Fuzzer(target(tried.append), number)
        for _ in range(50):
            fuzzer.try_one()
        return tried

    assert inputs(1) == inputs(1) != inputs(2)


def test_pieces_make_up_the_whole():
    data = bytes(range(256)) * 4
    cut = list(pieces(data))
    assert b"".join(cut) == data and all(cut) and cut == list(pieces(data))


def test_a_difference_between_two_cuts_is_an_error():
    check_same([1], [1])
    with pytest.raises(AssertionError, match="in one piece"):
        check_same([1], [2])
