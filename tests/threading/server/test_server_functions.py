"""The user's functions in a threaded server: getters, putters, scans, startups; slow, failing."""
from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from caproto import (
    CAStatus,
    EchoRequest,
    EchoResponse,
    ErrorResponse,
    EventAddResponse,
    ReadNotifyResponse,
    WriteNotifyResponse,
)
from caproto.server import ChannelData, ChannelDouble, PVGroup, Refused, pvproperty
from caproto.threading.server import _server
from tests.harness.own_server import OwnServer
from tests.harness.raw_client import PATIENCE, Ended, RawClient
from tests.harness.waiting import wait_for


@pytest.fixture
def serve() -> Iterator[Callable[[PVGroup], RawClient]]:
    """``serve(group)``: a client of a server of this group; both end with the test."""
    open_ones: list[RawClient | OwnServer] = []

    def start(group: PVGroup) -> RawClient:
        server = OwnServer(group)
        open_ones.append(server)
        server.start()
        client = RawClient(server.address)
        open_ones.append(client)
        return client

    yield start
    for one in open_ones[::-1]:
        one.close() if isinstance(one, RawClient) else one.stop()


def one_error(caplog: pytest.LogCaptureFixture, name: str, kind: type[BaseException]) -> bool:
    """Whether exactly one error has been logged, with the PV's name and a traceback."""
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert errors[0].exc_info is not None and errors[0].exc_info[0] is kind
    return name in errors[0].getMessage()


class Motor(PVGroup):
    """A putter that takes as long as the test wants."""

    x = pvproperty(value=0.0)
    y = pvproperty(value=1.5)

    def __init__(self, prefix: str = "") -> None:
        super().__init__(prefix)
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.ended = threading.Event()

    @x.putter
    def x(self, instance: ChannelData, value: float) -> None:
        self.begun.set()
        self.go_on.wait(PATIENCE)
        self.ended.set()


# ---- that succeed --------------------------------------------------------------------------------


def test_a_getter_is_asked_for_each_read(serve):
    class Group(PVGroup):
        x = pvproperty(value=0)

        @x.getter
        def x(self, instance):
            return instance.value + 1

    client = serve(Group())
    x = client.connect("x")
    values = [client.ask(x.read(), ReadNotifyResponse).data[0] for _ in range(3)]
    assert values == [1, 2, 3]
    assert client.ask(x.subscribe(), EventAddResponse).data[0] == 4


def test_the_completion_of_a_write_waits_for_the_putter_of_its_pv_only(serve):
    group = Motor()
    client = serve(group)
    x, y = client.connect("x"), client.connect("y")
    client.send(x.write(5.0, notify=True), y.write(6.0, notify=True), y.read(), EchoRequest())
    assert [type(client.receive()) for _ in range(3)] == [
        WriteNotifyResponse, ReadNotifyResponse, EchoResponse
    ]
    assert group.begun.wait(PATIENCE) and not group.ended.is_set()
    group.go_on.set()
    reply = client.receive(WriteNotifyResponse)
    assert reply.status == 1 and group.ended.is_set()
    assert group.x.value == 5.0


def test_writes_to_one_pv_are_put_in_order_and_each_is_completed(serve):
    puts = []

    class Group(PVGroup):
        x = pvproperty(value=0)

        @x.putter
        def x(self, instance, value):
            puts.append(int(value))

    client = serve(Group())
    x = client.connect("x")
    writes = [x.write(number, notify=True) for number in range(200)]
    client.send(*writes)
    replies = [client.receive(WriteNotifyResponse) for _ in writes]
    assert [reply.ioid for reply in replies] == [write.ioid for write in writes]
    assert puts == list(range(200))


def test_two_clients_do_not_wait_for_each_others_putters(serve):
    group = Motor()
    first = serve(group)
    first.send(first.connect("x").write(1.0, notify=True))
    assert group.begun.wait(PATIENCE)
    with RawClient(first.socket.getpeername()) as second:
        y = second.connect("y")
        assert second.ask(y.write(2.0, notify=True), WriteNotifyResponse).status == 1
        assert not group.ended.is_set()
        group.go_on.set()
    assert first.receive(WriteNotifyResponse).status == 1


def test_a_startup_runs_in_a_thread_of_its_own_until_the_server_stops(serve):
    seen: list[threading.Thread] = []

    class Group(PVGroup):
        x = pvproperty(value=0)

        @x.startup
        def x(self, instance):
            seen.append(threading.current_thread())
            while not self.stopping.wait(0.01):
                instance.write(instance.value + 1)

    group = Group("some:")
    client = serve(group)
    client.send(client.connect("some:x").subscribe())
    while client.receive(EventAddResponse).data[0] < 3:
        pass
    assert seen[0].daemon and "some:x" in seen[0].name
    group.stopping.set()
    seen[0].join(PATIENCE)
    assert not seen[0].is_alive()


