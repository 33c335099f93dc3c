"""Networks in which packets get lost: network namespaces joined by veth pairs (Linux).

>>> with Network() as net:
...     client, server = net.host(), net.host()
...     link = net.link(client, server)         # link.near, link.far: the addresses of both ends
...     server.drop("tcp dport 5064")           # a rule of nftables for what arrives there
...     link.down()

A host is a process that does nothing and has a network namespace of its own. When it ends, the
kernel removes the namespace with its interfaces and rules; and it ends with us, however we end,
because it waits at the other side of a pipe. So nothing can be left behind. The network of this
machine is never touched: both ends of a pair are born inside.

Needed are the rights of root, iproute2, nftables and util-linux.
"""
from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from tests.harness.ioc_process import ROOT, SoftIOC, clean_environ

#: Nobody else is in there, so no port is taken.
PORT = 25064
_TOOLS = {"ip": "iproute2", "nft": "nftables", "unshare": "util-linux", "nsenter": "util-linux"}
_RULES = """
table inet harness {
    chain in { type filter hook input priority 0; }
    chain out { type filter hook output priority 0; }
}
"""


class NetworkFailed(Exception):
    """A command that shapes the network failed; the message has what it printed."""


class RemoteFailed(AssertionError):
    """Code raised an exception at another host, or the interpreter there ended."""


