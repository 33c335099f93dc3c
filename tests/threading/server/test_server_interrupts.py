"""Ctrl-C between any two lines of a start or a stop; the exit of the interpreter; a fork."""
from __future__ import annotations

import gc
import signal
import socket
import subprocess
import sys
import textwrap
import threading

import pytest

from caproto import CaprotoError, CaprotoRuntimeError
from caproto.server import ChannelData, PVGroup, pvproperty
from tests.harness.interrupts import enter_each_line, interrupt_each_line
from tests.harness.ioc_process import ROOT, clean_environ
from tests.harness.leaks import open_sockets, our_threads
from tests.harness.own_server import OwnServer
from tests.harness.ports import LOOPBACK, free_port
from tests.harness.raw_client import PATIENCE, RawClient
from tests.harness.waiting import wait_for

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and fork of POSIX")


class Group(PVGroup):
    """A startup that ends with the server, a scan, a putter."""

    period = pvproperty(value=0.01)
    x = pvproperty(value=0.0)
    y = pvproperty(value=0.0)

    @x.startup
    def x(self, instance: ChannelData) -> None:
        self.stopping.wait()

    @y.scan(period=period)
    def y(self, instance: ChannelData) -> None:
        instance.write(instance.value + 1)


def nothing_is_left(where: str) -> None:
    """No thread and no socket of a server, as soon as the threads have had time to end."""
    gc.collect()
    wait_for(lambda: not our_threads(), message=where)
    wait_for(lambda: not open_sockets() - BEFORE, message=where)


BEFORE: set[str] = set()


@pytest.fixture(autouse=True)
def _before():
    BEFORE.clear()
    BEFORE.update(open_sockets())


# A socket that was just made and is stored nowhere yet is closed by its finalizer.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_start_that_is_interrupted_at_any_line_leaves_nothing_behind():
    current = [OwnServer(Group())]
    places = 0
    for where in interrupt_each_line(lambda: current[0].start()):
        places += 1
        nothing_is_left(where)
        assert all(not data._subscribers for data in current[0].pvdb.values()), where
        if "new" not in repr(current[0]):  # in its first line: as if it had not been called
            with pytest.raises(CaprotoRuntimeError):
                current[0].start()
        current[0] = OwnServer(Group())
    current[0].stop()
    assert places > 50


def test_a_stop_that_is_interrupted_at_any_line_ends_everything():
    current: list[OwnServer] = []
    places = 0

    def begin() -> RawClient:
        current[:] = [OwnServer(Group()).start()]
        client = RawClient(current[0].address)
        client.connect("x")
        wait_for(lambda: current[0].pvdb["y"].value > 0)  # there is a worker
        return client

    client = begin()
    for where in interrupt_each_line(lambda: current[0].stop()):
        places += 1
        if "running" in repr(current[0]):  # in its first line: as if it had not been called
            client.connect("y")
            current[0].stop()
        wait_for(lambda: not our_threads(), message=where)
        client.close()
        nothing_is_left(where)
        assert "stopped" in repr(current[0])
        client = begin()
    client.close()
    current[0].stop()
    assert places > 30


def test_a_signal_handler_may_stop_the_server_at_any_line_of_its_start():
    """What it interrupts fails, or starts a server that is stopped already."""
    current = [OwnServer(Group())]
    places = 0

    def start() -> None:
        try:
            current[0].start()
        except CaprotoError:
            pass

    for where in enter_each_line(start, lambda: current[0].stop()):
        places += 1
        current[0].stop()
        nothing_is_left(where)
        current[0] = OwnServer(Group())
    current[0].stop()
    assert places > 50


def test_a_signal_handler_may_stop_the_server_at_any_line_of_its_stop():
    current = [OwnServer(Group()).start()]
    for where in enter_each_line(lambda: current[0].stop(), lambda: current[0].stop()):
        nothing_is_left(where)
        current[0] = OwnServer(Group()).start()
    current[0].stop()


@pytest.mark.parametrize("name", ["ca-server", "ca-startup x"])
def test_a_thread_that_cannot_be_started_fails_the_start_and_leaves_nothing(monkeypatch, name):
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    server = OwnServer(Group())
    with pytest.raises(CaprotoRuntimeError, match="cannot start a thread.*new thread"):
        server.start()
    nothing_is_left(name)
    server.stop()


def test_a_failed_start_does_not_end_the_functions_of_another_server():
    group = Group()
    with OwnServer(group):
        with pytest.raises(CaprotoError):
            OwnServer(group, interfaces=("no-such-host.invalid",)).start()
        assert not group.stopping.is_set()
    assert group.stopping.is_set()


# ---- in a process of its own ---------------------------------------------------------------------

BEGIN = """
import os, signal, sys, threading, time
from caproto.server import ChannelDouble, PVGroup, pvproperty
from caproto.threading.server import Server
from tests.harness.own_server import OwnServer
from tests.harness.raw_client import RawClient
"""


def play(script: str) -> subprocess.CompletedProcess[str]:
    """Run *script* in the strict mode of Python."""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", BEGIN + textwrap.dedent(script)],
        env=clean_environ(
            EPICS_CAS_INTF_ADDR_LIST=LOOPBACK,
            EPICS_CAS_SERVER_PORT=str(free_port()),
            EPICS_CAS_AUTO_BEACON_ADDR_LIST="NO",
        ),
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )


