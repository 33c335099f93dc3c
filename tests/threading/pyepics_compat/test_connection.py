"""Connecting, losing, monitors: what programs for pyepics see of them."""
from __future__ import annotations

import gc
import os
import sys
import threading
import weakref
from collections.abc import Callable
from types import CodeType, FrameType

import pytest

from caproto import (
    CaprotoValueError,
    ChannelType,
    ContextDisconnectedError,
    EventAddRequest,
    ReentrantCallError,
)
from caproto.threading.client import Context
from caproto.threading.pyepics_compat import PV, _connection, caget
from tests.harness.fake_server import FakePV
from tests.harness.interrupts import enter_each_line
from tests.threading.pyepics_compat.conftest import DATABASE, Told

pytestmark = pytest.mark.ioc


class TestMaking:
    def test_it_returns_at_once_and_raises_nothing(self, context):
        missing = PV("  nobody:has:this ")
        assert missing.pvname == "nobody:has:this" and not missing.connected
        assert missing.wait_for_connection(0.1) is False
        assert repr(missing) == "<PV 'nobody:has:this': not connected>"
        missing.connection_timeout = 0.05
        assert missing.info is None

    def test_the_form_may_be_in_any_case(self, pv):
        assert pv("x", form="CTRL").type == "ctrl_double"
        assert pv("x", form="native").type == "double"

    def test_a_wrong_form(self, context):
        with pytest.raises(CaprotoValueError, match="form must be one of native, time, ctrl"):
            PV("x", form="fancy")

    def test_attributes_may_be_added(self, pv):
        x = pv("x")
        x._reference_count = 3
        assert (x.verbose, x.connection_timeout, x.monitor_delta) == (False, 2.0, None)

    def test_callbacks_of_a_list_are_numbered_from_zero(self, pv):
        assert list(pv("x", [print, repr]).callbacks) == [0, 1]
        assert list(pv("x", print).callbacks) == [0]

    def test_equality(self, pv, context):
        x = pv("x")
        assert x == pv("x") and x != pv("y") and x != "x" and hash(x) == hash(pv("x"))

    def test_one_that_is_dropped_is_collected(self, pv, caplog, wait_for):
        called = threading.Event()
        # It must not keep what it is called with: ``cb_info`` holds the PV.
        made = pv("x", lambda **keywords: called.set())
        assert called.wait(10)
        reference = weakref.ref(made)
        del made
        wait_for(lambda: gc.collect() is not None and reference() is None)
        assert "garbage" not in caplog.text

    def test_one_subscription_for_all_of_a_name(self, start_server):
        server = start_server({"a": FakePV(1.5)})
        with Context(configuration=server.configuration) as ctx:
            pvs = [PV("a", context=ctx) for _ in range(5)]
            assert all(one.wait_for_connection(10) for one in pvs)
            assert [one.get() for one in pvs] == [1.5] * 5
            assert len(server.received(EventAddRequest)) == 1

    def test_a_subclass_may_have_other_signatures(self, pv, records, wait_for):
        class Mine(PV):
            def __init__(self, name):
                super().__init__(name, auto_monitor=True)

            def add_callback(self, function):
                return super().add_callback(callback=function, run_now=False)

        told = Told()
        mine = Mine(records.pv("y"))
        mine.add_callback(told)
        wait_for(lambda: told.calls)


