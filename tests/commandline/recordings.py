"""Command lines of the EPICS tools, recorded with all that they print, and their replay with ours.

The recordings are in tests/vectors/catools, with a README.
"""
from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

import pytest

from tests.harness.ioc_process import clean_environ
from tests.harness.reference_ioc import FILES, ReferenceIOC

Case = dict[str, Any]
Result = dict[str, Any]

#: Seconds: a whole command, and one wait within it.
CASE_LIMIT, STEP_LIMIT = 30, 15
#: What is printed where the timeout matters: it came to its end, or is named.
ABOUT_TIME = re.compile("timed out|timeout|time out|not found", re.IGNORECASE)
#: One of so many cases of a kind, the first and so on, is run always; the others are thorough.
STRIDE = 3


def recorded(tool: str) -> list[Any]:
    """The cases of a tool, as parameters of a test."""
    found: list[Any] = []
    before: Counter[str] = Counter()
    for case in read_file(tool)["cases"]:
        kind = kind_of(case)
        marks = [pytest.mark.thorough] if before[kind] % STRIDE else []
        found.append(pytest.param(case, id=case["name"], marks=marks))
        before[kind] += 1
    return found


def kind_of(case: Case) -> str:
    """The first word of what a case is called behind the tool: "type" of "get: type INT"."""
    return re.findall(r"\w+", case["name"])[1]


def read_file(tool: str) -> dict[str, Any]:
    return json.loads((FILES / f"cases-{tool}.json").read_text())


def changes_something(case: Case) -> bool:
    """Whether the IOC is another one after the case."""
    steps = case.get("steps", ())
    return case["tool"] == "caput" or any("ioc" in kind for step in steps for kind in step)


class Player:
    """Runs cases; has an IOC, and a new one after each case that changes something.

    The next IOC is started while the case runs: an IOC sleeps for half a second of its start.
    """

    def __init__(self) -> None:
        self.ioc = ReferenceIOC()
        self._starter = ThreadPoolExecutor(1)
        self._next = self._starter.submit(ReferenceIOC().start)

    def close(self) -> None:
        self.ioc.kill()
        self._next.result().kill()
        self._starter.shutdown()

    def check(self, case: Case, module: str) -> None:
        """Fail unless the tool does what was recorded."""
        seen = self.play(case, [sys.executable, "-m", f"caproto.commandline.{module}"])
        rules = read_file(case["tool"])["normalise"]
        assert list(differences(case, rules, seen)) == []

    def play(self, case: Case, command: list[str]) -> Result:
        if not self.ioc.running:
            self.ioc = self._next.result()
        if changes_something(case):
            self._next = self._starter.submit(ReferenceIOC().start)
        try:
            return run(case, command, self.ioc)
        finally:
            if changes_something(case):
                self.ioc.kill()


# ---- running one case


class Output:
    """What a command writes to one of its streams, as it comes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._data, self._closed = b"", False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        while piece := os.read(self._stream.fileno(), 65536):
            with self._changed:
                self._data += piece
                self._changed.notify_all()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait_for_lines(self, count: int) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._data.count(b"\n") >= count, STEP_LIMIT
            )

    def text(self) -> str:
        self._thread.join(STEP_LIMIT)
        self._stream.close()
        return self._data.decode("utf-8", "surrogateescape")


def run(case: Case, command: list[str], ioc: ReferenceIOC) -> Result:
    """Run a case; return what it printed, and its status."""
    child = subprocess.Popen(
        [*command, *case["args"]],
        env=environment(case, ioc),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    assert child.stdin and child.stdout and child.stderr
    outputs = {"stdout": Output(child.stdout), "stderr": Output(child.stderr)}
    killer = threading.Timer(CASE_LIMIT, child.kill)
    killer.start()
    try:
        try:
            child.stdin.write(case.get("stdin", "").encode())
            child.stdin.close()
        except BrokenPipeError:  # it did not read it
            pass
        for step in case.get("steps", ()):
            if "signal" in step and case["status"] >= 0:  # by then the recorded tool had ended
                wait_for_end(child)
            take(step, child, outputs, ioc)
        child.wait()
    finally:
        killer.cancel()
        child.kill()
        child.wait()
        texts = {name: output.text() for name, output in outputs.items()}
        killer.join()
    return {**texts, "status": child.returncode}


def environment(case: Case, ioc: ReferenceIOC) -> dict[str, str]:
    found = {**clean_environ(**ioc.environ), "TZ": "UTC", "LANG": "C.UTF-8"}
    if not ABOUT_TIME.search(case["stdout"] + case["stderr"]):
        found["EPICS_CLI_TIMEOUT"] = "15"  # a busy machine may need more than the default of 1 s
    for name, text in case.get("env", {}).items():
        found[name] = text.replace("$PORT", str(ioc.port))
    return {name: text for name, text in found.items() if not name.startswith("LC_")}


def wait_for_end(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(STEP_LIMIT)
    except subprocess.TimeoutExpired:
        pass  # the signal ends it


def take(
    step: dict[str, Any],
    child: subprocess.Popen[bytes],
    outputs: dict[str, Output],
    ioc: ReferenceIOC,
) -> None:
    """Take one step of a case while the command runs."""
    ((kind, value),) = step.items()
    if kind in outputs:
        outputs[kind].wait_for_lines(value)
    elif kind == "pause":  # to see that no more is printed
        time.sleep(value)
    elif kind == "ioc":
        for line in value:
            ioc.command(line)
    elif kind == "stop_ioc":
        ioc.kill()
    elif kind == "start_ioc":
        ioc.restart()
    else:
        assert kind == "signal"
        child.send_signal(signal.Signals[f"SIG{value}"])


# ---- comparing


def differences(case: Case, rules: dict[str, Any], seen: Result) -> Iterator[str]:
    """Say what is not as recorded."""
    compare = case.get("compare", {})
    for pattern in compare.get("output", ()):
        if not re.search(pattern, seen["stdout"] + seen["stderr"]):
            yield f"the output lacks {pattern!r}"
    for name in "stdout", "stderr":
        how = compare.get(name, "exact")
        if isinstance(how, list):
            for pattern in how:
                if not re.search(pattern, seen[name]):
                    yield f"{name} lacks {pattern!r}: {seen[name]!r}"
        elif how != "ignore":
            texts = [
                comparable(result[name], name, case, rules, how) for result in (case, seen)
            ]
            if texts[0] != texts[1]:
                yield f"{name}: recorded {texts[0]!r}, seen {texts[1]!r}"
    if compare.get("status") != "ignore" and shell_status(case) != shell_status(seen):
        yield f"status: recorded {shell_status(case)}, seen {shell_status(seen)}"


def comparable(text: str, stream: str, case: Case, rules: dict[str, Any], how: str) -> str:
    """Hide what may differ from one run to the next."""
    for name in ("all", *case.get("normalise", ())):
        for where, pattern, replacement in rules[name]:
            if where in (stream, "both"):
                text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return "".join(sorted(text.splitlines(True))) if how == "any order" else text


def shell_status(result: Result) -> int:
    """The status as a shell has it: 128 + N for a process that signal N ended."""
    status: int = result["status"]
    return 128 - status if status < 0 else status
