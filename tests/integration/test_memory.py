"""What a peer claims, or sends unasked, takes no memory: neither the client's nor the server's.

Each measurement is made in a process of its own, whose peak of memory is told by the system.
"""
from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from tests.harness.ioc_process import clean_environ

#: More than was asked for, in MiB.
BOUND = 16
MB = 1 << 20

_COMMON = """
import resource, socket, struct, sys, threading, time
from caproto import ChannelType
from tests.harness.waiting import wait_for

BLOCK = bytes(1 << 16)

def peak():
    "Peak of resident memory, in MiB."
    unit = 1 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / (1 << 20)

def extended(command, size, data_type, count, p1, p2):
    return struct.pack(">HHHHIIII", command, 0xFFFF, data_type, 0, p1, p2, size, count)
"""


def measured(script: str) -> None:
    """Run *script* with the above; it asserts by itself."""
    done = subprocess.run(
        [sys.executable, "-c", _COMMON + textwrap.dedent(script)],
        env=clean_environ(PYTHONPATH="."),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


_CLIENT = """
from caproto import CaprotoError, EventAddRequest, ReadNotifyRequest
from caproto.threading.client import Context
from tests.harness.fake_server import FakePV, FakeServer

server = FakeServer(
    {"x": 1.5, "y": 2.5, "array": FakePV([0.0], ChannelType.DOUBLE, ELEMENTS)}, judge=False
).start()
context = Context(configuration=server.configuration, timeout=20)
x, y, array = context.get_pvs("x", "y", "array")
assert y.read().data[0] == 2.5 and x.read().data[0] == 1.5 and array.read().data[0] == 0.0

def stream(connection, header, size):
    connection.send_raw(header)
    for _ in range(size // len(BLOCK)):
        connection.send_raw(BLOCK)

def flood(connection, request):
    size = 200 << 20
    stream(connection, extended(request.ID, size, 6, COUNT, 1, request.fields[5]), size)

def end():
    context.disconnect()
    server.stop()
"""


@pytest.mark.parametrize("count", [1, 200 * MB // 8])
def test_200_mb_streamed_into_a_scalar_fail_one_read(count):
    measured(
        _CLIENT.replace("ELEMENTS", "10").replace("COUNT", str(count))
        + f"""
before = peak()
server.on[ReadNotifyRequest] = flood
try:
    x.read()
except CaprotoError as error:
    assert "'x'" in str(error) and str(200 << 20) in str(error), error
else:
    raise AssertionError("no error")
del server.on[ReadNotifyRequest]
assert x.read().data[0] == 1.5 and y.read().data[0] == 2.5
assert len(server.connections) == 1
assert peak() - before < {BOUND}, peak() - before
end()
"""
    )


def test_200_mb_streamed_into_a_subscription_are_no_update():
    measured(
        _CLIENT.replace("ELEMENTS", "10").replace("COUNT", "1")
        + f"""
before, seen = peak(), []
def answer(connection, request):
    flood(connection, request)
    server.usual(connection, request)
server.on[EventAddRequest] = answer
def collect(response):
    seen.append(response)
x.subscribe().add_callback(collect)
wait_for(lambda: seen)
assert seen[0].data[0] == 1.5 and len(server.connections) == 1
assert peak() - before < {BOUND}, peak() - before
end()
"""
    )


@pytest.mark.parametrize("elements", [10, 0x1FFFFFFF], ids=["small", "announced"])
def test_a_claim_of_4_gb_takes_no_memory(elements):
    """Also where the channel is announced as that large: memory comes with the bytes."""
    measured(
        _CLIENT.replace("ELEMENTS", str(elements)).replace("COUNT", "1")
        + f"""
before = peak()
def claim(connection, request):
    connection.send_raw(extended(15, 0xFFFFFFF8, 6, 0x1FFFFFFF, 1, request.ioid), BLOCK)
server.on[ReadNotifyRequest] = claim
try:
    array.read(timeout=1)
except CaprotoError as error:
    assert "'array'" in str(error)
assert peak() - before < {BOUND}, peak() - before
end()
"""
    )


def test_what_was_asked_for_takes_its_memory_once():
    """100 MB, which the client's own thread reads as fast as they come."""
    elements = 100 * MB // 8
    measured(
        _CLIENT.replace("ELEMENTS", str(elements)).replace("COUNT", "1")
        + f"""
size = {elements} * 8
def answer(connection, request):
    stream(connection, extended(15, size, 6, {elements}, 1, request.ioid), size)
server.on[ReadNotifyRequest] = answer
before = peak()
response = array.read()
assert len(response.data) == {elements} and response.data[-1] == 0.0
assert peak() - before < 100 + {BOUND}, peak() - before
end()
"""
    )


_SERVER = """
from caproto import ErrorResponse, ReadNotifyResponse
from caproto.server import ChannelDouble
from tests.harness.own_server import OwnServer
from tests.harness.raw_client import RawClient

server = OwnServer({"x": ChannelDouble(value=1.5)})
server.start()
clients = [RawClient(server.address) for _ in range(10)]
channels = [client.connect("x") for client in clients]

def still_served():
    with RawClient(server.address) as other:
        x = other.connect("x")
        assert other.ask(x.read(), ReadNotifyResponse).data[0] == 1.5

def end():
    for client in clients:
        client.close()
    server.stop()
"""


@pytest.mark.parametrize("command", [4, 19, 15, 18, 1, 23])
def test_partial_messages_that_stall_take_no_memory_of_a_server(command):
    """Five of 100 MiB, and five of 4 GiB."""
    measured(
        _SERVER
        + f"""
before = peak()
for client, channel, size in zip(clients, channels, [{100 * MB}, 0xFFFFFFF8] * 5):
    client.send_raw(extended({command}, size, 6, size // 8, channel.sid, 77) + BLOCK)
still_served()
assert peak() - before < {BOUND}, peak() - before
end()
"""
    )


def test_200_mb_written_to_a_scalar_fail_that_write():
    measured(
        _SERVER
        + f"""
before, size = peak(), 200 << 20
client, channel = clients[0], channels[0]
client.send_raw(extended(19, size, 6, size // 8, channel.sid, 77))
for _ in range(size // len(BLOCK)):
    client.send_raw(BLOCK)
refusal = client.receive(ErrorResponse)
assert refusal.original_fields[5] == 77 and str(size) in refusal.error_message, refusal
assert client.ask(channel.read(), ReadNotifyResponse).data[0] == 1.5
assert peak() - before < {BOUND}, peak() - before
end()
"""
    )
