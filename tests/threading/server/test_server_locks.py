"""The law of locks in the server: enforced while clients, writers and scans keep it busy."""
from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator

import pytest

from caproto import AccessRights, CaprotoError, EventAddResponse, ReadNotifyResponse, _locks
from caproto._os.sockets import WakeUp
from caproto.server import ChannelData, PVGroup, pvproperty
from caproto.threading import _waiting
from caproto.threading.server import _connection, _loop
from tests.harness.discipline import Discipline
from tests.harness.own_server import OwnServer
from tests.harness.raw_client import Ended, RawClient


class Busy(PVGroup):
    """Functions of every kind; all of them are foreign code."""

    plain = pvproperty(value=0.0)
    got = pvproperty(value=0)
    put = pvproperty(value=0.0)
    scanned = pvproperty(value=0)
    guarded = pvproperty(value=0.0)

    @got.getter
    def got(self, instance: ChannelData) -> int:
        return int(instance.value) + 1

    @put.putter
    def put(self, instance: ChannelData, value: float) -> None:
        self.plain.write(value)

    @scanned.scan(period=0.002)
    def scanned(self, instance: ChannelData) -> None:
        instance.write(instance.value + 1)

    @guarded.startup
    def guarded(self, instance: ChannelData) -> None:
        while not self.stopping.wait(0.002):
            instance.access_rights = AccessRights(1)
            instance.access_rights = AccessRights(3)


@pytest.fixture
def discipline(monkeypatch) -> Iterator[Discipline]:
    """Whatever blocks and whatever the user has written is watched."""
    rules = Discipline(monkeypatch)
    for owner, name in (
        (_waiting.OneShot, "wait_until"),
        (WakeUp, "wait"),
        (threading.Thread, "start"),
        (threading.Event, "wait"),
        (_loop.ServerLoop, "_answer"),
        (_connection.Connection, "_receive"),
        (_connection.Connection, "_send"),
        (ChannelData, "check_access"),
    ):
        rules.forbid(owner, name)
    for name in ("got", "put", "scanned", "guarded"):
        for hook in ("getter_function", "putter_function", "scan_function", "startup_function"):
            declaration = vars(Busy)[name]
            if getattr(declaration, hook) is not None:
                rules.forbid(declaration, hook)
    with rules.logging():
        yield rules


def test_no_lock_is_held_while_anything_foreign_or_blocking_happens(discipline):
    group = Busy()
    failures: list[BaseException] = []
    over = threading.Event()

    def write() -> None:
        number = 0.0
        while not over.wait(0.001):
            number += 1
            group.plain.write(number)

    def use(seed: int) -> None:
        choose = random.Random(seed)
        try:
            while not over.is_set():
                with RawClient(server.address) as client:
                    channels = [client.connect(name) for name in group.pvdb]
                    filtered = client.connect('plain.{"dec":{"n":2}}')
                    for channel in (*channels, filtered):
                        client.ask(channel.subscribe(), EventAddResponse)
                    for _ in range(choose.randrange(20)):
                        client.ask(channels[1].read(), ReadNotifyResponse)
                        client.send(channels[2].write(1.0, notify=False))
        except (Ended, ConnectionError):
            assert over.is_set()
        except BaseException as exc:
            failures.append(exc)

    with OwnServer(group) as server:
        threads = [threading.Thread(target=write, daemon=True) for _ in range(2)]
        threads += [threading.Thread(target=use, args=(n,), daemon=True) for n in range(3)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 30
        while discipline.taken < 15_000 and not failures and time.monotonic() < deadline:
            over.wait(0.02)
        over.set()
        for thread in threads:
            thread.join(20)
    assert not failures
    assert discipline.offences == []
    assert discipline.taken >= 15_000 and group.scanned.value > 3


def test_offences_of_the_server_would_be_found(discipline):
    """The test above could pass because it watches nothing."""
    group = Busy()
    with OwnServer(group) as server, RawClient(server.address) as client:
        lock = _locks.Lock()
        with lock:
            group.guarded.check_access("", "")
            group.got.refresh()
            server.log.debug("a message")
            threading.Thread(target=print).start()
        client.connect("plain")
    found = {offence.rpartition(" in ")[0] for offence in discipline.offences}
    assert {"check_access", "getter_function", "emit", "start"} <= found


def test_a_log_handler_may_ask_the_server_about_its_clients(loggers_as_before):
    """It is called where we log, in any of our threads."""
    seen: list[int] = []

    class Asking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(len(server.clients))

    log = logging.getLogger("caproto")
    log.addHandler(Asking())
    log.setLevel(logging.DEBUG)
    server = OwnServer(Busy())
    with server:
        with RawClient(server.address) as client:
            client.connect("plain")
    assert 1 in seen
    with pytest.raises(CaprotoError):
        server.start()
