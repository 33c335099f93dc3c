"""Reading and writing the PVs of a snapshot, against a real IOC."""
from __future__ import annotations

import io

import numpy
import pytest

from caproto import CaprotoTimeoutError, ChannelType, ReadNotifyResponse, TimeStamp
from caproto._catools.progress import Progress
from caproto._catools.snapshots import SnapshotClient, snapshot_of
from caproto.threading.client import AccessError, Context
from tests.catools.test_progress import Terminal

STAMP = TimeStamp.from_flexible_value("2026-11-22T20:01:02.123456789Z")
MINOR = (4, 1, STAMP)


def response(data, data_type):
    return ReadNotifyResponse(data, data_type, None, 1, 0, metadata=MINOR)


@pytest.fixture
def client(ioc):
    with Context(configuration=ioc.configuration) as context:
        yield SnapshotClient(context, 5, Progress(io.StringIO()))


def test_every_type_is_read_and_written(ioc, client):
    changes = {
        "double": 0.1, "long": -5, "string": "new", "bool": 0, "enum": 2, "array_double": [2.5],
        "array_string": ["x", "y"], "array_char": [1, 2, 3],
    }
    changes = {ioc.pv(name): value for name, value in changes.items()}
    before = client.read(list(changes))
    assert before.ok.all() and before.connected.all() and not numpy.isnat(before.timestamps).any()
    assert client.write(changes) == {}
    after = client.read(list(changes))
    for name, value in changes.items():
        assert numpy.array_equal(after[name], value)
    assert len(before.diff(after)) == len(changes)
    assert client.write(before.to_dict()) == {}
    assert not before.diff(client.read(list(changes)))


def test_scalars_of_one_type_are_an_array_of_this_type(ioc, client):
    names = [ioc.pv("double"), ioc.pv("random_walk:dt")]
    snap = client.read(names[:1])
    assert snap.values.dtype == "f8" and snap.values.shape == (1,)


def test_what_is_missing_and_what_is_refused(ioc, client):
    assert client.read([ioc.pv("double"), ioc.pv("readonly")]).ok.all()  # they are connected
    quick = SnapshotClient(client._context, 0.5, Progress(io.StringIO()))
    snap = quick.read([ioc.pv("double"), "nonsense"])
    assert snap.ok.tolist() == snap.connected.tolist() == [True, False]
    assert isinstance(snap.errors["nonsense"], CaprotoTimeoutError)
    assert "was not found within 0.5 s" in str(snap.errors["nonsense"])
    errors = quick.write({ioc.pv("readonly"): 1.0, "nonsense": 1.0})
    assert type(errors[ioc.pv("readonly")]) is AccessError
    assert isinstance(errors["nonsense"], CaprotoTimeoutError)


def test_progress_is_shown(ioc, client):
    terminal = Terminal()
    shown = SnapshotClient(client._context, 5, Progress(terminal))
    shown.read([ioc.pv("double")])
    assert f"reading [{'#' * 30}] 1/1" in terminal.getvalue()
    shown.write({ioc.pv("double"): 3.14})
    assert f"writing [{'#' * 30}] 1/1" in terminal.getvalue()
    assert terminal.line().strip() == ""


ERROR = CaprotoTimeoutError("'gone' was not found")


@pytest.mark.parametrize(
    ("responses", "dtype", "values"),
    [
        ([response([0.1], ChannelType.TIME_FLOAT)] * 2, "f4", [0.1, 0.1]),
        ([response([7], ChannelType.TIME_ENUM)], "u2", [7]),
        ([response([b"a"], ChannelType.TIME_STRING), response([b"bcd"], ChannelType.TIME_STRING)],
         "U3", ["a", "bcd"]),
        ([response([1, 2], ChannelType.TIME_LONG)] * 2, "i4", [[1, 2], [1, 2]]),
    ],
)
def test_values_of_one_type(responses, dtype, values):
    outcomes = {f"n{at}": one for at, one in enumerate(responses)}
    snap = snapshot_of({**outcomes, "gone": ERROR}, {*outcomes})
    assert snap.values.dtype == dtype and snap.ok.tolist() == [True] * len(responses) + [False]
    assert numpy.array_equal(snap.values[:-1], numpy.array(values, dtype))
    assert snap.severity.tolist() == [1] * len(responses) + [0]
    assert snap.status.tolist() == [4] * len(responses) + [0]
    assert snap.timestamps[0] == STAMP.as_datetime64() and numpy.isnat(snap.timestamps[-1])
    assert snap.errors == {"gone": ERROR}


def test_values_of_different_types():
    snap = snapshot_of(
        {"x": response([0.1], ChannelType.TIME_FLOAT), "gone": ERROR,
         "y": response([b"a", b"b"], ChannelType.TIME_STRING)},
        {"x", "y"},
    )
    assert snap.values.dtype == object and type(snap.values[0]) is numpy.float32
    assert snap["y"].tolist() == ["a", "b"] and snap.values[1] is None


def test_nothing():
    assert snapshot_of({"gone": ERROR}, ()).values.tolist() == pytest.approx(
        [numpy.nan], nan_ok=True
    )
