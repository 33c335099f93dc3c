"""IOCs in processes of their own, on free loopback ports: real ones and our demos.

>>> with SoftIOC() as ioc:
...     ioc.pv("double"), ioc.environ       # the name of a record; what a client needs to know

Whoever makes one owns it and stops it (``with`` or `stop`). Everything is bounded in time. Stopping
is by the process id that we started, nothing else.
"""
from __future__ import annotations

import ast
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tests.harness.ports import LOOPBACK, free_port

if TYPE_CHECKING:
    from typing_extensions import Self

    from caproto._environment import ClientConfiguration

ROOT = Path(__file__).parents[2]
IOC_FILES = Path(__file__).parent / "ioc"
#: An IOC that does not get ready within this many seconds has failed.
START_TIMEOUT = 30.0


class IOCFailed(Exception):
    """The process ended or kept silent; the message has what it printed."""


class PortTaken(IOCFailed):
    """Somebody took the port between our look and the start of the IOC."""


def clean_environ(**variables: str) -> dict[str, str]:
    """Our environment without any EPICS variable of the user, plus *variables*."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("EPICS_")}
    path = os.pathsep.join([str(ROOT), *filter(None, [kept.get("PYTHONPATH")])])
    return {**kept, "PYTHONPATH": path, **variables}


class IOCProcess:
    """A child process that serves PVs on 127.0.0.1; the part common to all kinds.

    Parameters
    ----------
    port : int, optional
        For TCP and UDP; a free one if not given. It survives a restart.
    beacon_port : int, optional
        Where its beacons go (127.0.0.1 only); a free one, that is nobody, if not given.
    environ : mapping, optional
        Further variables of the process.
    """

    #: Text of the line by which the process says that it serves.
    READY = "READY"

    def __init__(
        self,
        *,
        port: int | None = None,
        beacon_port: int | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._chosen = port is not None
        self.port = port or free_port()
        self.beacon_port = beacon_port or free_port()
        self.output: list[str] = []  # every line that it printed, standard error included
        self.process: subprocess.Popen[str] | None = None
        self._extra = dict(environ or {})
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    # --- what a client needs to know

    @property
    def environ(self) -> dict[str, str]:
        """The EPICS variables with which a client finds this IOC and nothing else."""
        return {
            "EPICS_CA_ADDR_LIST": LOOPBACK,
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
            "EPICS_CA_SERVER_PORT": str(self.port),
            "EPICS_CA_REPEATER_PORT": str(self.beacon_port),
            "CAPROTO_USE_REPEATER": "NO",  # lest each test leave one behind
        }

    @property
    def configuration(self) -> ClientConfiguration:
        """The same as a configuration for a Context."""
        from caproto._environment import ClientConfiguration

        return ClientConfiguration.from_environment(self.environ)

    @property
    def address(self) -> tuple[str, int]:
        return (LOOPBACK, self.port)

    # --- life

    def _command(self) -> Sequence[str]:
        raise NotImplementedError

    def _process_environ(self) -> dict[str, str]:
        return clean_environ(
            EPICS_CAS_INTF_ADDR_LIST=LOOPBACK,
            EPICS_CA_SERVER_PORT=str(self.port),
            EPICS_CAS_SERVER_PORT=str(self.port),
            EPICS_CAS_AUTO_BEACON_ADDR_LIST="NO",
            EPICS_CAS_BEACON_ADDR_LIST=LOOPBACK,
            EPICS_CAS_BEACON_PORT=str(self.beacon_port),
            EPICS_CA_REPEATER_PORT=str(self.beacon_port),
            EPICS_CA_ADDR_LIST=LOOPBACK,
            EPICS_CA_AUTO_ADDR_LIST="NO",
            PYTHONUNBUFFERED="1",
            **self._extra,
        )

    def start(self) -> Self:
        """Start the process and wait until it serves."""
        for attempt in range(5):
            try:
                self._start_once()
                return self
            except PortTaken:
                if self._chosen or attempt == 4:
                    raise
                self.port = free_port()
        raise AssertionError("unreachable")

    def _start_once(self) -> None:
        assert self.process is None, "already running"
        self.output.clear()
        self._lines = queue.SimpleQueue()
        self.process = subprocess.Popen(
            self._command(),
            env=self._process_environ(),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        # Bound to this process and its queue: a restart gets new ones of both.
        self._reader = threading.Thread(
            target=_collect,
            args=(self.process.stdout, self.output, self._lines),
            name=f"ioc-output-{self.process.pid}",
            daemon=True,
        )
        self._reader.start()
        try:
            self._wait_for_line(self.READY, START_TIMEOUT)
            self._check_started()
        except BaseException:
            self.kill()
            raise

    def _check_started(self) -> None:
        """Raise if it says that it is ready but does not serve where it should."""

    def _wait_for_line(self, text: str, timeout: float) -> list[str]:
        """Return the lines up to the one that begins with *text*."""
        deadline = time.monotonic() + timeout
        lines: list[str] = []
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise IOCFailed(f"no {text!r} within {timeout} s\n{self.text}") from None
            if line is None:
                raise IOCFailed(f"the IOC ended before {text!r}\n{self.text}")
            if line.startswith(text):
                return lines
            lines.append(line)

    @property
    def text(self) -> str:
        """Everything that the process printed."""
        return "\n".join(self.output)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would; idempotent."""
        process, self.process = self.process, None
        if process is None:
            return
        process.kill()
        self._finish(process)

    def stop(self) -> int | None:
        """End it as a user would, and return its exit code; idempotent."""
        process, self.process = self.process, None
        if process is None:
            return None
        self._ask_to_end(process)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
        self._finish(process)
        return process.returncode

    def _ask_to_end(self, process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGTERM)

    def _finish(self, process: subprocess.Popen[str]) -> None:
        process.wait(timeout=10)
        if process.stdin is not None:
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass
        self._reader.join(timeout=10)
        if process.stdout is not None:
            process.stdout.close()

    def restart(self) -> Self:
        """Kill it and start it again on the same port."""
        self.kill()
        self._chosen = True
        return self.start()

    def freeze(self) -> None:
        """Stop its clock (SIGSTOP): connections stay open, nobody answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)  # until its last thread stands still

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self if self.process is not None else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()


def _collect(stream, output: list[str], lines: queue.SimpleQueue[str | None]) -> None:
    """Thread: keep what the process prints, so that it can never block on a full pipe."""
    for line in stream:
        output.append(line.rstrip("\n"))
        lines.put(line.rstrip("\n"))
    lines.put(None)


class SoftIOC(IOCProcess):
    """A real EPICS C++ IOC (epicscorelibs) with the records of tests/harness/ioc/records.db.

    Parameters
    ----------
    databases : sequence of str or Path, optional
        Files of tests/harness/ioc by name, other files by path, or the text of a database (anything
        with a newline); ``$(P)`` in them is *prefix*.
    prefix : str, optional
        With which the names of all records begin.
    **options
        See `IOCProcess`.
    """

    def __init__(
        self,
        databases: Sequence[str | Path] = ("records.db",),
        *,
        prefix: str = "T:",
        **options,
    ) -> None:
        super().__init__(**options)
        self.prefix = prefix
        self._databases = tuple(databases)
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def pv(self, record: str) -> str:
        """The full name of a record of this IOC."""
        return self.prefix + record

    def _command(self) -> Sequence[str]:
        if self._directory is not None:
            self._directory.cleanup()
        self._directory = tempfile.TemporaryDirectory(prefix="soft-ioc-")
        files = []
        for number, database in enumerate(self._databases):
            if isinstance(database, str) and "\n" in database:
                path = Path(self._directory.name, f"{number}.db")
                path.write_text(database)
            else:
                path = IOC_FILES / database  # an absolute path stays what it is
            files.append(str(path))
        return [
            sys.executable,
            str(Path(__file__).with_name("soft_ioc.py")),
            f"P={self.prefix}",
            str(IOC_FILES / "access.acf"),
            str(IOC_FILES / "scan_rates.dbd"),
            *files,
        ]

    def _check_started(self) -> None:
        if "was unavailable" in self.text:  # it chose another port, silently as far as clients know
            raise PortTaken(self.text)

    def _ask_to_end(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        process.stdin.close()

    def _finish(self, process: subprocess.Popen[str]) -> None:
        super()._finish(process)
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    def command(self, line: str, timeout: float = 10.0) -> list[str]:
        """Run a command in the IOC's shell, e.g. ``dbpf T:double 3``; return what it printed."""
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._wait_for_line("DONE", timeout)

    def put(self, record: str, value: object) -> None:
        """Set a field from inside the IOC, not through Channel Access."""
        self.command(f'dbpf "{self.pv(record)}" "{value}"')

    def get(self, record: str) -> str:
        """A field as the IOC's shell prints it."""
        lines = self.command(f'dbgf "{self.pv(record)}"')
        return lines[-1].split(":", 1)[1].strip().strip('"') if lines else ""


class DemoIOC(IOCProcess):
    """One of our own demo IOCs: ``python -m caproto.ioc_examples.NAME``.

    Parameters
    ----------
    name : str
        Module below caproto.ioc_examples.
    *arguments : str
        Its command line.
    **options
        See `IOCProcess`.
    """

    READY = "PVs: "

    def __init__(self, name: str = "random_walk", *arguments: str, **options) -> None:
        super().__init__(**options)
        self.name = name
        self._arguments = arguments

    def _command(self) -> Sequence[str]:
        return [sys.executable, "-m", f"caproto.ioc_examples.{self.name}", *self._arguments]

    @property
    def pv_names(self) -> list[str]:
        """The names that it printed when it was ready."""
        for line in self.output:
            if line.startswith(self.READY):
                return ast.literal_eval(line[len(self.READY) :])
        raise IOCFailed(f"no names printed\n{self.text}")
