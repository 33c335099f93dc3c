"""``PV.info``, ``PV.metadata`` and ``PV.watch_metadata``: one round trip, cached, kept fresh."""
from __future__ import annotations

import gc
import math
import threading

import pytest

import caproto as ca
from caproto import CaprotoTimeoutError, ChannelType, ReentrantCallError
from caproto.threading.client import (
    AccessError,
    Context,
    ContextDisconnectedError,
    Info,
    Metadata,
    ReadError,
    _reentry,
)
from tests.harness.fake_server import ignore
from tests.harness.interrupts import interrupt_each_line

pytestmark = pytest.mark.ioc

LIMITS_OF_DOUBLE = {
    "upper_disp_limit": 100, "lower_disp_limit": -100, "upper_alarm_limit": 80,
    "upper_warning_limit": 70, "lower_warning_limit": -70, "lower_alarm_limit": -80,
    "upper_ctrl_limit": 90, "lower_ctrl_limit": -90,
}


def requests(server) -> list:
    return server.received(ca.ReadNotifyRequest)


class TestInfo:
    def test_of_a_number(self, ioc, real):
        info = real.get_pv("T:double").info()
        assert isinstance(info, Info)
        assert (info.name, info.value, info.text) == ("T:double", 3.14, "3.140")
        assert (info.type, info.count) == (ChannelType.DOUBLE, 1)
        assert info.host == "{}:{}".format(*ioc.address)
        assert (info.access, info.connected) == ("read, write", True)
        assert info.severity == 0 and info.age > 0 and info.age < 1e6
        assert (info.units, info.precision) == ("mm", 3)
        assert {name: getattr(info, name) for name in LIMITS_OF_DOUBLE} == LIMITS_OF_DOUBLE
        assert "3.14 mm" in str(info)

    def test_of_an_enum(self, real):
        info = real.get_pv("T:enum").info()
        assert info.value == 1 and info.text == info.value.name == "green"
        assert info.enum_strings == ("red", "green", "blue") and info.upper_ctrl_limit is None

    def test_of_texts(self, real):
        info = real.get_pv("T:string").info()
        assert info.value == info.text == "hello" and info.type is ChannelType.STRING
        assert real.get_pv("T:array_string").info().value == ["one", "two", "three"]
        long = real.get_pv("T:long_string.VAL$").info()
        assert long.value.startswith("a text longer than the forty") and len(long.text) > 60

    def test_of_arrays(self, real):
        info = real.get_pv("T:array_double").info()
        assert info.value.tolist() == [0.25, -0.5, 1e300] and info.count == 1000
        assert info.units == "mm" and math.isnan(info.upper_alarm_limit)
        assert real.get_pv("T:array_char").info().text == "Hi!"
        assert len(real.get_pv("T:empty").info().value) == 0

    def test_of_a_pv_without_write_access(self, real):
        assert real.get_pv("T:readonly").info().access == "read"

    def test_subscriptions_with_callbacks_are_listed(self, real):
        pv = real.get_pv("T:double")
        assert pv.info().subscriptions == ()
        pv.subscribe("time").add_callback(lambda response: None, strong=True)
        assert pv.info().subscriptions == ("time, value|alarm, 1 callback",)

    def test_the_two_reads_are_sent_together(self, server, ctx, wait_for):
        held: list = []
        server.on[ca.ReadNotifyRequest] = lambda *request: held.append(request)
        pv = ctx.get_pv("wave")
        pv.wait_for_connection()
        found: list = []
        thread = threading.Thread(target=lambda: found.append(pv.info(timeout=10)))
        thread.start()
        wait_for(lambda: len(held) == 2)
        for connection, command in held:
            server.usual(connection, command)
        thread.join()
        assert found[0].value.tolist() == [1, 2, 3]
        one, two = (command for _, command in held)
        # Of an array the metadata come with one element.
        assert one.data_type is ChannelType.CTRL_LONG and one.data_count == 1
        assert two.data_type is ChannelType.TIME_LONG and two.data_count == 0

    def test_failures_are_those_of_a_read(self, server, ctx):
        with pytest.raises(CaprotoTimeoutError, match="'missing' was not found within 0.2 s"):
            ctx.get_pv("missing").info(timeout=0.2)
        with pytest.raises(AccessError, match="'writeonly': no read access"):
            ctx.get_pv("writeonly").info()
        server.on[ca.ReadNotifyRequest] = ignore
        with pytest.raises(CaprotoTimeoutError, match="'x': no reply to the read"):
            ctx.get_pv("x").info(timeout=0.2)
        x = ctx.get_pv("x")
        ctx.disconnect()
        with pytest.raises(ContextDisconnectedError):
            x.info()

    def test_in_a_callback(self, server, ctx, wait_for):
        pv = ctx.get_pv("x")
        seen: list = []

        def callback(response):
            seen.append((pv.info(), pv.metadata))

        pv.subscribe().add_callback(callback)
        wait_for(lambda: seen)
        assert seen[0][0].value == 1.5

    def test_inside_another_call_it_is_refused(self, ctx):
        with _reentry.serving():
            with pytest.raises(ReentrantCallError, match="PV.info"):
                ctx.get_pv("x").info()


