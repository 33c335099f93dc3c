"""The networks of the tests, tested: what is lost is lost, and nothing is left behind."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from tests.harness.ioc_process import ROOT, clean_environ
from tests.harness.namespaces import Network, RemoteFailed, environ
from tests.harness.waiting import wait_for

pytestmark = pytest.mark.usefixtures("networks")

ECHO = """
import socket
sock = socket.socket(type=socket.SOCK_DGRAM)
sock.settimeout(0.2)
def echoed(address):
    sock.sendto(b"x", address)
    return sock.recv(10).decode()
"""


@pytest.fixture
def net():
    with Network() as network:
        yield network


def _interfaces() -> list[str]:
    return sorted(os.listdir("/sys/class/net"))


def test_packets_pass_or_are_dropped_or_refused(net):
    near, far = net.host(), net.host()
    link = net.link(near, far)
    server, client = net.python(far, environ()), net.python(near, environ())
    server.do(
        "import socket, threading",
        "sock = socket.create_server(('', 7000))",
        "udp = socket.socket(type=socket.SOCK_DGRAM)",
        "udp.bind(('', 7000))",
        "def echo():",
        "    while True: udp.sendto(*udp.recvfrom(10))",
        "threading.Thread(target=echo, daemon=True).start()",
    )
    client.do(ECHO)
    question = f"echoed(('{link.far}', 7000))"
    assert client.ask(question) == "x"
    far.drop("udp dport 7000")
    assert client.error(question).startswith("TimeoutError")
    far.let_pass()
    assert client.ask(question) == "x"
    near.refuse("udp dport 7000")
    assert client.error(question).startswith("PermissionError")
    near.let_pass()
    link.down()
    assert "Network is unreachable" in client.error(question)
    link.up()
    assert client.ask(question) == "x"


def test_this_machine_does_not_see_the_links(net):
    before = _interfaces()
    net.link(net.host(), net.host())
    assert _interfaces() == before


def test_what_fails_at_another_host_fails_the_test(net):
    remote = net.python(net.host(), environ())
    with pytest.raises(RemoteFailed, match="ZeroDivisionError"):
        remote.ask("1 / 0")
    with pytest.raises(RemoteFailed, match="nothing was raised; the value is 1"):
        remote.error("1")
    with pytest.raises(RemoteFailed, match="no answer within 0.2 s"):
        remote.do("import time; time.sleep(1)", timeout=0.2)


def test_nothing_outlives_a_test_run_that_was_killed():
    script = """
        import signal
        from tests.harness.namespaces import Network, environ
        net = Network()
        hosts = net.host(), net.host()
        net.link(*hosts)
        remote = net.python(hosts[0], environ())
        remote.do("1")
        print(*(host.pid for host in hosts), remote.ask("__import__('os').getpid()"), flush=True)
        signal.pause()
    """
    run = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=clean_environ(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with run:
        assert run.stdout is not None
        pids = run.stdout.readline().split()
        assert len(pids) == 3
        run.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