def test_startups_that_wait_for_stopping_end_with_the_server():
    class Group(PVGroup):
        x = pvproperty(value=0)

        @x.startup
        def x(self, instance):
            self.stopping.wait()

    group = Group()
    server = OwnServer(group).start()
    started = time.monotonic()
    server.stop()
    assert time.monotonic() - started < PATIENCE
    assert not [thread for thread in threading.enumerate() if "ca-startup" in thread.name]
    server = OwnServer(group).start()  # a group may be served again
    assert not group.stopping.is_set()
    server.stop()


def test_a_scan_follows_its_period_and_a_new_one_at_once(serve):
    class Group(PVGroup):
        dt = pvproperty(value=1000.0)
        x = pvproperty(value=0)

        @x.scan(period=dt)
        def x(self, instance):
            instance.write(instance.value + 1)

    client = serve(Group())
    x, dt = client.connect("x"), client.connect("dt")
    client.send(x.subscribe())
    while client.receive(EventAddResponse).data[0] != 1:  # the first call is at the start
        pass
    started = time.monotonic()
    client.send(dt.write(0.01, notify=False))
    while client.receive(EventAddResponse).data[0] < 11:
        pass
    assert 0.08 < time.monotonic() - started < PATIENCE
    client.ask(dt.write(0.0, notify=True), WriteNotifyResponse)  # pauses it
    resting = client.ask(x.read(), ReadNotifyResponse).data[0]
    client.ask(dt.write(0.01, notify=True), WriteNotifyResponse)
    while client.receive(EventAddResponse).data[0] < resting + 3:
        pass


def test_a_period_that_is_no_number_does_not_stop_the_server(serve):
    class Group(PVGroup):
        period = pvproperty(value="0.01")
        count = pvproperty(value=0)

        @count.scan(period=period)
        def count(self, instance):
            instance.write(instance.value + 1)

    group = Group()
    client = serve(group)
    count = client.connect("count")
    client.send(count.subscribe())
    while client.receive(EventAddResponse).data[0] < 3:
        pass
    client.send(client.connect("period").write("soon", notify=False))
    assert client.ask(count.read(), ReadNotifyResponse).data[0] >= 3
    client.send(client.connect("period").write("0.02", notify=False))
    reached = group.count.value
    while client.receive(EventAddResponse).data[0] < reached + 3:
        pass


def test_a_slow_scan_is_never_called_twice_at_the_same_time(serve):
    running = threading.Lock()
    overlaps = []

    class Group(PVGroup):
        x = pvproperty(value=0)
        y = pvproperty(value=0)

        @x.scan(period=0.001)
        def x(self, instance):
            if not running.acquire(blocking=False):
                overlaps.append(instance.value)
                return
            self.stopping.wait(0.02)
            instance.write(instance.value + 1)
            running.release()

        @y.scan(period=0.001)
        def y(self, instance):
            instance.write(instance.value + 1)

    group = Group()
    client = serve(group)
    client.send(client.connect("x").subscribe())
    while client.receive(EventAddResponse).data[0] < 5:
        pass
    assert not overlaps
    assert group.y.value > group.x.value  # the quick one does not wait for the slow one


# ---- that fail -----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_putter_that_raises_fails_the_write_and_nothing_else(serve, caplog, error):
    class Group(PVGroup):
        x = pvproperty(value=1.0)

        @x.putter
        def x(self, instance, value):
            if value < 0:
                raise error("wrong on purpose")

    client = serve(Group("some:"))
    x = client.connect("some:x")
    reply = client.ask(x.write(-1.0, notify=True), WriteNotifyResponse)
    assert reply.status is CAStatus.ECA_PUTFAIL
    assert one_error(caplog, "some:x", error)
    assert client.ask(x.write(2.0, notify=True), WriteNotifyResponse).status == 1
    assert client.ask(x.read(), ReadNotifyResponse).data.tolist() == [2.0]


def test_without_notify_a_failed_write_is_told_by_an_error(serve):
    class Group(PVGroup):
        x = pvproperty(value=1.0)

        @x.putter
        def x(self, instance, value):
            raise ValueError("wrong on purpose")

    client = serve(Group())
    x = client.connect("x")
    request = x.write(-1.0, notify=False)
    error = client.ask(request, ErrorResponse)
    assert error.status is CAStatus.ECA_PUTFAIL and error.cid == x.cid
    assert bytes(error.payload[:16]) == bytes(request)[:16]


def test_a_putter_that_refuses_says_why_to_the_client_and_not_to_the_log(serve, caplog):
    class Group(PVGroup):
        x = pvproperty(value=1.0)

        @x.putter
        def x(self, instance, value):
            raise Refused("the shutter is closed", CAStatus.ECA_PUTCBINPROG)

    client = serve(Group())
    reply = client.ask(client.connect("x").write(2.0, notify=True), WriteNotifyResponse)
    assert reply.status is CAStatus.ECA_PUTCBINPROG
    assert not caplog.records