class TestMetadata:
    def test_of_each_kind(self, real):
        found = real.get_pv("T:double").metadata
        assert isinstance(found, Metadata) and (found.units, found.precision) == ("mm", 3)
        assert {name: getattr(found, name) for name in LIMITS_OF_DOUBLE} == LIMITS_OF_DOUBLE
        assert real.get_pv("T:long").metadata.units == "counts"
        assert real.get_pv("T:enum").metadata.enum_strings == ("red", "green", "blue")
        assert real.get_pv("T:string").metadata == Metadata()

    def test_it_is_fetched_once(self, server, ctx):
        pv = ctx.get_pv("wave")
        assert pv.metadata == pv.metadata
        assert [(r.data_type, r.data_count) for r in requests(server)] == [
            (ChannelType.CTRL_LONG, 1)
        ]

    def test_what_other_reads_bring_is_used(self, server, ctx):
        pv = ctx.get_pv("x")
        info = pv.info()
        assert pv.metadata.units == info.units and len(requests(server)) == 2
        other = ctx.get_pv("y")
        other.read(data_type="control")
        assert other.metadata == pv.metadata
        assert len(requests(server)) == 3

    def test_a_text_needs_no_request(self, server, ctx):
        pv = ctx.get_pv("text")
        pv.wait_for_connection()
        assert pv.metadata == Metadata() and not requests(server)

    def test_the_timeout_is_that_of_the_pv(self, server, ctx):
        pv = ctx.get_pv("missing")
        pv.timeout = 0.2
        with pytest.raises(CaprotoTimeoutError, match="within 0.2 s"):
            assert pv.metadata

    def test_a_refusal(self, server, ctx):
        server.on[ca.ReadNotifyRequest] = lambda connection, command: connection.send(
            ca.ReadNotifyResponse(b"", command.data_type, 0, 152, command.ioid)
        )
        with pytest.raises(ReadError, match="'x'"):
            assert ctx.get_pv("x").metadata

    def test_what_is_known_is_there_in_a_finalizer_too(self, server, ctx):
        pv = ctx.get_pv("x")
        with _reentry.serving():
            with pytest.raises(ReentrantCallError, match="PV.metadata"):
                assert pv.metadata
        known = pv.metadata
        with _reentry.serving():
            assert pv.metadata == known

    def test_a_reconnection_drops_it(self, start_ioc, tmp_path, wait_for):
        database = tmp_path / "one.db"
        text = 'record(ao, "$(P)x") {{ field(EGU, "{}") field(PREC, "{}") field(PINI, "YES") }}\n'
        database.write_text(text.format("mm", 3))
        ioc = start_ioc([database])
        with Context(configuration=ioc.configuration, timeout=30) as ctx:
            pv = ctx.get_pv("T:x")
            assert (pv.metadata.units, pv.metadata.precision) == ("mm", 3)
            database.write_text(text.format("inch", 1))
            ioc.kill()
            wait_for(lambda: not pv.connected)
            ioc.start()
            assert (pv.metadata.units, pv.metadata.precision) == ("inch", 1)
            assert pv.info().units == "inch"

    def test_a_change_without_watching_is_not_seen(self, own_ioc):
        """That is what `watch_metadata` is for."""
        with Context(configuration=own_ioc.configuration, timeout=10) as ctx:
            pv = ctx.get_pv("T:double")
            assert pv.metadata.units == "mm"
            own_ioc.put("double.EGU", "cm")
            assert pv.metadata.units == "mm"
            assert pv.info().units == pv.metadata.units == "cm"


