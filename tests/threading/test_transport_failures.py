"""The loop of the threads that serve sockets: what fails in it, outside of their turns."""
from __future__ import annotations

import logging
import threading

import pytest

from caproto import ClientConfiguration
from caproto.threading import _waiting
from caproto.threading._waiting import Poller
from caproto.threading.client import Context, _search_service
from tests.harness.ports import LOOPBACK


class Failing(Poller):
    """Fails once, in the thread with a certain name."""

    thread = ""
    failed: tuple[str, ...] = ()

    def wait(self, deadline, writing=False):
        name = threading.current_thread().name
        if Failing.thread and name.startswith(Failing.thread):
            Failing.thread, Failing.failed = "", (*Failing.failed, name)
            raise MemoryError
        return super().wait(deadline, writing)


@pytest.mark.parametrize("thread", ["ca-circuit", "ca-udp", "ca-names"])
def test_what_fails_between_two_turns_ends_no_search_and_loses_no_pv(
    start_server, thread, monkeypatch, caplog, wait_for
):
    monkeypatch.setattr(_waiting, "Poller", Failing)
    monkeypatch.setattr(Failing, "failed", ())
    monkeypatch.setattr(Failing, "thread", thread)
    monkeypatch.setattr(_search_service, "PAUSE", 0.01)
    server = start_server({"x": 1.5, "y": 2.5, "z": 3.5})
    names = f"{LOOPBACK}:{server.port}" if thread == "ca-names" else ""
    environ = {**server.environ, "EPICS_CA_NAME_SERVERS": names}
    configuration = ClientConfiguration.from_environment(environ)
    with (
        caplog.at_level(logging.ERROR, "caproto"),
        Context(configuration=configuration, timeout=20) as ctx,
    ):
        (x,) = ctx.get_pvs("x")
        x.read()
        wait_for(lambda: Failing.failed)
        assert ctx.get_pvs("y")[0].read().data[0] == 2.5 and x.read().data[0] == 1.5
    assert "Unexpected error" in caplog.text
