"""The threaded server: its life, its ports, and clients that come, go and misbehave."""
from __future__ import annotations

import gc
import random
import time
import warnings

import numpy
import pytest

from caproto import (
    CaprotoNetworkError,
    CaprotoRuntimeError,
    EventAddResponse,
    ReadNotifyResponse,
    VersionResponse,
)
from caproto._environment import ClientConfiguration
from caproto.server import ChannelDouble, ChannelInteger, ChannelString, PVGroup, pvproperty
from caproto.threading.client import Context
from caproto.threading.server import Server, _loop
from caproto.threading.server._connection import Connection
from tests.conformance.items import item
from tests.harness.own_server import OwnServer, loopback
from tests.harness.ports import LOOPBACK, free_port
from tests.harness.raw_client import PATIENCE, Ended, RawClient
from tests.harness.waiting import wait_for


def read(client: RawClient, name: str = "x") -> float:
    return float(client.ask(client.connect(name).read(), ReadNotifyResponse).data[0])


# ---- life ----------------------------------------------------------------------------------------


def test_when_start_returns_clients_can_connect(serve):
    server = serve()
    with RawClient(server.address) as client:
        assert client.receive() == VersionResponse(13)
        assert read(client) == 1.5
    wait_for(lambda: not server.clients)


def test_a_client_of_ours_finds_it(serve):
    class Group(PVGroup):
        x = pvproperty(value=1.5)

    server = serve(Group(prefix="some:"))
    environ = server.environ
    port = int(environ["EPICS_CA_SERVER_PORT"])
    with Context(configuration=ClientConfiguration.from_environment(environ)) as ctx:
        (x,) = ctx.get_pvs("some:x")
        assert x.read(timeout=PATIENCE).data.tolist() == [1.5]
        x.write(2.5, timeout=PATIENCE)
    assert port == server.udp_port
    assert server.pvdb["some:x"].value == 2.5


def test_names_as_long_as_a_datagram_and_texts_in_latin1(serve):
    names = ["x" * 991, "r" * 60 + ".{\"dbnd\": {\"abs\": 1}}", "ü" * 495]
    server = serve(
        {name.partition(".")[0]: ChannelDouble(value=3.5) for name in names}
        | {"text": ChannelString(value=""), "many": ChannelString(value=["", ""], max_length=2)}
    )
    configuration = ClientConfiguration.from_environment(server.environ)
    with Context(configuration=configuration, timeout=PATIENCE) as ctx:
        assert [pv.read().data.tolist() for pv in ctx.get_pvs(*names)] == [[3.5]] * 3
        text, many = ctx.get_pvs("text", "many")
        text.write(b"20 \xb0C")
        assert server.pvdb["text"].value == "20 °C"
        many.write(text.read().strings + ["x"])
        assert many.read().data.tolist() == [b"20 \xb0C", b"x"]


def test_clients_are_those_that_are_connected(serve):
    server = serve()
    assert server.clients == ()
    with RawClient(server.address) as client:
        read(client)
        (one,) = server.clients
        assert isinstance(one, Connection)
        assert one.address == client.socket.getsockname()
        assert "1 client>" in repr(server) and str(server.tcp_port) in repr(server)
    wait_for(lambda: server.clients == ())


def test_stop_ends_everything_and_may_be_called_twice(serve):
    server = serve()
    address = server.address
    with RawClient(address) as client:
        read(client)
        server.stop()
        server.stop()
        with pytest.raises(Ended):
            client.receive()
    with pytest.raises(OSError):
        RawClient(address)


def test_the_port_can_be_had_again_at_once(serve):
    first = serve()
    with RawClient(first.address) as client:
        read(client)
        first.stop()  # it is our side that closes, so the kernel remembers the connection
        second = serve(server_port=first.tcp_port)
        assert second.tcp_port == first.tcp_port


def test_a_server_starts_once(serve):
    server = serve()
    with pytest.raises(CaprotoRuntimeError, match="running"):
        server.start()
    server.stop()
    with pytest.raises(CaprotoRuntimeError, match="stopped"):
        server.start()


def test_a_server_that_is_never_started_holds_nothing():
    server = Server({"x": ChannelDouble(value=1.5)}, loopback())
    assert "new" in repr(server)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        server.stop()
        del server
        gc.collect()


