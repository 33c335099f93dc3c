"""What the PV objects of one name share."""
from __future__ import annotations

import threading

import pytest

from caproto import CaprotoValueError, ContextDisconnectedError, EventAddRequest, ReadNotifyRequest
from caproto.threading.client import Context
from caproto.threading.pyepics_compat import PV
from caproto.threading.pyepics_compat._channels import Facts, Put, channels_of
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


def test_a_name_of_no_use_is_refused_at_the_call(context):
    with pytest.raises(CaprotoValueError):
        PV("")


def test_a_closed_context_is_refused_at_the_call(start_server):
    server = start_server({})
    ctx = Context(configuration=server.configuration)
    ctx.disconnect()
    with pytest.raises(ContextDisconnectedError):
        PV("a", context=ctx)


def test_one_that_is_taken_up_while_it_is_let_go_of_stays_connected(start_server, wait_for):
    server = start_server({"a": FakePV(1.5), "b": FakePV(2.5)})
    with Context(configuration=server.configuration) as ctx:
        kept, first = PV("b", context=ctx), PV("a", context=ctx)
        assert kept.wait_for_connection(10) and first.wait_for_connection(10)
        channel, later = first._channel, []
        go_idle = type(channel.pv).go_idle

        def meanwhile(pv):
            if not later:
                later.append(PV("a", context=ctx))
            go_idle(pv)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(channel.pv), "go_idle", meanwhile)
            first.disconnect()
        wait_for(lambda: later[0].get() == 1.5)


def test_many_are_found_together(start_server, wait_for):
    server = start_server({f"p{i}": FakePV(float(i)) for i in range(300)})
    with Context(configuration=server.configuration) as ctx:
        pvs = [PV(f"p{i}", context=ctx) for i in range(300)]
        wait_for(lambda: [pv.get() for pv in pvs] == list(range(300)))
        assert len(server.received(EventAddRequest)) == 300


def test_updates_from_before_the_end_of_a_put_do_not_tell_its_effect(context, pv):
    x = pv("x", auto_monitor=False)
    channel = x._channel
    for late in (False, True):
        before, put = channel.puts, Put(channel)
        if late:  # the callback thread has not come to the confirmation
            put.finished()
            assert (channel.puts, channel.confirming) == (before + 1, 1)
            put.passed(None)
        else:
            put.passed(None)
            put.finished()
        assert (channel.puts, channel.confirming) == (before + 1, 0)