@pytest.mark.parametrize("wrong", ["text", [1.0, 2.0]])
def test_a_putter_that_returns_what_does_not_fit_fails_the_write(serve, caplog, wrong):
    class Group(PVGroup):
        x = pvproperty(value=1.0)

        @x.putter
        def x(self, instance, value):
            return wrong

    client = serve(Group("some:"))
    x = client.connect("some:x")
    assert client.ask(x.write(2.0, notify=True), WriteNotifyResponse).status is CAStatus.ECA_PUTFAIL
    assert "some:x" in caplog.text
    assert client.ask(x.read(), ReadNotifyResponse).data.tolist() == [1.0]


@pytest.mark.parametrize("error", [OSError, SystemExit])
def test_a_getter_that_raises_fails_the_read_and_nothing_else(serve, caplog, error):
    class Group(PVGroup):
        x = pvproperty(value=1.0)
        y = pvproperty(value=2.0)

        @x.getter
        def x(self, instance):
            raise error("wrong on purpose")

    client = serve(Group("some:"))
    x, y = client.connect("some:x"), client.connect("some:y")
    reply = client.ask(x.read(), ReadNotifyResponse)
    assert reply.status is CAStatus.ECA_GETFAIL and not any(reply.payload)
    assert one_error(caplog, "some:x", error)
    assert client.ask(y.read(), ReadNotifyResponse).data.tolist() == [2.0]
    assert client.ask(EchoRequest(), EchoResponse)


@pytest.mark.parametrize("error", [KeyError, SystemExit])
def test_a_scan_that_raises_is_called_again(serve, caplog, error):
    class Group(PVGroup):
        x = pvproperty(value=0)

        @x.scan(period=0.01)
        def x(self, instance):
            instance.write(instance.value + 1)
            if instance.value == 2:
                raise error("wrong on purpose")

    client = serve(Group("some:"))
    client.send(client.connect("some:x").subscribe())
    while client.receive(EventAddResponse).data[0] < 5:
        pass
    assert one_error(caplog, "some:x", error)


def test_pvs_without_a_group_are_known_by_their_names_too(caplog):
    def fail(instance: ChannelData) -> None:
        raise ValueError("wrong on purpose")

    x = ChannelDouble(value=1.0)
    x.scan, x.scan_period = fail, 1000.0
    with OwnServer({"some:x": x}):
        wait_for(lambda: caplog.records)
    assert one_error(caplog, "some:x", ValueError)


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_a_startup_that_raises_is_logged_and_the_server_serves(serve, caplog, error):
    class Group(PVGroup):
        x = pvproperty(value=1.5)

        @x.startup
        def x(self, instance):
            raise error("wrong on purpose")

    client = serve(Group("some:"))
    assert client.ask(client.connect("some:x").read(), ReadNotifyResponse).data.tolist() == [1.5]
    wait_for(lambda: caplog.records)
    assert one_error(caplog, "some:x", error)


# ---- while they run ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["putter", "getter", "scan", "startup"])
def test_stop_is_patient_for_a_moment_only(monkeypatch, kind):
    monkeypatch.setattr(_server, "PATIENCE", 0.05)
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def slow(instance: ChannelData, value: object = None) -> None:
        begun.set()
        go_on.wait(PATIENCE)
        ended.set()

    x = ChannelDouble(value=1.0)
    setattr(x, kind, slow)
    x.scan_period = 1.0
    server = OwnServer({"x": x}).start()
    with RawClient(server.address) as client:
        channel = client.connect("x")
        client.send(channel.write(2.0, notify=True), channel.read())
        assert begun.wait(PATIENCE)
        server.stop()
        assert not ended.is_set()  # it has returned, though the function has not
        with pytest.raises(Ended):  # and the connection is closed
            while True:
                client.receive()
    go_on.set()


def test_what_a_putter_does_after_the_stop_harms_nobody(monkeypatch, caplog):
    monkeypatch.setattr(_server, "PATIENCE", 0.01)
    group = Motor()
    server = OwnServer(group).start()
    with RawClient(server.address) as client:
        client.send(client.connect("x").write(5.0, notify=True))
        assert group.begun.wait(PATIENCE)
        server.stop()
    group.go_on.set()
    wait_for(lambda: group.x.value == 5.0)
    assert not caplog.records


@pytest.mark.parametrize("kind", ["putter", "scan", "startup"])
def test_a_function_may_stop_the_server(kind):
    stopped = threading.Event()

    def stop(instance: ChannelData, value: object = None) -> None:
        if kind != "putter":
            go_on.wait(PATIENCE)
        server.stop()
        stopped.set()

    go_on = threading.Event()
    x = ChannelDouble(value=1.0)
    setattr(x, kind, stop)
    x.scan_period = 1.0
    server = OwnServer({"x": x}).start()
    with RawClient(server.address) as client:
        channel = client.connect("x")
        if kind == "putter":
            client.send(channel.write(2.0, notify=True))
        go_on.set()
        with pytest.raises(Ended):
            client.receive()
    assert stopped.wait(PATIENCE)
