"""The sans-I/O core alone: no sockets, no threads."""
from __future__ import annotations

import time

import caproto
from caproto import CLIENT, SERVER
from tests.benchmarks.libraries import Library
from tests.benchmarks.rig import Rig, row


def open_channel():
    """Both ends of a circuit with one connected channel, joined in memory."""
    client = caproto.VirtualCircuit(CLIENT, ("127.0.0.1", 5064), priority=0)
    server = caproto.VirtualCircuit(SERVER, ("127.0.0.1", 5065), priority=None)
    channel = caproto.ClientChannel("x", client)

    def carry(sender, receiver, *commands):
        received, _ = receiver.recv(*sender.send(*commands))
        for command in received:
            receiver.process_command(command)
        return received

    carry(client, server, caproto.VersionRequest(0, 13), channel.create())
    (peer,) = server.channels.values()
    carry(server, client, caproto.VersionResponse(13), peer.create(6, 1, 1))
    return client, server, channel, peer, carry


def updates(count: int):
    """A client's circuit with a subscription, and a chunk of *count* updates for it."""
    client, server, channel, peer, carry = open_channel()
    (request,) = carry(client, server, channel.subscribe(data_type=20))
    update = peer.subscribe([1.5], subscriptionid=request.subscriptionid, data_type=20)
    (whole,) = (b"".join(server.send(update)),)
    return client, whole * count


def received(circuit, data: bytes, process: bool) -> int:
    """Feed *data* as a reader thread does; return the number of commands."""
    total, start = 0, 0
    while start < len(data):
        buffer = circuit.get_buffer()
        part = data[start : start + len(buffer)]
        buffer[: len(part)] = part
        start += len(part)
        commands = circuit.buffer_updated(len(part))
        total += len(commands)
        if process:
            for command in commands:
                circuit.process_command(command)
    return total


@row("split a stream of 40-byte updates", "/s", at_least=1_000_000)
def split(rig: Rig, library: Library) -> float:
    count = rig.size(300_000, 1_000)
    circuit, data = updates(count)
    start = time.perf_counter()
    total = received(circuit, data, process=False)
    elapsed = time.perf_counter() - start
    assert total == count
    return count / elapsed


@row("split and check against the states", "/s", at_least=700_000)
def process(rig: Rig, library: Library) -> float:
    count = rig.size(300_000, 1_000)
    circuit, data = updates(count)
    start = time.perf_counter()
    total = received(circuit, data, process=True)
    elapsed = time.perf_counter() - start
    assert total == count
    return count / elapsed


@row("compose and send a read request", "µs", at_most=3.0)
def compose(rig: Rig, library: Library) -> float:
    count = rig.size(100_000, 100)
    circuit, _, channel, _, _ = open_channel()
    start = time.perf_counter()
    for _ in range(count):
        (buffer,) = circuit.send(channel.read())
    elapsed = time.perf_counter() - start
    assert len(buffer) == 16 and len(circuit.pending) == count
    return elapsed / count * 1e6
