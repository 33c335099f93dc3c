"""One table of exit statuses."""
from __future__ import annotations

import pytest

from caproto import CaprotoTimeoutError, CaprotoValueError, DisconnectedError
from caproto._catools.statuses import status_of


def test_the_worst_counts():
    late, wrong, lost = CaprotoTimeoutError("late"), CaprotoValueError("no"), DisconnectedError("x")
    assert status_of([], True) == status_of([], False) == 0
    assert status_of([late, late], True) == 1
    assert status_of([late, wrong, late], True) == status_of([lost], True) == 2
    assert status_of([late, wrong], False) == 1


NAMES = (
    "double", "long", "enum", "array_long", "slow", "very_slow", "noaccess", "readonly", "disabled",
)
#: The table of the manual: command lines, and their statuses by default and with --strict.
TABLE = [
    # all was done
    ("get double", 0, 0), ("put double 3.14", 0, 0), ("monitor --duration 0.2 double", 0, 0),
    ("info double", 0, 0), ("explain double", 0, 0), ("info noaccess", 0, 0),
    # the time was up: a PV was not found, a reply did not come, the condition was not true
    ("get -w 0.2 nonsense", 1, 1), ("put -w 0.2 nonsense 1", 1, 1), ("info -w 0.2 nonsense", 1, 1),
    ("explain -w 0.2 nonsense", 1, 1), ("monitor -w 0.1 --duration 0.2 nonsense", 1, 1),
    ("put -c -w 0.2 slow 1", 0, 1), ("get --wait-for <0 --duration 0.2 double", 1, 1),
    ("monitor --until <0 --duration 0.2 double", 1, 1),
    ("put --quiet -c -w 0.2 very_slow 1", 1, 1),
    ("get --ascii noaccess", 0, 2), ("get --utc noaccess", 1, 2),
    ("put double 1 --strict", 2, 2),
    ("monitor --count 2 --duration 0.2 double", 0, 1),
    # no access, refused by the server
    ("get noaccess", 0, 2), ("put readonly 1", 1, 2), ("put disabled 1", 0, 2),
    ("put -c disabled 1", 1, 2), ("put double abc", 0, 2), ("put -c double abc", 1, 2),
    ("monitor --duration 0.2 noaccess", 1, 2), ("info --json noaccess", 1, 2),
    # a wrong value
    ("put enum purple", 1, 2), ("put enum 9", 0, 2), ("put long 1.7", 0, 2),
    ("put -a array_long 3 1", 0, 2), ("put -a double 2 1 2", 1, 2), ("put double", 1, 2),
    # with a condition also a PV that was not found
    ("get --wait-for >0 -w 0.2 nonsense", 2, 2), ("monitor --until >0 -w 0.2 nonsense", 2, 2),
    ("monitor --until >0 --duration 9 noaccess", 2, 2),
    # a wrong expression, option, file, name
    ("get --wait-for > double", 2, 2), ("monitor --until x+ double", 2, 2),
    *[(f"{tool} -z double", 1, 2) for tool in ("get", "put", "monitor", "info", "explain")],
    *[(f"{tool}", 1, 2) for tool in ("get", "put", "monitor", "info", "explain")],
    *[(f"{tool} --from none", 1, 2) for tool in ("get", "put", "monitor", "info", "explain")],
    *[(f"{tool} -w x double", 0, 2) for tool in ("get", "info")], ("explain -w x double", 1, 2),
    ("get --format {x} double", 1, 2), ("get --format {value:x} double", 1, 2),
    ("get --partial double " + 992 * "x", 1, 2),
    *[(f"{tool} double {992 * 'x'}", 1, 2) for tool in ("get", "info", "explain")],
    ("monitor --duration 0.2 double " + 992 * "x", 1, 2), ("put " + 992 * "x" + " 1", 1, 2),
]


@pytest.mark.parametrize("strict", [False, True])
def test_the_table_of_the_manual(strict, own_ioc, call):
    wrong = []
    for line, default, exact in TABLE:
        tool, *words = [own_ioc.pv(word) if word in NAMES else word for word in line.split()]
        done = call(tool, *["--strict"] * strict, *words, ioc=own_ioc)
        if done.status != (exact if strict else default):
            wrong.append((line, done))
        assert not done.status or done.err or done.out, line  # it says why
    assert wrong == []