class TestWatch:
    def test_changes_come_by_themselves(self, own_ioc, wait_for):
        with Context(configuration=own_ioc.configuration, timeout=10) as ctx:
            pv = ctx.get_pv("T:double")
            with pv.watch_metadata() as watch:
                assert pv.metadata.units == "mm"
                own_ioc.put("double.EGU", "cm")
                wait_for(lambda: pv.metadata.units == "cm")
                own_ioc.put("double.HOPR", "55")
                wait_for(lambda: pv.metadata.upper_disp_limit == 55)
                assert "active" in repr(watch)
            wait_for(lambda: not pv.circuit_manager.subscriptions)
            assert "closed" in repr(watch)
            watch.close()  # may be called again

    def test_names_of_states(self, own_ioc, wait_for):
        with Context(configuration=own_ioc.configuration, timeout=10) as ctx:
            pv = ctx.get_pv("T:enum")
            pv.watch_metadata()
            assert pv.metadata.enum_strings[2] == "blue"
            own_ioc.put("enum.TWST", "violet")
            wait_for(lambda: pv.metadata.enum_strings[2] == "violet")
            assert ctx.write({"T:enum": "violet"}).ok
            assert pv.read().value.name == "violet"

    def test_it_goes_on_without_a_reference_and_after_a_reconnection(
        self, start_ioc, tmp_path, wait_for
    ):
        database = tmp_path / "one.db"
        text = 'record(ao, "$(P)x") {{ field(EGU, "{}") field(PINI, "YES") }}\n'
        database.write_text(text.format("mm"))
        ioc = start_ioc([database])
        with Context(configuration=ioc.configuration, timeout=30) as ctx:
            pv = ctx.get_pv("T:x")
            pv.watch_metadata()
            gc.collect()
            assert pv.metadata.units == "mm"
            database.write_text(text.format("inch"))
            ioc.kill()
            ioc.start()
            wait_for(lambda: pv.connected and pv.metadata.units == "inch", timeout=30)
            ioc.put("x.EGU", "mile")
            wait_for(lambda: pv.metadata.units == "mile")

    def test_two_watches_share_the_updates(self, server, ctx, wait_for):
        pv = ctx.get_pv("x")
        one, two = pv.watch_metadata(), pv.watch_metadata()
        server.wait_for(ca.EventAddRequest)
        (request,) = server.received(ca.EventAddRequest)
        assert request.mask == ca.SubscriptionType.DBE_PROPERTY
        assert (request.data_type, request.data_count) == (ChannelType.CTRL_DOUBLE, 1)
        one.close()
        assert "active" in repr(two)
        two.close()
        server.wait_for(ca.EventCancelRequest)

    def test_an_update_of_an_earlier_connection_changes_nothing(self, server, ctx, wait_for):
        pv = ctx.get_pv("x")
        watch = pv.watch_metadata()
        wait_for(lambda: pv.connected)
        before = pv.metadata
        control = ca.DBR_CTRL_DOUBLE(units=b"old")
        late = ca.EventAddResponse([1.0], ChannelType.CTRL_DOUBLE, 1, 1, 0, metadata=control)
        host, port = pv.circuit_manager.address
        late.sender_address = host, port  # another circuit to the same server
        watch._note(late)
        assert pv.metadata == before


    def test_ctrl_c_at_any_line_leaves_no_callback_that_nobody_can_remove(self, server, ctx):
        pv = ctx.get_pv("x")
        pv.wait_for_connection()
        subscription = pv.subscribe("control", 1, mask="property")
        watches: list = []
        for where in interrupt_each_line(lambda: watches.append(pv.watch_metadata())):
            assert (subscription.callbacks, watches) == ({}, []), where
        assert len(subscription.callbacks) == len(watches) == 1


class TestPrinting:
    """Nothing that is printed asks the server."""

    def test_the_repr_is_the_state(self, server, ctx):
        pv = ctx.get_pv("x")
        pv.wait_for_connection()
        assert repr(pv) == f"<PV 'x': connected to 127.0.0.1:{server.port}, DOUBLE x 1, READ|WRITE>"
        assert not requests(server)

    def test_html_says_what_is_known(self, real, server, ctx):
        pv = real.get_pv("T:double")
        assert "searching" in pv._repr_html_() or "connect" in pv._repr_html_()
        pv.wait_for_connection()
        assert "DOUBLE x 1" in pv._repr_html_() and "mm" not in pv._repr_html_()
        assert pv.metadata.units == "mm"
        assert "mm" in pv._repr_html_() and "PV T:double" in pv._repr_html_()
        other = ctx.get_pv("x")
        other.wait_for_connection()
        other._repr_html_()
        assert not requests(server)

    def test_html_of_a_context_lists_its_circuits(self, server, ctx):
        assert "Context: 0 searches pending, 0 circuits" in ctx._repr_html_()
        ctx.get_pv("x").wait_for_connection()
        html = ctx._repr_html_()
        assert f"127.0.0.1:{server.port}" in html and "1 circuit, 1 PV" in html

    def test_ipython_prints_it(self, server, ctx):
        pretty = pytest.importorskip("IPython.lib.pretty").pretty
        pv = ctx.get_pv("x")
        pv.wait_for_connection()
        assert pretty(pv) == repr(pv) and pretty(ctx) == repr(ctx)
        info, results = pv.info(), ctx.read("x", "text")
        explanation = ctx.explain(pv)
        for thing in (info, results, pv.metadata, explanation):
            assert pretty(thing) == str(thing)
        count = len(requests(server))
        for thing in (pv, ctx, info, results, explanation, pv.metadata):
            pretty(thing)
            thing._repr_html_()
        assert len(requests(server)) == count