class TestConnecting:
    def test_everything_is_known_when_it_is_connected(self, context, records):
        seen: dict = {}

        def connection(pvname, conn, pv):
            seen["connection"] = pvname, conn, pv, pv.connected

        def access(read, write, pv):
            seen["access"] = read, write, pv
            assert "connection" not in seen, "access comes first"

        x = PV(records.pv("x"), connection_callback=connection, access_callback=access)
        assert x.wait_for_connection(10) and x.connected is True
        assert seen["access"] == (True, True, x)
        assert seen["connection"] == (x.pvname, True, x, False)
        assert (x.type, x.ftype, x.nelm, x.access) == ("time_double", 20, 1, "read/write")
        assert x.host == f"127.0.0.1:{records.port}"

    def test_callbacks_are_told_again_after_each_loss(self, start_ioc, wait_for):
        ioc = start_ioc([DATABASE])
        events: list = []
        told = Told()

        def connection(pvname, conn, pv):
            events.append(("connection", conn))

        def access(read, write, pv):
            events.append(("access", read, write))

        with Context(configuration=ioc.configuration) as ctx:
            x = PV(ioc.pv("x"), told, connection_callback=connection, access_callback=access,
                   context=ctx)  # fmt: skip
            wait_for(lambda: told.calls)
            ioc.kill()
            wait_for(lambda: len(events) == 4)
            assert not x.connected and x.get(timeout=0.1) is None
            before = len(told.calls)
            ioc.start()
            wait_for(lambda: len(told.calls) > before, timeout=20)
            assert events == [
                ("access", True, True), ("connection", True),
                ("connection", False), ("access", False, False),
                ("access", True, True), ("connection", True),
            ]
            assert x.connected and told.calls[-1][1]["units"] == "mm"

    def test_a_callback_that_blocks_and_calls_others_harms_none(self, pv, records, wait_for):
        seen: dict = {}

        def connection(pvname, conn, pv):
            if conn:
                seen["get"] = pv.get(use_monitor=False)
                seen["ctrl"] = pv.get_ctrlvars()["units"]

        x = PV(records.pv("x"), connection_callback=connection)
        assert x.wait_for_connection(10)
        assert seen["ctrl"] == "mm" and isinstance(seen["get"], float)

    def test_metadata_are_fetched_again_after_a_loss(self, pv, records, told, wait_for):
        y, units = pv("y", told), PV(records.pv("y.EGU"), auto_monitor=False)
        assert units.wait_for_connection(10)
        wait_for(lambda: told.calls)
        assert y.units == told.calls[-1][1]["units"] == ""
        units.put("kg", wait=True)
        y._channel.pv.circuit_manager.disconnect()

        def changed():
            y.put(y.get() + 1 if y.connected else 0)
            return told.calls[-1][1]["units"] == "kg"

        wait_for(changed)
        units.put("", wait=True)

    def test_one_that_cannot_subscribe_tries_again(self, pv, told, monkeypatch, wait_for):
        x = pv("x", told, auto_monitor=False)

        def refuse(self, *args, **options):
            raise ContextDisconnectedError("closed")

        with monkeypatch.context() as patch:
            patch.setattr(type(x._channel.pv), "subscribe", refuse)
            with pytest.raises(ContextDisconnectedError):
                x.auto_monitor = True
        assert x.auto_monitor_mask is None
        x.auto_monitor = True
        wait_for(lambda: told.calls)

    def test_a_callback_may_wait_for_pvs_that_are_new(self, pv, records, wait_for):
        found: list = []

        def callback(**_):
            if not found:
                found.append(caget(records.pv("y"), connection_timeout=5))

        def connection(pvname, conn, pv):
            found.append(PV(records.pv("long")).wait_for_connection(5))

        first = pv("x")
        first.add_callback(callback)
        first.put(1.25)
        wait_for(lambda: found)
        assert found.pop() is not None
        x = PV(records.pv("switch"), connection_callback=connection)
        assert x.wait_for_connection(10) and found == [True]

    def test_a_connection_callback_may_wait_for_its_own_pv(self, context, records):
        answers: list = []

        def connection(pvname, conn, pv):
            answers.append(pv.wait_for_connection(5))

        x = PV(records.pv("x"), connection_callback=connection)
        assert x.wait_for_connection(2) and answers == [True]

    def test_events_come_in_order_whatever_thread_sees_them(self, context, records, pv, wait_for):
        """A loss that another thread sees during a callback is told after it."""
        events: list = []
        in_callback, go_on = threading.Event(), threading.Event()

        def access(read, write, pv):
            events.append(read)
            in_callback.set()
            go_on.wait(10)

        def connection(pvname, conn, pv):
            events.append(("connection", conn))

        first = pv("x")
        thread = threading.Thread(target=lambda: made.append(
            PV(records.pv("x"), access_callback=access, connection_callback=connection)))
        made: list = []
        thread.start()
        assert in_callback.wait(10)
        core = first._channel.pv
        manager = core.circuit_manager
        manager.disconnect()
        wait_for(lambda: core.circuit_manager is not manager)  # it may be connected again by now
        go_on.set()
        thread.join()
        wait_for(lambda: len(events) == 6)
        assert events == [
            True, ("connection", True), ("connection", False), False, True, ("connection", True),
        ]
        wait_for(lambda: made[0].connected and made[0].get() is not None)

    def test_an_update_during_the_news_of_a_connection_is_not_lost(self, context, records, pv,
                                                                   wait_for):
        told, in_callback, go_on = Told(), threading.Event(), threading.Event()

        def connection(pvname, conn, pv):
            if not conn:
                in_callback.set()
                go_on.wait(10)

        x = PV(records.pv("x"), told, connection_callback=connection)
        wait_for(lambda: told.calls)
        thread = threading.Thread(target=x._channel.pv.circuit_manager.disconnect)
        thread.start()
        assert in_callback.wait(10)
        before = len(told.calls)
        go_on.set()
        thread.join()
        wait_for(lambda: len(told.calls) > before)

    def test_many_wait_at_once(self, context, records):
        x = PV(records.pv("x"))
        answers: list = []
        threads = [
            threading.Thread(target=lambda: answers.append(x.wait_for_connection(10)))
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [True] * 20


class TestDisconnecting:
    def test_one_object_of_two(self, pv, told, wait_for):
        x, other = pv("x", told), pv("x")
        wait_for(lambda: told.calls)
        x.disconnect()
        before = len(told.calls)
        assert not x.connected and x.get(timeout=0.1) is None and x.callbacks == {}
        assert other.connected
        other.put(1.5, wait=True)
        wait_for(lambda: other.get() == 1.5)
        assert len(told.calls) == before

    def test_reconnect_and_force_connect(self, pv, told, wait_for):
        x = pv("x")
        x.disconnect()
        assert x.wait_for_connection(0.05) is False
        assert x.reconnect() is True and isinstance(x.get(), float)
        assert x.reconnect() is True  # also while it is connected
        x.disconnect()
        x.add_callback(told)
        x.force_connect()
        wait_for(lambda: told.calls)

    def test_the_last_one_gives_the_channel_back(self, start_server, wait_for):
        from caproto import ClearChannelRequest

        server = start_server({"a": FakePV(1.5), "b": FakePV(2.5)})
        with Context(configuration=server.configuration) as ctx:
            a, b = PV("a", context=ctx), PV("b", context=ctx)
            assert a.wait_for_connection(10) and b.wait_for_connection(10)
            a.disconnect()
            wait_for(lambda: server.received(ClearChannelRequest))
            assert a.connect(10) and a.get() == 1.5


class TestMonitor:
    def test_it_is_decided_by_size(self, pv):
        assert PV("nobody").auto_monitor is None
        assert pv("x").auto_monitor is True and pv("big").auto_monitor is False
        assert _connection.AUTOMONITOR_MAXLENGTH == 65536

    def test_a_mask_stays_what_it_is(self, pv, wait_for):
        x = pv("x", auto_monitor=8)
        wait_for(lambda: x.auto_monitor_mask == 8)
        assert x.auto_monitor == 8
        x.auto_monitor = True
        assert x.auto_monitor_mask == 5
        x.clear_auto_monitor()
        assert x.auto_monitor is False and x.auto_monitor_mask is None

    def test_without_monitor_a_callback_is_silent_until_it_is_switched_on(self, pv, told, wait_for):
        x = pv("x", auto_monitor=False)
        x.add_callback(told)
        x.put(2.0, wait=True)
        assert x.get() == 2.0 and not told.calls
        x.auto_monitor = True
        wait_for(lambda: 2.0 in told.values())

    def test_one_that_is_switched_off_without_a_connection_stays_off(self, start_server, wait_for):
        server = start_server({"a": FakePV(1.5)})
        told = Told()
        with Context(configuration=server.configuration) as ctx:
            a = PV("a", told, context=ctx)
            wait_for(lambda: told.calls)
            server.stop()
            wait_for(lambda: not a.connected)
            a.auto_monitor = False
            calls = len(told.calls)
            server.start()
            assert a.wait_for_connection(10) and a.get() == 1.5
            assert len(told.calls) == calls and not server.received(EventAddRequest)[1:]

    def test_text_in_the_form_of_control_values_has_a_time_stamp(self, pv, wait_for):
        text = pv("text", form="ctrl")
        wait_for(lambda: text._args["timestamp"])
        assert text.type == "time_string" and text.ftype == ChannelType.TIME_STRING
        assert text.get_with_metadata(use_monitor=False)["timestamp"] == text.timestamp

    def test_ophyd_ends_it_by_another_name(self, pv, wait_for):
        x = pv("x")
        wait_for(lambda: x._auto_monitor_sub)
        x._auto_monitor_sub.clear()
        assert x._auto_monitor_sub is None
        x._auto_monitor_sub = None
        assert x.auto_monitor is False

    def test_metadata_come_before_the_first_update(self, start_server, wait_for):
        server = start_server({f"p{i}": FakePV(1.5) for i in range(50)})
        told = [Told() for _ in range(50)]
        with Context(configuration=server.configuration) as ctx:
            pvs = [PV(f"p{i}", told[i], context=ctx) for i in range(50)]
            wait_for(lambda: all(one.calls for one in told))
            assert all(one.calls[0][1]["precision"] is not None for one in told)
            del pvs


def test_a_context_that_was_closed_is_replaced(records, monkeypatch):
    """As the parent's is closed in the child of a fork."""
    monkeypatch.setattr(os, "environ", {**os.environ, **records.environ})
    first = PV.default_context()
    assert PV.default_context() is first
    first.disconnect()
    with PV.default_context() as second:
        assert second is not first and PV.default_context() is second


def test_a_signal_handler_at_any_line_of_the_first_use_shares_the_context(monkeypatch):
    monkeypatch.setattr(_connection.Connection, "_default", None)
    found: list[Context] = []
    refused: list[str] = []

    def first_use() -> None:
        for one in found:
            one.disconnect()
        found[:] = [PV.default_context()]

    def handler() -> None:
        try:
            found.append(PV.default_context())
        except ReentrantCallError as error:
            refused.append(str(error))

    for where in enter_each_line(first_use, handler):
        assert len({*found, PV.default_context()}) == 1 and not found[0].closed, where
    assert 0 < len(refused) < 10, "refused only while the new one becomes the default"
    assert all(one.startswith("PV.default_context waits") for one in refused), refused
    found[0].disconnect()


def test_a_thread_that_makes_the_context_delays_no_other(monkeypatch):
    monkeypatch.setattr(_connection.Connection, "_default", None)
    begun, go_on, found = threading.Event(), threading.Event(), []

    def slow() -> Context:
        begun.set()
        assert go_on.wait(10)
        return Context()

    monkeypatch.setattr(_connection, "Context", slow)
    thread = threading.Thread(target=lambda: found.append(PV.default_context()))
    thread.start()
    assert begun.wait(10)
    monkeypatch.setattr(_connection, "Context", Context)
    with PV.default_context() as quicker:
        go_on.set()
        thread.join()
        assert found == [quicker] and PV.default_context() is quicker


def test_a_signal_handler_inside_a_wait_for_the_callbacks_waits_too(start_server, wait_for):
    told, go_on = threading.Event(), threading.Event()

    def connection(**_: object) -> None:
        told.set()
        assert go_on.wait(10)

    def handler() -> None:
        found.append(x.wait_for_connection(0))

    def trace(frame: FrameType, event: str, _argument: object) -> Callable[..., object]:
        """Strike each line below `_wait_until_told`, also those of Python's own modules."""
        if event == "line" and frame.f_code is not waiting and waiting in codes_below(frame):
            sys.settrace(None)
            handler()
            sys.settrace(trace)
        return trace

    found: list[bool] = []
    waiting = PV._wait_until_told.__code__
    server = start_server({"x": 1.5})
    with Context(configuration=server.configuration) as ctx:
        x = PV("x", connection_callback=connection, context=ctx)
        assert told.wait(10)
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            assert x.wait_for_connection(0.01) is False
        finally:
            sys.settrace(before)
        assert found and not any(found) and not x._arrived
        other = threading.Thread(target=lambda: found.append(x.wait_for_connection(10)))
        other.start()
        wait_for(lambda: x._arrived)
        go_on.set()
        other.join()
        assert found[-1] is True and not x._arrived


def codes_below(frame: FrameType) -> list[CodeType]:
    """What runs in the frames that lead to *frame*."""
    codes, one = [], frame.f_back
    while one is not None:
        codes.append(one.f_code)
        one = one.f_back
    return codes
