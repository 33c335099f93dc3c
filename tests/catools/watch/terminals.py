"""Runs a program in a terminal of its own, a pty."""
from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
import time

LIMIT = 30.0


class Terminal:
    """A program in a terminal; a context manager that ends it.

    Parameters
    ----------
    command : list of str
    environ : dict
    size : (int, int)
        Columns and rows.
    """

    def __init__(self, command, environ, size=(120, 30)):
        self.ours, theirs = pty.openpty()
        columns, rows = size
        sizes = {"COLUMNS": str(columns), "LINES": str(rows)}
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.theirs = theirs  # kept open: its settings are looked at when the program has ended
        self.before = termios.tcgetattr(theirs)
        self.output = b""
        #: When something came.
        self.moments = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            command, env={"TERM": "xterm-256color", **environ, **sizes},
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self):
        while True:
            try:
                piece = os.read(self.ours, 65536)
            except OSError:  # the other side is closed
                piece = b""
            with self._changed:
                self.output += piece
                self.moments.append(time.monotonic())
                self._changed.notify_all()
            if not piece:
                return

    def wait_for(self, text, start=0):
        """Wait until the program has written this, after so many bytes of output."""
        with self._changed:
            found = self._changed.wait_for(lambda: text in self.output[start:], LIMIT)
        assert found, self.output[start:]

    def type(self, text):
        os.write(self.ours, text.encode())

    def stop(self):
        """Wait until the program has stopped itself, as after Ctrl-Z."""
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

    def end(self):
        """Wait until the program ends; return its exit status."""
        return self.process.wait(LIMIT)

    @property
    def restored(self):
        """Whether the terminal is as it was before."""
        modes = (b"\x1b[?1049", b"\x1b[?25")  # the second screen; the cursor
        last = [self.output[self.output.rfind(mode) + len(mode) :][:1] for mode in modes]
        return last == [b"l", b"h"] and termios.tcgetattr(self.theirs) == self.before

    def is_restored(self):
        """Tell whether it is so, as soon as all output is there."""
        with self._changed:
            return self._changed.wait_for(lambda: self.restored, LIMIT)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.process.kill()
        self.process.wait()
        os.close(self.theirs)
        self._thread.join(LIMIT)
        os.close(self.ours)