def _run(command: Sequence[str], text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise NetworkFailed(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


@functools.cache
def obstacle() -> str:
    """Say why there are no such networks here, with the command that helps; empty if there are.

    With CAPROTO_TEST_NETWORKS=required in the environment, as in .ci/run, nothing is an obstacle:
    the tests run, and fail where they cannot.
    """
    if os.environ.get("CAPROTO_TEST_NETWORKS") == "required":
        return ""
    if not sys.platform.startswith("linux"):
        return "they need Linux"
    sudo = "" if os.geteuid() == 0 else "sudo "
    if _missing():
        return f"run `{sudo}apt-get install {_missing()} && {sudo}make test`"
    try:
        _run(["unshare", "--net", "true"])
        with Network() as net:
            net.link(net.host(), net.host())
    except NetworkFailed as error:
        return f"run `sudo make test`: {error}"
    return ""


def _missing() -> str:
    return " ".join(sorted({_TOOLS[tool] for tool in _TOOLS if shutil.which(tool) is None}))


class Host:
    """A network namespace; made by `Network.host`."""

    def __init__(self) -> None:
        if _missing():
            raise NetworkFailed(f"install {_missing()} (as .ci/run does)")
        # `cat` answers when it is there, that is, inside; and ends when we end.
        self._process = subprocess.Popen(
            ["unshare", "--net", "cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("there\n")
        if not self._process.stdout.readline():
            assert self._process.stderr is not None
            reason = self._process.stderr.read().strip()
            self.close()
            raise NetworkFailed(reason)
        try:
            self.ip("link", "set", "lo", "up")
            self.run(["nft", "-f", "-"], _RULES)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process that holds the namespace."""
        return self._process.pid

    def command(self, command: Sequence[str]) -> list[str]:
        """*command* as it has to be called to run at this host; its process id stays its own."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *command]

    def run(self, command: Sequence[str], text: str | None = None) -> str:
        """Run a command at this host; what it printed."""
        return _run(self.command(command), text)

    def ip(self, *arguments: str) -> None:
        """Run ``ip``."""
        self.run(["ip", *arguments])

    def drop(self, condition: str) -> None:
        """Throw away arriving packets for which *condition*, in the language of nftables, holds."""
        self.run(["nft", f"add rule inet harness in {condition} drop"])

    def refuse(self, condition: str) -> None:
        """Forbid packets to leave, as a firewall on this host would: who sends one gets EPERM."""
        self.run(["nft", f"add rule inet harness out {condition} drop"])

    def let_pass(self) -> None:
        """Undo every `drop` and `refuse`."""
        self.run(["nft", "flush table inet harness"])

    def close(self) -> None:
        """Give the namespace up; it goes when the last process in it has ended."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=5)
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()


@dataclass(frozen=True)
class Link:
    """A cable between two hosts, with a subnet of its own."""

    name: str  #: of the interfaces at both ends
    owner: Host
    near: str  #: address of the owner
    far: str  #: address of the other host

    def down(self) -> None:
        """Switch the owner's interface off: its routes go, so packets cannot even be sent."""
        self.owner.ip("link", "set", self.name, "down")

    def up(self) -> None:
        """Switch it on again."""
        self.owner.ip("link", "set", self.name, "up")


class Network:
    """Hosts and links, and the processes that run at them; all of them end with the block."""

    def __init__(self) -> None:
        self._ends = contextlib.ExitStack()
        self._links = 0

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def host(self) -> Host:
        """A new host."""
        host = Host()
        self._ends.callback(host.close)
        return host

    def link(self, owner: Host, other: Host) -> Link:
        """Join two hosts: 10.9.n.1 and 10.9.n.2, broadcast address 10.9.n.255."""
        self._links += 1
        link = Link(
            f"veth{self._links}", owner, f"10.9.{self._links}.1", f"10.9.{self._links}.2"
        )
        owner.ip(
            "link", "add", link.name, "type", "veth",
            "peer", "name", link.name, "netns", str(other.pid),
        )
        for host, address in ((owner, link.near), (other, link.far)):
            host.ip("address", "add", f"{address}/24", "broadcast", "+", "dev", link.name)
            host.ip("link", "set", link.name, "up")
        return link

    def ioc(self, host: Host, *arguments: Any, **options: Any) -> HostIOC:
        """Start a real IOC at *host*; see `SoftIOC`."""
        ioc = HostIOC(host, *arguments, **options)
        self._ends.callback(ioc.kill)
        return ioc.start()

    def python(self, host: Host, environ: Mapping[str, str]) -> RemotePython:
        """Start an interpreter at *host*."""
        remote = RemotePython(host, environ)
        self._ends.callback(remote.close)
        return remote


class HostIOC(SoftIOC):
    """A real IOC at a host, serving all its interfaces."""

    def __init__(self, host: Host, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, port=PORT, **options)
        self._host = host

    def _command(self) -> Sequence[str]:
        return self._host.command(super()._command())

    def _process_environ(self) -> dict[str, str]:
        return {**super()._process_environ(), "EPICS_CAS_INTF_ADDR_LIST": ""}


def environ(*addresses: str, **variables: str) -> dict[str, str]:
    """The EPICS variables of a client that searches at *addresses* only."""
    return {
        "EPICS_CA_ADDR_LIST": " ".join(addresses),
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CA_SERVER_PORT": str(PORT),
        "CAPROTO_USE_REPEATER": "NO",
        **variables,
    }


class RemotePython:
    """An interpreter in a process at another host, into which a test speaks.

    >>> remote.do("from caproto.threading.client import Context", "ctx = Context()")
    >>> remote.ask("ctx.closed")
    False

    `wait_for` of the harness is known there, and ``log``, the list of what caproto logged: pairs of
    level and message.
    """

    def __init__(self, host: Host, environ: Mapping[str, str]) -> None:
        script = str(Path(__file__).with_name("remote_python.py"))
        self._process = subprocess.Popen(
            host.command([sys.executable, "-W", "error", script]),
            env=clean_environ(PYTHONUNBUFFERED="1", **environ),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )
        self._answers: SimpleQueue[str | None] = SimpleQueue()
        self._printed: list[str] = []
        self._reader = threading.Thread(target=self._collect, name="remote-output", daemon=True)
        self._reader.start()

    def do(self, *lines: str, timeout: float = 30.0) -> None:
        """Execute statements there."""
        self._call("exec", "\n".join(lines), timeout)

    def ask(self, expression: str, timeout: float = 30.0) -> Any:
        """Evaluate an expression there; the value must be JSON."""
        return self._call("eval", expression, timeout)

    def error(self, expression: str, timeout: float = 30.0) -> str:
        """Evaluate an expression that must raise; the class and the message of the exception."""
        return self._call("error", expression, timeout)

    def close(self) -> None:
        """End it, as a user's program would end."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=5)
        self._reader.join(5)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _call(self, kind: str, code: str, timeout: float) -> Any:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps([kind, code]) + "\n")
        try:
            answer = self._answers.get(timeout=timeout)
        except Empty:
            raise RemoteFailed(f"no answer within {timeout} s to {code}\n{self.text}") from None
        if answer is None:
            raise RemoteFailed(f"the interpreter ended at {code}\n{self.text}")
        good, value = json.loads(answer)
        if not good:
            raise RemoteFailed(f"{code}\n{value}{self.text}")
        return value

    @property
    def text(self) -> str:
        """Everything that it printed."""
        return "\n".join(self._printed)

    def _collect(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("ANSWER "):
                self._answers.put(line.removeprefix("ANSWER "))
            else:
                self._printed.append(line.rstrip("\n"))
        self._answers.put(None)