@posix
@pytest.mark.parametrize("kind", ["scan", "putter"])
def test_at_exit_functions_that_print_are_ended_before_the_interpreter(kind):
    """A thread that is killed in the middle of a print aborts the process."""
    done = play(f"""
    busy = threading.Event()
    def talk(instance, value=None):
        busy.set()
        for _ in range(50):
            print("busy", flush=True)
    x = ChannelDouble(value=1.0)
    x.{kind} = talk
    x.scan_period = 0.0001
    server = Server({{"x": x}}).start()
    def write():
        with RawClient(("127.0.0.1", server.tcp_port)) as client:
            channel = client.connect("x")
            try:
                while True:
                    client.send(channel.write(1.0, notify=False))
            except ConnectionError:  # the server is stopped
                pass
    if "{kind}" == "putter":
        threading.Thread(target=write, daemon=True).start()
    assert busy.wait(20)
    import atexit
    from caproto.threading import _lifetime
    _lifetime.EXIT_TIME = 20  # the machine of the test may be busy
    atexit._run_exitfuncs()  # what the interpreter does when it ends
    print("WORKERS", [t.name for t in threading.enumerate() if t.name.startswith("ca-")])
    sys.stdout.flush()
    os._exit(0)
    """)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "WORKERS []"


@posix
def test_a_process_that_serves_and_prints_exits_without_a_word():
    for _ in range(3):
        done = play("""
        busy = threading.Event()
        def talk(instance):
            print("busy", flush=True)
            busy.set()
        channels = {}
        for name in "abcdef":
            channels[name] = ChannelDouble(value=1.0)
            channels[name].scan = talk
            channels[name].scan_period = 0.0001
        server = Server(channels).start()
        assert busy.wait(20)
        """)
        assert (done.returncode, done.stderr) == (0, "")
        assert set(done.stdout.replace("busy", "").split()) == set() and "busy" in done.stdout


@posix
def test_a_child_of_a_fork_keeps_no_socket_of_the_server_and_its_pvs_can_be_used():
    done = play("""
    x = ChannelDouble(value=1.0)
    server = Server({"x": x}).start()
    address = ("127.0.0.1", server.tcp_port)
    client = RawClient(address)
    channel = client.connect("x")
    client.send(channel.subscribe())
    ready, go_on = os.pipe()
    pid = os.fork()
    if pid == 0:
        client.socket.close()
        assert "stopped" in repr(server) and server.clients == ()
        x.write(2.0)
        assert x.value == 2.0
        server.stop()
        with OwnServer({"x": x}) as mine:  # a new one, in the child
            with RawClient(("127.0.0.1", mine.tcp_port)) as other:
                other.connect("x")
        os.close(go_on)
        os.read(ready, 1)  # lives until the parent is done
        os._exit(0)
    server.stop()
    client.rest()  # the parent's hanging up is seen, though the child lives
    client.close()
    again = Server({"x": x})
    again.configuration = server.configuration
    with again:
        assert again.tcp_port == address[1]  # the port is free, too
    os.close(go_on)
    assert os.waitpid(pid, 0)[1] == 0
    print("DONE", x.value)
    """)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "DONE 1.0\n"


@posix
def test_ctrl_c_at_any_moment_of_start_and_stop_ends_the_process_well():
    """Real signals, at random moments.

    Not during imports: Python ends itself by the signal if it struck the making of a named tuple.
    Python drops one that strikes its own WeakSet of threads; then another one comes.
    """
    for delay in range(5):
        with subprocess.Popen(
            [sys.executable, "-W", "ignore::ResourceWarning", "-c", BEGIN + textwrap.dedent("""
            with OwnServer({"x": ChannelDouble(value=1.0)}):  # imports what is needed
                pass
            def again(unraisable):
                if unraisable.exc_type is KeyboardInterrupt and "WeakSet" in str(unraisable.object):
                    signal.setitimer(signal.ITIMER_REAL, 0.01)
                else:
                    sys.__unraisablehook__(unraisable)
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            sys.unraisablehook = again
            print("begun", flush=True)
            try:
                while True:
                    with OwnServer({"x": ChannelDouble(value=1.0)}):
                        pass
            except KeyboardInterrupt:
                pass
            deadline = time.monotonic() + 10
            while [t for t in threading.enumerate() if t.name.startswith("ca-")]:
                assert time.monotonic() < deadline, threading.enumerate()
                time.sleep(0.001)
            print("ended", flush=True)
            """)],
            env=clean_environ(), cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "begun\n"
                try:
                    process.wait(0.02 + 0.0317 * delay)
                except subprocess.TimeoutExpired:
                    pass
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=PATIENCE)
            finally:
                process.kill()
        assert (out, err, process.returncode) == ("ended\n", "", 0)


def test_nothing_listens_after_a_stop():
    server = OwnServer(Group()).start()
    address = server.address
    server.stop()
    with pytest.raises(OSError):
        socket.create_connection(address, timeout=PATIENCE)