def test_pvs_that_are_added_later_are_served(serve):
    pvs = {"x": ChannelDouble(value=1.5)}
    server = serve(pvs)
    with RawClient(server.address) as client:
        assert read(client) == 1.5
        pvs["y"] = ChannelDouble(value=2.5)
        assert read(client, "y") == 2.5


def test_two_servers_may_serve_the_same_pv(serve):
    pvs = {"x": ChannelDouble(value=1.5)}
    one, two = serve(pvs), serve(pvs)
    with RawClient(one.address) as writer, RawClient(two.address) as reader:
        reader.ask(reader.connect("x").subscribe(), EventAddResponse)
        writer.send(writer.connect("x").write(7.5, notify=False))
        assert reader.receive(EventAddResponse).data.tolist() == [7.5]
        one.stop()
        pvs["x"].write(8.5)
        assert reader.receive(EventAddResponse).data.tolist() == [8.5]


def test_the_environment_is_the_default_configuration(monkeypatch):
    monkeypatch.setenv("EPICS_CAS_INTF_ADDR_LIST", LOOPBACK)
    monkeypatch.setenv("EPICS_CAS_SERVER_PORT", str(port := free_port()))
    monkeypatch.setenv("EPICS_CAS_AUTO_BEACON_ADDR_LIST", "NO")
    started = time.monotonic()
    with Server({"x": ChannelString(value="hello")}) as server:
        assert (server.tcp_port, server.udp_port) == (port, port)
    assert time.monotonic() - started < PATIENCE


# ---- many clients, and bad ones ------------------------------------------------------------------


@item(84)
def test_random_bytes_on_circuits_do_not_disturb_the_others(serve):
    server = serve()
    choose = random.Random(5)
    with RawClient(server.address) as good:
        x = good.connect("x")
        for _ in range(100):
            bad = RawClient(server.address, greet=choose.random() < 0.7)
            try:
                bad.send_raw(choose.randbytes(choose.choice((1, 15, 16, 100, 5000, 100_000))))
            except ConnectionError:
                pass
            finally:
                bad.close()
            assert good.ask(x.read(), ReadNotifyResponse).data.tolist() == [1.5]
        wait_for(lambda: len(server.clients) == 1)


@item(72)
def test_a_client_that_never_reads_does_not_hold_up_the_others(serve):
    wave = ChannelInteger(value=numpy.zeros(200_000, numpy.int32))
    server = serve({"wave": wave, "x": ChannelDouble(value=1.5)})
    with RawClient(server.address, small_buffer=True) as lazy, RawClient(server.address) as busy:
        for client in (lazy, busy):
            client.ask(client.connect("wave").subscribe(), EventAddResponse)
        for number in range(1, 31):
            wave.write(numpy.full(200_000, number, numpy.int32))
            assert busy.receive(EventAddResponse).data[0] == number
        with RawClient(server.address) as late:
            assert read(late) == 1.5
        seen = [0]
        while seen[-1] != 30:  # the last value comes, whatever was left out
            seen.append(int(lazy.receive(EventAddResponse).data[-1]))
        assert seen == sorted(seen)


def test_many_clients_at_once(serve):
    x = ChannelDouble(value=0.0)
    server = serve({"x": x})
    clients = [RawClient(server.address) for _ in range(100)]
    try:
        channels = [client.connect("x") for client in clients]
        for client, channel in zip(clients, channels, strict=True):
            client.ask(channel.subscribe(), EventAddResponse)
        assert len(server.clients) == 100
        x.write(1.0)
        for client in clients:
            assert client.receive(EventAddResponse).data.tolist() == [1.0]
    finally:
        for client in clients:
            client.close()
    wait_for(lambda: not server.clients)


def test_after_a_failed_start_there_is_nothing_to_stop(serve):
    server = OwnServer({}, interfaces=("no-such-host.invalid",))
    with pytest.raises(CaprotoNetworkError):
        server.start()
    server.stop()
    with pytest.raises(CaprotoRuntimeError, match="stopped"):
        server.start()


def test_a_start_that_fails_late_leaves_nothing_open(monkeypatch):
    def fail(**_: object) -> None:
        raise OSError("wrong on purpose")

    monkeypatch.setattr(_loop, "bcast_socket", fail)
    server = OwnServer({})
    with pytest.raises(CaprotoNetworkError, match="cannot start the server: wrong on purpose"):
        server.start()
    with pytest.raises(OSError):
        RawClient(server.address)
