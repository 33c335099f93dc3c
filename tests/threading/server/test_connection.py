"""The thread that serves one client, with a client over the loopback that may be slow or wrong."""
from __future__ import annotations

import gc
import logging
import socket
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator, Mapping

import numpy
import pytest

from caproto import (
    CAStatus,
    ChannelType,
    CreateChFailResponse,
    EchoRequest,
    EchoResponse,
    ErrorResponse,
    EventAddResponse,
    LocalProtocolError,
    ReadNotifyResponse,
    VersionResponse,
    WriteNotifyResponse,
)
from caproto._server.directory import Directory
from caproto.server import ChannelData, ChannelDouble, ChannelInteger
from caproto.threading.server import _connection
from caproto.threading.server._connection import HIGH_WATER, MAX_JOBS, Connection
from caproto.threading.server._workers import Workers
from tests.conformance.items import item
from tests.harness.ports import LOOPBACK
from tests.harness.raw_client import PATIENCE, Ended, RawClient
from tests.harness.waiting import wait_for


class Listener:
    """Accepts clients and gives each its Connection, as a server would."""

    def __init__(self, pvs: Mapping[str, ChannelData]) -> None:
        self.directory = Directory(pvs)
        self.workers = Workers()
        self.served: list[Connection] = []
        self.gone: list[Connection] = []
        self._clients: list[RawClient] = []
        self._socket = socket.create_server((LOOPBACK, 0))

    def client(self, **options) -> RawClient:
        """A new client, accepted and served."""
        client = RawClient(self._socket.getsockname(), **options)
        self._clients.append(client)
        sock, address = self._socket.accept()
        if options.get("small_buffer"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 15)
        served = Connection(
            sock, address, self.directory, self.workers, self.gone.append, port=5064
        )
        self.served.append(served)
        served.start()
        return client

    def wait_gone(self, count: int = 1) -> None:
        wait_for(lambda: len(self.gone) == count, PATIENCE, "the client to be gone")

    def close(self) -> None:
        for client in self._clients:
            client.close()
        for served in self.served:
            served.stop()
            served.thread.join(PATIENCE)
        assert self.workers.stop(PATIENCE)
        self._socket.close()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """``listen({"x": ChannelDouble(value=1.5)})``"""
    listeners: list[Listener] = []

    def make(pvs: Mapping[str, ChannelData] | None = None) -> Listener:
        listener = Listener(pvs or {"x": ChannelDouble(value=1.5)})
        listeners.append(listener)
        return listener

    yield make
    for listener in listeners:
        listener.close()


