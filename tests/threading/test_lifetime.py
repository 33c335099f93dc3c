"""The end of the interpreter at any moment, and fork: scripts in processes of their own."""
from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from caproto import (
    CreateChanRequest,
    EventAddRequest,
    ReadNotifyRequest,
    WriteNotifyRequest,
)
from caproto.threading import _lifetime
from caproto.threading.client import Context, SharedBroadcaster
from tests.harness.fake_server import FakePV, ignore
from tests.harness.ioc_process import clean_environ

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="fork, and its clock")

#: Every script begins like this ...
BEGIN = """
import sys, threading, time
from caproto.threading.client import Batch, CaprotoTimeoutError, Context
started = time.monotonic()
ctx = Context(timeout=20)
x, big = ctx.get_pvs("x", "big")

def in_background(function):
    "Repeat it in a daemon thread; returns when it has run, or run for a while."
    once = threading.Event()
    def work():
        while True:
            function()
            once.set()
    threading.Thread(target=work, daemon=True).start()
    return once
"""
#: ... and ends like this.
END = """
sys.stdout.write(f"\\nTHE END {started} {time.monotonic()}\\n")  # one piece, if others print, too
sys.stdout.flush()
"""


class Done:
    """A process that has ended."""

    def __init__(self, server, script: str, end: str = END) -> None:
        text = BEGIN + textwrap.dedent(script) + end
        start = time.monotonic()
        self.process = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", text],
            env=clean_environ(**server.environ),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        ended = time.monotonic()
        self.output = self.process.stdout.splitlines()
        words = [line.split() for line in self.output if line.startswith("THE END")]
        if words:
            #: How long it took to start, which tells how busy the machine is; and to exit.
            self.start_up = float(words[-1][2]) - start
            self.exit = ended - float(words[-1][3])

    def check(self) -> None:
        """It ended well, soon, and without a word."""
        assert self.process.stderr == ""
        assert self.process.returncode == 0
        assert self.exit < 1 + 2 * self.start_up


@pytest.fixture
def server(server):
    server.pvs["big"] = FakePV([0], max_count=10_000_000)
    return server


