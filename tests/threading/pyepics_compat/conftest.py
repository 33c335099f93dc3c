"""A real IOC and PVs of pyepics on a Context of the test's own."""
from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from caproto.threading.client import Context
from caproto.threading.pyepics_compat import PV
from tests.harness.ioc_process import SoftIOC

DATABASE = """
record(ao, "$(P)x") { field(PREC, "3") field(EGU, "mm") field(HOPR, "10") field(LOPR, "-10")
    field(DRVH, "8") field(DRVL, "-8") field(HIHI, "7") field(HHSV, "MAJOR") }
record(ao, "$(P)y") {}
record(longout, "$(P)long") {}
record(bo, "$(P)switch") { field(ZNAM, "Off") field(ONAM, "On") }
record(stringout, "$(P)text") {}
record(waveform, "$(P)wave") { field(FTVL, "DOUBLE") field(NELM, "10") }
record(waveform, "$(P)shorts") { field(FTVL, "SHORT") field(NELM, "10") }
record(waveform, "$(P)chars") { field(FTVL, "CHAR") field(NELM, "100") }
record(waveform, "$(P)empty") { field(FTVL, "SHORT") field(NELM, "5") }
record(waveform, "$(P)texts") { field(FTVL, "STRING") field(NELM, "5") }
record(waveform, "$(P)big") { field(FTVL, "CHAR") field(NELM, "70000") }
record(ao, "$(P)refused") { field(DISP, "1") }
record(calc, "$(P)counter") { field(INPA, "$(P)counter") field(CALC, "A+1")
    field(SCAN, ".1 second") }
record(seq, "$(P)slow") { field(DO1, "1") field(DLY1, "0.5") field(LNK1, "$(P)y PP") }
"""


@pytest.fixture(scope="package")
def records() -> Iterator[SoftIOC]:
    with SoftIOC([DATABASE]) as process:
        yield process


@pytest.fixture
def context(records: SoftIOC, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """The Context of all PVs that are given none."""
    with Context(configuration=records.configuration, timeout=10) as made:
        monkeypatch.setattr(PV, "default_context", classmethod(lambda cls: made))
        yield made


@pytest.fixture
def pv(context: Context, records: SoftIOC) -> Callable[..., PV]:
    """``pv("x", ...)``: a PV, connected, with its first value if it is monitored."""

    def make(name: str, *args: object, **options: object) -> PV:
        made = PV(records.pv(name), *args, **options)
        assert made.wait_for_connection(10)
        return made

    return make


class Told:
    """A callback that keeps what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[tuple, dict]] = []

    def __call__(self, *args: object, **keywords: object) -> None:
        self.calls.append((args, keywords))

    def values(self) -> list[object]:
        return [keywords["value"] for _, keywords in self.calls]


@pytest.fixture
def told() -> Told:
    return Told()
