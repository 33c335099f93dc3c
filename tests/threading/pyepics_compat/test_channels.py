"""What the PV objects of one name share."""
from __future__ import annotations

import threading

import pytest

from caproto import ReadNotifyRequest
from caproto.threading.client import Context
from caproto.threading.pyepics_compat import PV
from caproto.threading.pyepics_compat._channels import Facts, channels_of
from tests.harness.fake_server import FakePV
from tests.threading.pyepics_compat.conftest import Told

pytestmark = pytest.mark.ioc


def test_one_table_for_each_context(context):
    assert channels_of(context) is channels_of(context)


def test_those_of_closed_contexts_are_forgotten(start_server):
    from caproto.threading.pyepics_compat import _channels

    server = start_server({})
    with Context(configuration=server.configuration) as old:
        channels_of(old)
    with Context(configuration=server.configuration) as new:
        channels_of(new)
        assert old not in _channels._registry and new in _channels._registry


@pytest.mark.parametrize(
    "read, write, wanted",
    [(True, True, "read/write"), (True, False, "read-only"), (False, True, "write-only"),
     (False, False, "no access")],
)
def test_rights_in_words(read, write, wanted):
    assert Facts(6, 1, "host:5064", read, write).access == wanted


def test_metadata_are_fetched_once_per_connection(start_server, wait_for):
    server = start_server({"a": FakePV(1.5)})
    told = [Told() for _ in range(5)]
    with Context(configuration=server.configuration) as ctx:
        pvs = [PV("a", one, context=ctx) for one in told]
        wait_for(lambda: all(one.calls for one in told))
        assert len(server.received(ReadNotifyRequest)) == 1
        assert [pv.units for pv in pvs] == [pvs[0].units] * 5
        assert len(server.received(ReadNotifyRequest)) == 1


def test_the_thread_that_fetches_ends(context, pv, told, wait_for):
    x = pv("x", told)
    wait_for(lambda: told.calls)
    assert x.connected
    wait_for(lambda: "ca-metadata" not in [thread.name for thread in threading.enumerate()])


def test_without_a_thread_they_are_fetched_all_the_same(context, pv, told, wait_for, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    y = pv("y", auto_monitor=False)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    y._channels.fetch_metadata(y._channel, y)
    monkeypatch.undo()
    assert y._channels._fetching is False
