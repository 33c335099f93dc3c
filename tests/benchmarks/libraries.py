"""Who is measured: our client, the bare sockets, and what the peers' environment has."""
from __future__ import annotations

import atexit
import functools
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from epicscorelibs.path import include_path, lib_path

from tests.harness.ioc_process import ROOT, clean_environ

CLIENTS = Path(__file__).with_name("clients")


class ClientFailed(AssertionError):
    """A client ended, kept silent or raised; the message has what it said."""


@dataclass(frozen=True)
class Library:
    """Something to be measured.

    Attributes
    ----------
    name : str
        With its version, if it is a peer.
    script : str
        Its file in the directory "clients".
    python : str
        The interpreter.
    one_read : str
        A program that reads ``{name}`` and prints its value, with the client for programs.
    short_read : str
        The shortest program that does it.
    is_peer : bool
        Whether it is somebody else's.
    variables : mapping
        More variables for its process.
    """

    name: str
    script: str
    python: str
    one_read: str
    short_read: str
    is_peer: bool = False
    variables: Mapping[str, str] = field(default_factory=dict, hash=False)

    def environ(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The environment of its process: peers must not find our package."""
        environ = clean_environ(**variables, **self.variables)
        environ.pop("PYTHONDONTWRITEBYTECODE", None)  # pip leaves compiled files; so must we
        if self.is_peer:
            del environ["PYTHONPATH"]
        return environ


_CAPROTO = """
from caproto.threading.client import Context
pv, = Context().get_pvs({name!r})
print(pv.read().data[0])
"""
_SYNC = """
from caproto.sync.client import read
print(read({name!r}).value)
"""
_PEER_SYNC = """
from caproto.sync.client import read
print(read({name!r}).data[0])
"""
_PYEPICS = """
import epics
print(epics.caget({name!r}))
"""
_AIOCA = """
import asyncio, aioca
print(asyncio.run(aioca.caget({name!r})))
"""
_COTHREAD = """
from cothread.catools import caget
print(caget({name!r}))
"""

OURS = Library("ours", "with_caproto.py", sys.executable, _CAPROTO, _SYNC)
#: The bare interpreter knows the value of that record.
LIMIT = Library("limit", "limit.py", sys.executable, "print(3.5)", "print(3.5)")

#: The name of the C library, driven by C.
IN_C = "libca in C"


def compiler() -> str | None:
    """Find the C compiler."""
    return shutil.which("cc")


@functools.cache
def in_c() -> Library | None:
    """The C library, driven by a C program, which is compiled now; None without a compiler."""
    cc = compiler()
    if cc is None:
        return None
    directory = tempfile.TemporaryDirectory()
    atexit.register(directory.cleanup)
    built = str(Path(directory.name) / "libca_client.so")
    subprocess.run(
        [cc, "-O2", "-Wall", "-shared", "-fPIC", str(CLIENTS / "libca.c"), "-o", built,
         f"-I{include_path}", f"-L{lib_path}", "-lca", "-lCom", f"-Wl,-rpath,{lib_path}"],
        check=True, timeout=120,
    )  # fmt: skip
    return Library(
        IN_C, "with_libca.py", sys.executable, "", "", is_peer=True,
        variables={"LIBCA_CLIENT": built},
    )  # fmt: skip


_PEERS = {"pyepics": _PYEPICS, "aioca": _AIOCA, "cothread": _COTHREAD, "caproto": _CAPROTO}
_SHORT = {**_PEERS, "caproto": _PEER_SYNC}
_LOOK = """
import importlib.metadata, importlib.util, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        continue
    spec = importlib.util.find_spec({"pyepics": "epics"}.get(name, name))
    if spec is not None:
        found[name] = version, spec.origin
print(json.dumps(found))
"""


def peers_of(python: str) -> list[Library]:
    """The libraries that this interpreter has; our own package is no peer."""
    environ = clean_environ()
    del environ["PYTHONPATH"]
    answer = subprocess.run(
        [python, "-c", _LOOK, *_PEERS],
        env=environ, cwd=CLIENTS, stdout=subprocess.PIPE, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    return [
        Library(
            f"{name} {version}", f"with_{name}.py", python, _PEERS[name], _SHORT[name], is_peer=True
        )
        for name, (version, origin) in json.loads(answer).items()
        if not Path(origin).is_relative_to(ROOT / "caproto")
    ]


def stand_in_for_repeater(library: Library, variables: Mapping[str, str]) -> socket.socket | None:
    """Where the C library must not start its repeater, which would outlive it: take the port."""
    if not library.is_peer:
        return None
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("", int(variables["EPICS_CA_REPEATER_PORT"])))
    return sock


def time_of_script(library: Library, code: str, variables: Mapping[str, str]) -> tuple[float, str]:
    """Seconds that a script takes in a process of its own, and what it prints."""
    stand_in = stand_in_for_repeater(library, variables)
    try:
        start = time.perf_counter()
        done = subprocess.run(
            [library.python, "-c", textwrap.dedent(code)],
            env=library.environ(variables),
            cwd=CLIENTS,
            capture_output=True,
            text=True,
            timeout=120,
        )
        elapsed = time.perf_counter() - start
    finally:
        if stand_in is not None:
            stand_in.close()
    if done.returncode:
        raise ClientFailed(f"{library.name}:\n{done.stderr}")
    return elapsed, done.stdout.strip()


class ClientProcess:
    """A script of the directory "clients" at work.

    Parameters
    ----------
    library : Library
    variables : mapping
        The EPICS variables with which it finds its IOC.
    """

    def __init__(self, library: Library, variables: Mapping[str, str]) -> None:
        self.library = library
        self._errors = tempfile.TemporaryFile("w+")
        self._stand_in = stand_in_for_repeater(library, variables)
        self._process = subprocess.Popen(
            [library.python, str(CLIENTS / library.script)],
            env=library.environ(variables),
            cwd=CLIENTS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._pending = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def do(self, verb: str, *, timeout: float = 150.0, **arguments: Any) -> Any:
        """Give an order, and return the answer."""
        order = json.dumps({"do": verb, **arguments}) + "\n"
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(order.encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ClientFailed(f"{self.library.name} has ended\n{self._said()}") from None
        answer = self._answer(timeout, verb)
        if "error" in answer:
            raise ClientFailed(f"{self.library.name}, {verb}:\n{answer['error']}{self._said()}")
        return answer["result"]

    def _answer(self, timeout: float, verb: str) -> dict[str, Any]:
        """The next line that is an answer; libraries may print what they like."""
        assert self._process.stdout is not None
        while True:
            line, newline, rest = self._pending.partition(b"\n")
            if newline:
                self._pending = rest
                if line.startswith(b"ANSWER "):
                    return json.loads(line[len("ANSWER ") :])
                continue
            # Whoever waits here sleeps, lest it take time from those who are measured.
            if not select.select([self._process.stdout], [], [], timeout)[0]:
                raise ClientFailed(
                    f"{self.library.name}, {verb}: no answer within {timeout} s\n{self._said()}"
                )
            data = os.read(self._process.stdout.fileno(), 1 << 20)
            if not data:
                raise ClientFailed(f"{self.library.name}, {verb}: has ended\n{self._said()}")
            self._pending += data

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-2000:]

    def __enter__(self) -> ClientProcess:
        try:
            self._answer(60.0, "start")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it; idempotent."""
        self._process.kill()
        self._process.wait(timeout=10)
        for pipe in (self._process.stdin, self._process.stdout, self._errors, self._stand_in):
            if pipe is None:
                continue
            try:
                pipe.close()
            except BrokenPipeError:  # an order that it never read
                pass