class TestExit:
    @pytest.mark.parametrize(
        "script",
        [
            "",
            "ctx.get_pvs(*[f'n{i}' for i in range(2000)])",
            "x.read(); x.go_idle()",
            "x.read(); ctx.disconnect(wait=False)",
            "me = [ctx, x]; me.append(me); x.read(); del ctx, x",
        ],
        ids=["connecting", "searching", "idle", "closing", "in a cycle"],
    )
    def test_at_rest(self, server, script):
        Done(server, script).check()

    def test_while_the_channel_is_created(self, server):
        server.on[CreateChanRequest] = ignore
        Done(server, "x.wait_for_search()").check()

    @pytest.mark.parametrize("what", ["time.sleep(60)", "while True: pass"])
    def test_in_a_user_callback(self, server, what):
        script = f"""
        begun = threading.Event()
        def callback(response):
            begun.set()
            {what}
        x.subscribe().add_callback(callback)
        begun.wait()
        """
        Done(server, script).check()

    def test_a_short_callback_is_finished(self, server):
        script = """
        begun = threading.Event()
        def callback(response):
            begun.set()
            time.sleep(0.05)
            print("FINISHED", flush=True)
        x.subscribe().add_callback(callback)
        begun.wait()
        """
        done = Done(server, script)
        done.check()
        assert "FINISHED" in done.output

    def test_in_a_callback_that_waits_for_us(self, server):
        script = """
        begun = threading.Event()
        def callback(response):
            begun.set()
            ctx.get_pvs("not there")[0].read(timeout=None)
        x.subscribe().add_callback(callback)
        begun.wait()
        """
        Done(server, script).check()

    def test_with_a_batch_under_way(self, server):
        server.on[ReadNotifyRequest] = ignore
        script = """
        x.wait_for_connection()
        def callback(response):
            raise AssertionError("nobody has answered")
        with Batch(timeout=20) as batch:
            for _ in range(1000):
                batch.read(x, callback)
        """
        Done(server, script).check()

    def test_in_the_middle_of_a_large_write(self, server):
        """More than fits into the pipe, to a server that does not read."""

        def stop_reading(connection, command):
            server.usual(connection, command)
            connection.stop_reading()

        server.on[EventAddRequest] = stop_reading
        script = """
        big.wait_for_connection()
        told = threading.Event()
        def callback(response):
            told.set()
        big.subscribe(data_count=1).add_callback(callback)
        told.wait()
        once = in_background(lambda: big.write(bytes(80_000_000)))
        while not big.circuit_manager._circuit._transport.outbox:
            time.sleep(0.001)
        """
        Done(server, script).check()
        server.connection.go_on_reading()

    def test_with_daemon_threads_at_work(self, server):
        script = """
        for function in (
            x.read,
            lambda: x.write(1.5),
            lambda: ctx.get_pvs("x"),
            lambda: x.subscribe().add_callback(print),
        ):
            in_background(function).wait()
        """
        Done(server, script).check()

    def test_with_daemon_threads_that_wait(self, server):
        server.on[ReadNotifyRequest] = server.on[WriteNotifyRequest] = ignore
        script = """
        x.wait_for_connection()
        nobody, = ctx.get_pvs("not there")
        in_background(lambda: x.read(timeout=None))
        in_background(lambda: x.write(1.5, timeout=None))
        in_background(lambda: nobody.wait_for_connection(timeout=None))
        while not (len(x.circuit_manager.ioids) == 2 and nobody._waiters):
            time.sleep(0.001)
        """
        Done(server, script).check()

    def test_while_updates_pour_in_and_are_printed(self, server):
        """A thread that is stopped while it prints would abort the interpreter."""
        script = """
        enough = threading.Event()
        def callback(response):
            print(response.data[0], flush=True)
            if response.data[0] > 100:
                enough.set()
        x.subscribe().add_callback(callback)
        enough.wait()
        """
        ended = threading.Event()

        def pour():
            value = 0.0
            while not ended.is_set():
                if server.wished("x"):
                    value += 1
                server.post("x", value)

        thread = threading.Thread(target=pour)
        thread.start()
        try:
            Done(server, script).check()
        finally:
            ended.set()
            thread.join()

    def test_other_threads_may_work_until_they_have_finished(self, server):
        """The interpreter waits for threads that are no daemons; so do we."""
        script = """
        def work():
            threading.main_thread().join()
            for _ in range(100):
                assert x.read().data[0] == 1.5
            print("WORKED", flush=True)
        threading.Thread(target=work).start()
        """
        done = Done(server, script)
        done.check()
        assert "WORKED" in done.output

    def test_handlers_of_the_user_may_work_until_ours_has_run(self, server):
        """Handlers run in reverse order of registration; ours is registered by the import."""
        script = """
        import atexit
        atexit.register(lambda: print("VALUE", x.read().data[0], flush=True))
        """
        done = Done(server, script)
        done.check()
        assert done.output[-1] == "VALUE 1.5"

    def test_later_ones_get_an_error_and_do_not_hang(self, server):
        script = """
        def late():
            try:
                x.read(timeout=None)
            except Exception as error:
                print(type(error).__name__, error, flush=True)
        import atexit
        from caproto.threading import _lifetime
        atexit.unregister(_lifetime._at_exit)
        atexit.register(late)
        atexit.register(_lifetime._at_exit)
        x.wait_for_connection()
        """
        done = Done(server, script)
        done.check()
        assert done.output[-1] == "ContextDisconnectedError 'x': the interpreter is exiting"

    def test_the_exit_code_is_the_users(self, server):
        done = Done(server, "x.read()", END + "sys.exit(3)")
        assert done.process.returncode == 3 and done.process.stderr == ""
        done = Done(server, "x.read()", END + "raise ValueError('mine')")
        assert done.process.returncode == 1
        assert done.process.stderr.splitlines()[-1] == "ValueError: mine"

    def test_requests_that_were_sent_arrive(self, server):
        done = Done(server, "for value in range(500): x.write(value, wait=False)")
        done.check()
        server.stop()
        assert server.pvs["x"].value == 499


