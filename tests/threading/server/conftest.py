"""Fixtures for the tests of the threaded server."""
from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from caproto.server import ChannelDouble
from tests.harness.own_server import OwnServer
from tests.harness.ports import LOOPBACK
from tests.harness.raw_client import PATIENCE


@pytest.fixture
def serve() -> Iterator[Callable[..., OwnServer]]:
    """``serve({"x": ChannelDouble(value=1.5)}, server_port=…)``: a running server."""
    servers: list[OwnServer] = []

    def start(pvs=None, **changes) -> OwnServer:
        server = OwnServer({"x": ChannelDouble(value=1.5)} if pvs is None else pvs, **changes)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def udp() -> Iterator[Callable[..., socket.socket]]:
    """``udp(host)``: a datagram socket with an address, closed after the test."""
    sockets: list[socket.socket] = []

    def make(host: str = LOOPBACK) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sockets.append(sock)
        sock.bind((host, 0))
        sock.settimeout(PATIENCE)
        return sock

    yield make
    for sock in sockets:
        sock.close()
