"""The examples of Qt and Jupyter, where these are installed."""
from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from queue import Empty
from typing import Any

import pytest

from tests.harness.ioc_process import ROOT, clean_environ
from tests.harness.waiting import wait_for

#: What installs a module.
INSTALL = {
    "PySide6": ".venv/bin/python -m pip install -e '.[examples-gui]'",
    "ipykernel": ".venv/bin/python -m pip install -e '.[examples-gui]'",
    "PyQt6": ".venv/bin/python -m pip install PyQt6",
}


def need(module: str) -> pytest.MarkDecorator:
    """Skip a test if *module* is not installed."""
    missing = importlib.util.find_spec(module) is None
    reason = f"{module} is not installed; to run this test: {INSTALL[module]}"
    return pytest.mark.skipif(missing, reason=reason)


# ---- Qt

#: Uses the window of the example as a user would, and prints what it shows.
OPERATE = """
import sys, threading
sys.path.insert(0, {examples!r})
import qt_values
from {qt}.QtCore import QTimer
from {qt}.QtWidgets import QApplication

seen = []

class Watched(qt_values.Window):
    def __init__(self, ctx):
        super().__init__(ctx)
        print("enabled at first:", self.period.isEnabled())

    def show_x(self, response):
        super().show_x(response)
        seen.append(self.label.text())
        assert threading.current_thread() is threading.main_thread()

class App(QApplication):
    def exec(self):
        self.steps = iter(self.operate())
        self.timer = QTimer()
        self.timer.timeout.connect(self.step)
        self.timer.start(10)
        QTimer.singleShot(30000, lambda: self.exit(9))
        return super().exec()

    def step(self):
        try:
            ready = next(self.steps)
        except StopIteration:
            self.timer.stop()

    def operate(self):
        (window,) = [w for w in self.topLevelWidgets() if isinstance(w, Watched)]
        while not (window.period.isEnabled() and window.period.value() == 3.0 and seen):
            yield
        window.period.setValue(0.2)
        while not window.status.text():
            yield
        print("status:", window.status.text())
        count = len(seen)
        while len(seen) < count + 3:
            yield
        print("different values:", len(set(seen)) > 2)
        window.close()

qt_values.Window, qt_values.QApplication = Watched, App
print("exit code:", qt_values.main())
"""


@pytest.mark.parametrize("qt", [pytest.param(n, marks=need(n)) for n in ("PySide6", "PyQt6")])
def test_qt(demo_ioc, tmp_path, qt):
    text = (ROOT / "examples" / "qt_values.py").read_text()
    if qt == "PyQt6":  # as the page says
        text = text.replace("PySide6", "PyQt6").replace(
            "import QObject, Signal", "import QObject, pyqtSignal as Signal"
        )
    (tmp_path / "qt_values.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", OPERATE.format(examples=str(tmp_path), qt=qt)],
        env=clean_environ(QT_QPA_PLATFORM="offscreen", **demo_ioc.environ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == [
        "enabled at first: False",
        "status: ECA_NORMAL",
        "different values: True",
        "exit code: 0",
    ], done.stdout + done.stderr
    assert "Traceback" not in done.stderr


# ---- Jupyter


def cells() -> dict[str, str]:
    """The cells of the example by their names."""
    _, *parts = (ROOT / "examples" / "notebook.py").read_text().split("# %% ")
    pairs = (part.split("\n", 1) for part in parts)
    return {name: code.strip() for name, code in pairs}


class Notebook:
    """A kernel that runs cells; every output is kept, with the display it replaces."""

    def __init__(self, manager: Any, client: Any) -> None:
        self.manager, self.client = manager, client
        self.messages: list[tuple[str, dict[str, Any]]] = []

    def is_heard(self) -> bool:
        """Run a cell, and tell whether its messages arrive."""
        cell = self.start("pass")
        with contextlib.suppress(AssertionError):
            wait_for(lambda: self._take() or self.idle(cell), timeout=1.0)
        return self.idle(cell)

    def start(self, code: str) -> str:
        """Begin to run a cell."""
        self.messages.clear()
        return self.client.execute(code)

    def finish(self, cell: str) -> list[str]:
        """Wait for the end of a cell, and return what it showed, as text."""
        self.wait_for(lambda: self.idle(cell))
        return self.shown()

    def run(self, code: str) -> list[str]:
        """Run a cell; return what it showed."""
        return self.finish(self.start(code))

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Take messages until *condition* is true."""
        wait_for(
            lambda: self._take() or condition(), timeout=30, message=lambda: str(self.messages)
        )

    def _take(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                message = self.client.get_iopub_msg(timeout=0.05)
                message["content"]["of"] = message["parent_header"].get("msg_id")
                self.messages.append((message["msg_type"], message["content"]))

    def idle(self, cell: str) -> bool:
        """Tell whether a cell has ended."""
        return any(
            kind == "status" and content["execution_state"] == "idle" and content["of"] == cell
            for kind, content in self.messages
        )

    def shown(self) -> list[str]:
        """Everything that was shown, as text, but for changes of a display."""
        texts = []
        for kind, content in self.messages:
            assert kind != "error", "\n".join(content["traceback"])
            if kind in ("execute_result", "display_data"):
                texts.append(content["data"]["text/plain"])
            elif kind == "stream":
                texts.append(content["text"])
        return texts

    def updates(self) -> int:
        """How often a display was replaced."""
        return sum(kind == "update_display_data" for kind, _ in self.messages)


@pytest.fixture
def notebook(demo_ioc) -> Iterator[Notebook]:
    """A kernel in a process of its own, which finds the demo IOC."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(env=clean_environ(**demo_ioc.environ))
    notebook = Notebook(manager, client)
    try:
        # What a kernel shows is lost until its connection for that is complete.
        wait_for(notebook.is_heard, timeout=30, message="the kernel is heard")
        yield notebook
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
        client.context.destroy()


@need("ipykernel")
@pytest.mark.filterwarnings("default")  # those of the libraries of Jupyter in this process
def test_jupyter(notebook):
    code = cells()
    (shown,) = notebook.run(code["connect"])
    assert "'random_walk:dt': connected" in shown
    (shown,) = notebook.run(code["read"])
    assert shown == "3.0 s, no alarm"
    (shown,) = notebook.run(code["info"])
    assert "host  " in shown and "units  " in shown
    assert notebook.run(code["write"]) == ["0.2"]

    for _ in range(2):  # the function of the first time is gone when the cell runs again
        assert notebook.run(code["show"])[0] == "'waiting for an update'"
    assert notebook.run("len(sub.callbacks)")[-1] == "1"
    notebook.wait_for(lambda: notebook.updates() >= 3)
    notebook.run(code["collect"])
    wait_for(lambda: int(notebook.run(code["look"])[0]) >= 2, timeout=30)

    cell = notebook.start(code["loop"])
    notebook.wait_for(lambda: len("".join(notebook.shown())) > 10)
    notebook.manager.interrupt_kernel()  # the stop button
    assert "".join(notebook.finish(cell)).endswith("stopped\n")

    # It may interrupt any call of the client; the next cell works.
    cell = notebook.start("print('now'); ctx.get_pvs('missing')[0].read(timeout=None)")
    notebook.wait_for(lambda: "now\n" in notebook.shown())
    notebook.manager.interrupt_kernel()
    notebook.wait_for(lambda: notebook.idle(cell))
    assert [content["ename"] for kind, content in notebook.messages if kind == "error"] == [
        "KeyboardInterrupt"
    ]
    assert notebook.run(code["wait"]) == ["0.2"]
    (shown,) = notebook.run(code["end"])
    assert "closed" in shown
