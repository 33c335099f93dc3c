"""Fixtures for the tests of the threads: scripted servers, and clients that find them."""
from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from caproto import ChannelType
from caproto.threading.client import Context, SharedBroadcaster
from tests.harness.fake_server import FakePV, FakeServer
from tests.harness.udp_peer import Peer
from tests.threading.client import searching


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A scripted server with some channels; the test fails if the client broke the protocol."""
    pvs = {
        "x": 1.5,
        "y": 2.5,
        "wave": FakePV([1, 2, 3], ChannelType.LONG, max_count=10),
        "text": FakePV("hello", ChannelType.STRING),
        "readonly": FakePV(7.0, rights=1),
        "writeonly": FakePV(8.0, rights=2),
    }
    with FakeServer(pvs) as running:
        yield running


@pytest.fixture
def ctx(server: FakeServer) -> Iterator[Context]:
    """A Context that finds `server`."""
    with Context(configuration=server.configuration, timeout=5) as context:
        yield context


@pytest.fixture
def real(ioc) -> Iterator[Context]:
    """A Context that finds the real IOC."""
    with Context(configuration=ioc.configuration, timeout=10) as context:
        yield context


@pytest.fixture
def start_server() -> Iterator[Callable[..., FakeServer]]:
    """``start_server({"x": 1.0}, version=…)``: further scripted servers, judged like `server`."""
    started: list[FakeServer] = []

    def start(*args, **options) -> FakeServer:
        running = FakeServer(*args, **options).start()
        started.append(running)
        return running

    yield start
    for running in started:
        running.stop()
    for running in started:
        assert not running.judge or not running.errors


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A UDP socket to search at."""
    with Peer() as made:
        yield made


@pytest.fixture
def make_broadcaster() -> Iterator[Callable[..., SharedBroadcaster]]:
    """``make_broadcaster(*destinations)``: a SharedBroadcaster that searches there only."""
    made: list[SharedBroadcaster] = []

    def start(*destinations, **options) -> SharedBroadcaster:
        times = {k: options.pop(k) for k in ("registration_retry_time",) if k in options}
        configuration = searching.configuration(*destinations, **options)
        made.append(SharedBroadcaster(configuration=configuration, **times))
        return made[-1]

    yield start
    for broadcaster in made:
        broadcaster.disconnect()