#: Forking while there are threads is worth a warning, since Python 3.12; we know.
FORK = """
import os, warnings
warnings.filterwarnings("ignore", ".*multi-threaded.*", DeprecationWarning)

def wait_for_child(pid):
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


class TestFork:
    @pytest.fixture
    def server(self, server):
        """What is written is sent to all subscriptions."""

        def store_and_post(connection, command):
            server.usual(connection, command)
            server.post("x", server.pvs["x"].value)

        server.on[WriteNotifyRequest] = store_and_post
        return server

    def test_old_objects_say_why_they_are_useless_and_the_parent_is_unharmed(self, server):
        script = FORK + textwrap.dedent("""
        values = []
        def callback(response):
            values.append(response.data[0])
        sub = x.subscribe()
        sub.add_callback(callback)
        x.write(2.0)
        pid = os.fork()
        if pid == 0:
            for attempt in (
                x.read,
                lambda: x.read(wait=False),
                lambda: x.write(1.0),
                x.wait_for_connection,
                x.wait_for_search,
                x.time_since_last_heard,
                lambda: ctx.get_pvs("x"),
                lambda: sub.add_callback(print),
                lambda: Context(ctx.broadcaster),
            ):
                try:
                    attempt()
                except Exception as error:
                    from caproto import CaprotoError
                    assert isinstance(error, CaprotoError), error
                    assert "created before fork" in str(error), error
                else:
                    raise AssertionError("it should have failed")
            assert not x.connected and "closed" in repr(x) and "before fork" in repr(ctx)
            from caproto.threading.client import _reentry
            assert not _reentry._serving  # new threads may have the same idents
            x.go_idle()
            sub.clear()
            x.unsubscribe_all()
            ctx.disconnect()
            ctx.broadcaster.disconnect()
        else:
            wait_for_child(pid)
            for number in range(10):
                x.write(10.0 + number)
                assert x.read().data[0] == 10.0 + number
            deadline = time.monotonic() + 10
            while values[-1] != 19.0:
                assert time.monotonic() < deadline
                time.sleep(0.001)
            assert x.connected and values[-10:] == [10.0 + n for n in range(10)]
            print("PARENT", flush=True)
        """)
        done = Done(server, script)
        done.check()
        assert "PARENT" in done.output
        assert len(server.connections) == 1

    def test_the_child_can_begin_anew(self, server):
        script = FORK + textwrap.dedent("""
        x.read()
        old = x
        pid = os.fork()
        if pid == 0:
            ctx = Context(timeout=20)
            x, = ctx.get_pvs("x")
            values = []
            def callback(response):
                values.append(response.data[0])
            x.subscribe().add_callback(callback)
            x.write(3.0)
            deadline = time.monotonic() + 10
            while values[-1:] != [3.0]:
                assert time.monotonic() < deadline
                time.sleep(0.001)
            print("CHILD", flush=True)
        else:
            wait_for_child(pid)
            assert x.read().data[0] == 3.0
            print("PARENT", flush=True)
        """)
        done = Done(server, script)
        done.check()
        assert "CHILD" in done.output and "PARENT" in done.output
        assert len(server.connections) == 2

    def test_again_and_again_in_the_middle_of_traffic(self, server):
        """Any lock may be held by any thread at that moment."""
        script = FORK + textwrap.dedent("""
        for function in (x.read, lambda: x.write(1.5), lambda: ctx.get_pvs("x", "new")):
            in_background(lambda f=function: (f(), time.sleep(0.001))).wait()
        for _ in range(8):
            pid = os.fork()
            if pid == 0:
                with Context(timeout=20) as ctx:
                    assert ctx.get_pvs("x")[0].read().data[0] == 1.5
                sys.exit()
            wait_for_child(pid)
        assert x.read().data[0] == 1.5
        """)
        Done(server, script).check()

    def test_a_child_that_does_nothing_with_us_exits_at_once(self, server):
        script = FORK + textwrap.dedent("""
        x.read()
        def callback(response):
            pass
        x.subscribe().add_callback(callback)
        x.read()
        pid = os.fork()
        if pid == 0:
            from caproto.threading import _lifetime
            _lifetime.EXIT_TIME = 100  # there is nothing here to wait for
            sys.exit(0)
        wait_for_child(pid)
        assert x.read().data[0] == 1.5
        """)
        Done(server, script).check()
        assert len(server.connections) == 1


def test_forgetting_one_runs_no_function_of_python_in_which_ctrl_c_would_be_lost():
    class Closeable:
        pass

    one, before, called = Closeable(), set(_lifetime._living), []
    _lifetime.register(one)
    assert len(_lifetime._living) == len(before) + 1

    def profile(frame, event, argument):
        if event == "call":
            called.append(frame.f_code)

    sys.setprofile(profile)
    try:
        del one
    finally:
        sys.setprofile(None)
    assert called == [] and set(_lifetime._living) == before


def test_only_the_living_are_remembered(server, wait_for):
    """A program that makes Contexts again and again does not grow."""
    before = len(_lifetime._living)
    for _ in range(3):
        broadcaster = SharedBroadcaster(configuration=server.configuration)
        with Context(broadcaster):
            assert len(_lifetime._living) == before + 2
        broadcaster.disconnect()
        del broadcaster
        gc.collect()
        wait_for(lambda: len(_lifetime._living) == before)


class Plain:
    """Something that can be registered."""

    def _at_exit(self, deadline) -> None:
        self.closed = True

    def _after_fork(self) -> None:
        pass


def test_registering_and_dying_do_not_disturb_who_closes_all(monkeypatch):
    """Threads make and drop objects while others look at all of them."""
    monkeypatch.setattr(_lifetime, "_living", {})
    interval = sys.getswitchinterval()
    over = threading.Event()
    failures: list[Exception] = []

    def come_and_go() -> None:
        while not over.is_set():
            _lifetime.register(Plain())

    def look() -> None:
        try:
            for _ in range(300):
                _lifetime._at_exit()
        except Exception as error:
            failures.append(error)

    staying = [Plain() for _ in range(50)]
    for one in staying:
        _lifetime.register(one)
    threads = [threading.Thread(target=come_and_go) for _ in range(2)]
    looking = threading.Thread(target=look)
    sys.setswitchinterval(1e-5)
    try:
        for thread in (*threads, looking):
            thread.start()
        looking.join(30)
    finally:
        over.set()
        sys.setswitchinterval(interval)
    for thread in threads:
        thread.join(10)
    assert not failures and not looking.is_alive()
    assert all(one.closed for one in staying)
    assert len(_lifetime._living) == len(staying)