class Slow:
    """A putter that says that it has begun, and waits until it may end."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, instance: ChannelData, value: float) -> None:
        self.begun.set()
        assert self.go_on.wait(PATIENCE)


# ---- requests and replies ----------------------------------------------------------------------


@item(58)
def test_the_greeting_comes_without_being_asked_for(listen):
    client = listen().client(greet=False)
    assert client.receive() == VersionResponse(13)


def test_many_requests_in_one_piece_are_answered_in_order(listen):
    client = listen().client()
    x = client.connect("x")
    requests = [x.read() for _ in range(500)]
    client.send(*requests, EchoRequest())
    replies = [client.receive() for _ in range(501)]
    assert [reply.ioid for reply in replies[:-1]] == [request.ioid for request in requests]
    assert type(replies[-1]) is EchoResponse


def test_a_request_that_comes_byte_by_byte_is_answered(listen):
    client = listen().client()
    x = client.connect("x")
    for byte in b"".join(map(bytes, client.circuit.send(x.read()))):
        client.send_raw(bytes([byte]))
    assert client.receive(ReadNotifyResponse).data.tolist() == [1.5]


def test_a_read_behind_a_write_sees_what_a_quick_putter_made_of_it(listen, monkeypatch):
    monkeypatch.setattr(_connection, "GRACE", PATIENCE)  # a busy machine is not quick
    data = ChannelDouble(value=0.0)

    def put(instance: ChannelData, value: float) -> float:
        threading.Event().wait(0.01)
        return 2 * value

    data.putter = put
    client = listen({"x": data}).client()
    x = client.connect("x")
    client.send(x.write(21.0, notify=False), x.read())
    assert client.receive(ReadNotifyResponse).data.tolist() == [42.0]


@item(67)
def test_while_a_putter_runs_the_other_requests_of_its_client_are_answered(listen):
    slow, putter = ChannelDouble(value=0.0), Slow()
    slow.putter = putter
    client = listen({"slow": slow, "x": ChannelDouble(value=1.5)}).client()
    motor, x = client.connect("slow"), client.connect("x")
    first, second = motor.write(3.0, notify=True), x.write(2.5, notify=True)
    client.send(first, x.read(), motor.read(), second, EchoRequest())
    answers = [client.receive() for _ in range(4)]
    assert [type(answer) for answer in answers] == [
        ReadNotifyResponse, ReadNotifyResponse, WriteNotifyResponse, EchoResponse
    ]
    assert answers[1].data.tolist() == [0.0]  # not stored yet
    putter.go_on.set()
    done = client.receive()
    assert type(done) is WriteNotifyResponse and done.status == 1
    assert client.ask(motor.read(), ReadNotifyResponse).data.tolist() == [3.0]


def test_slow_putters_of_one_client_do_not_add_up(listen, monkeypatch):
    """Patience with the first is shown once, not for each request behind it."""
    monkeypatch.setattr(_connection, "GRACE", 1.0)
    putters = [Slow() for _ in range(30)]
    pvs = {f"slow{i}": ChannelDouble(value=0.0) for i in range(30)}
    for data, putter in zip(pvs.values(), putters, strict=True):
        data.putter = putter
    client = listen(pvs).client()
    channels = [client.connect(name) for name in pvs]
    client.socket.settimeout(15)  # half of what thirty times the patience would be
    client.send(*(channel.write(1.0, notify=True) for channel in channels))
    assert type(client.ask(EchoRequest(), EchoResponse)) is EchoResponse
    for putter in putters:
        assert putter.begun.wait(PATIENCE)
        putter.go_on.set()
    replies = [client.receive() for _ in putters]
    assert all(type(reply) is WriteNotifyResponse for reply in replies)


def test_the_completion_of_a_client_that_is_gone_harms_nobody(listen, caplog):
    data, putter = ChannelDouble(value=0.0), Slow()
    data.putter = putter
    listener = listen({"x": data})
    first, second = listener.client(), listener.client()
    x = first.connect("x")
    first.send(x.write(7.0, notify=True))
    assert putter.begun.wait(PATIENCE)
    first.reset()
    listener.wait_gone()
    putter.go_on.set()
    wait_for(lambda: data.value == 7.0, PATIENCE)
    assert second.ask(second.connect("x").read(), ReadNotifyResponse).data.tolist() == [7.0]
    assert not caplog.records


# ---- clients that do not read ------------------------------------------------------------------


@item(72)
def test_a_client_that_does_not_read_costs_little_and_gets_the_last_value(listen):
    """Each of its subscriptions: in order, and ending with the newest value."""
    size = 100_000
    waves = [ChannelInteger(value=[0] * size) for _ in range(3)]
    listener = listen({f"wave{i}": wave for i, wave in enumerate(waves)})
    client = listener.client(small_buffer=True)
    for channel in [client.connect(f"wave{i}") for i in range(3)]:
        client.ask(channel.subscribe(ChannelType.TIME_LONG), EventAddResponse)
    served = listener.served[0]
    tracemalloc.start()
    try:
        for number in range(1, 201):
            for i, wave in enumerate(waves):
                wave.write(numpy.full(size, 1000 * i + number, numpy.int32))
        allocated, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert allocated < 20e6  # of the 240 MB that were written
    assert served._waiting_bytes < HIGH_WATER + 4 * size + 100
    seen: list[list[int]] = [[], [], []]
    while not all(numbers and numbers[-1] == 200 for numbers in seen):
        update = client.receive(EventAddResponse)
        first, last = int(update.data[0]), int(update.data[-1])
        assert first == last and len(update.data) == size
        seen[first // 1000].append(first % 1000)
    assert all(numbers == sorted(set(numbers)) for numbers in seen)
    assert served.session.updates.merged > 0


def test_a_client_that_does_not_read_disturbs_no_other(listen):
    data = ChannelInteger(value=[0] * 100_000)
    listener = listen({"wave": data})
    lazy, busy = listener.client(small_buffer=True), listener.client()
    for client in (lazy, busy):
        client.send(client.connect("wave").subscribe())
        client.receive(EventAddResponse)
    for number in range(1, 51):
        data.write(numpy.full(100_000, number, numpy.int32))
        assert busy.receive(EventAddResponse).data[0] == number  # none is missing


@item(72)
def test_requests_of_a_client_that_does_not_read_are_not_read_either(listen):
    """Else the replies would fill our memory: it is the client who has to wait."""
    listener = listen({"wave": ChannelInteger(value=list(range(100)))})
    client = listener.client(small_buffer=True)
    wave = client.connect("wave")
    served, highest = listener.served[0], 0
    requests = [wave.read() for _ in range(20_000)]  # 0.3 MB; the replies are 8.3 MB
    writer = threading.Thread(target=client.send, args=requests)
    writer.start()
    wait_for(lambda: served._waiting_bytes >= HIGH_WATER, PATIENCE)
    for request in requests:  # it is the server that is faster
        reply = client.receive()
        assert reply.ioid == request.ioid
        highest = max(highest, served._waiting_bytes)
    writer.join()
    assert highest < HIGH_WATER + 65536 // 16 * 416 + 1000  # what one read may ask for


def test_of_a_client_that_writes_faster_than_the_putter_puts_little_waits_here(listen):
    puts: list[int] = []
    data, slow = ChannelInteger(value=0), Slow()

    def put(instance: ChannelData, value: int) -> None:
        if not puts:
            slow(instance, value)
        puts.append(int(value))

    data.putter = put
    listener = listen({"x": data})
    client = listener.client()
    x = client.connect("x")
    writes = [x.write(number, notify=False) for number in range(10_000)]
    writer = threading.Thread(target=client.send, args=[*writes, EchoRequest()])
    writer.start()
    served = listener.served[0]
    wait_for(lambda: served._jobs >= MAX_JOBS, PATIENCE)
    waiting: list[int] = []
    with listener.client() as other:  # is not affected
        y = other.connect("x")
        for _ in range(300):
            assert other.ask(y.read(), ReadNotifyResponse).data.tolist() == [0]
            waiting.append(served._jobs)
    slow.go_on.set()
    wait_for(lambda: waiting.append(served._jobs) or len(puts) == len(writes), PATIENCE)
    assert client.receive(EchoResponse)
    writer.join()
    assert puts == list(range(10_000))  # nothing is lost
    assert max(waiting) <= MAX_JOBS + 65536 // 24  # what one read may bring


# ---- ends --------------------------------------------------------------------------------------


def test_replies_reach_a_client_that_has_said_all_it_wants_to_say(listen):
    listener = listen({"wave": ChannelInteger(value=numpy.zeros(25_000, numpy.int32))})
    client = listener.client(small_buffer=True)
    wave = client.connect("wave")
    requests = [wave.read() for _ in range(20)]  # the replies are 2 MB
    client.send(*requests)
    client.half_close()
    assert [reply.ioid for reply in client.rest()] == [request.ioid for request in requests]
    listener.wait_gone()


@pytest.mark.parametrize("ending", ["close", "reset", "half_close"])
def test_a_client_that_goes_is_forgotten(listen, ending):
    data = ChannelDouble(value=1.5)
    listener = listen({"x": data})
    client = listener.client()
    x = client.connect("x")
    client.ask(x.subscribe(), EventAddResponse)
    session = weakref.ref(listener.served[0].session)
    getattr(client, ending)()
    listener.wait_gone()
    listener.served[0].thread.join(PATIENCE)
    assert not listener.served[0].thread.is_alive()
    listener.served.clear()
    listener.gone.clear()
    gc.collect()
    assert session() is None  # the PV holds nothing of it
    data.write(2.5)


def test_stop_hangs_up(listen):
    listener = listen()
    client = listener.client()
    client.connect("x")
    served = listener.served[0]
    served.stop()
    with pytest.raises(Ended):
        client.receive()
    listener.wait_gone()
    served.stop()  # once more does no harm


def test_stop_does_not_wait_for_a_client_that_does_not_read(listen):
    listener = listen({"wave": ChannelInteger(value=numpy.zeros(1_000_000, numpy.int32))})
    client = listener.client(small_buffer=True)
    client.send(client.connect("wave").read())
    served = listener.served[0]
    wait_for(lambda: served._waiting_bytes, PATIENCE)
    served.stop()
    served.thread.join(PATIENCE)
    assert not served.thread.is_alive()


# ---- clients that are wrong --------------------------------------------------------------------


@item(76)
def test_after_nonsense_the_client_is_told_why_and_the_connection_ends(listen, caplog):
    listener = listen()
    client = listener.client()
    x = client.connect("x")
    client.send_raw(*client.circuit.send(x.read()), b"\x00\x63" + bytes(14))  # command 99
    reply, error = client.rest()
    assert type(reply) is ReadNotifyResponse  # what came before the nonsense is answered
    assert type(error) is ErrorResponse and error.status is CAStatus.ECA_INTERNAL
    assert "99" in error.error_message
    listener.wait_gone()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "99" in record.getMessage()


def test_a_client_that_does_not_take_our_last_words_is_given_up(listen, monkeypatch):
    monkeypatch.setattr(_connection, "FAREWELL", 0.1)
    listener = listen({"wave": ChannelInteger(value=[1] * 60_000)})
    client = listener.client(small_buffer=True)
    client.send(client.connect("wave").read())
    client.send_raw(b"\x00\x63" + bytes(14))
    listener.wait_gone()  # though it neither reads nor hangs up


def test_a_mistake_of_ours_in_a_request_costs_one_client_only(listen, monkeypatch, caplog):
    listener = listen()
    good, bad = listener.client(), listener.client()
    x = good.connect("x")

    def fail(command: object) -> None:
        raise ZeroDivisionError("wrong on purpose")

    monkeypatch.setattr(listener.served[1].session, "process", fail)
    bad.send(EchoRequest())
    assert [type(command) for command in bad.rest()] == [VersionResponse]
    listener.wait_gone()
    assert good.ask(x.read(), ReadNotifyResponse).status == 1
    (record,) = caplog.records
    assert f":{bad.socket.getsockname()[1]}" in record.getMessage()
    assert record.exc_info[0] is ZeroDivisionError


def test_a_reply_that_cannot_be_sent_ends_the_connection(listen, monkeypatch, caplog):
    listener = listen()
    client = listener.client()
    client.connect("x")

    def fail() -> None:
        raise LocalProtocolError("wrong on purpose")

    monkeypatch.setattr(listener.served[0].session, "take", fail)
    client.send(EchoRequest())
    assert client.rest() == []
    listener.wait_gone()
    assert "wrong on purpose" in caplog.text


# ---- diagnosis ---------------------------------------------------------------------------------


def test_with_debug_logging_each_command_of_the_client_is_shown(listen, caplog):
    with caplog.at_level(logging.DEBUG, "caproto"):
        client = listen().client()
        client.send(EchoRequest())
        client.receive(EchoResponse)
    shown = [r.getMessage() for r in caplog.records if getattr(r, "direction", "") == "<<<---"]
    assert any("EchoRequest" in text for text in shown)


def test_unknown_names_do_not_end_the_connection(listen):
    client = listen().client()
    client.send_raw(bytes.fromhex("0012000800000000000000090000000d") + b"nope\0\0\0\0")
    assert client.circuit.channels == {}
    data = client.socket.recv(4096)
    while len(data) < 32:  # VERSION, CREATE_CH_FAIL
        data += client.socket.recv(4096)
    assert data[16:] == bytes(CreateChFailResponse(9))
    client.circuit.recv(data[:16])
    client.connect("x")
