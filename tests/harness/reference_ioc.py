"""A real IOC with the records that recorded command lines work on; its clocks stand still.

As a program it is the process of this IOC: records whose TSE is one of `CLOCKS` get that time.
``@time EVENT SECONDS NANOSECONDS`` on its standard input moves a clock, every other line is a
command of the IOC shell.
"""
from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import types
from collections.abc import Sequence
from pathlib import Path

from tests.harness.ioc_process import IOCProcess, PortTaken

FILES = Path(__file__).parents[1] / "vectors" / "catools"
#: Event number -> (seconds since 1970, nanoseconds).
CLOCKS = {
    301: (1741529716, 123456789),  # 2025-03-09 14:15:16
    302: (1709251199, 500000000),  # 2024-02-29 23:59:59
    303: (1735689600, 0),  # 2025-01-01 00:00:00
    304: (1735689600, 999999600),
    305: (1752580800, 1),  # 2025-07-15 12:00:00
    306: (4133980799, 123456000),  # 2100-12-31 23:59:59
    307: (631152001, 0),  # 1990-01-01 00:00:01
    310: (1748779200, 0),  # 2025-06-01 12:00:00
}
_EPOCH = 631152000


class ReferenceIOC(IOCProcess):
    """The IOC as tests see it."""

    def _command(self) -> Sequence[str]:
        return [sys.executable, "-m", "tests.harness.reference_ioc"]

    def _check_started(self) -> None:
        if "was unavailable" in self.text or "No TCP server" in self.text:
            raise PortTaken(self.text)

    def command(self, line: str) -> None:
        """Give a line to the process and wait until it is done."""
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self._wait_for_line("DONE", 15)


class _Stamp(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_uint32), ("nanoseconds", ctypes.c_uint32)]  # since 1990


def serve() -> None:
    """Be the process of the IOC."""
    # epicscorelibs wants a function of setuptools_dso.runtime; setuptools is slow to import.
    spec = importlib.util.find_spec("setuptools_dso")
    assert spec is not None
    package = sys.modules["setuptools_dso"] = types.ModuleType("setuptools_dso")
    package.__path__ = spec.submodule_search_locations
    package.find_dso = importlib.import_module("setuptools_dso.runtime").find_dso
    from epicscorelibs import ioc, path

    clocks = dict(CLOCKS)

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Stamp), ctypes.c_int)
    def tell_time(stamp, event):
        if event not in clocks:
            return -1
        seconds, nanoseconds = clocks[event]
        stamp.contents.seconds, stamp.contents.nanoseconds = seconds - _EPOCH, nanoseconds
        return 0

    ctypes.CDLL(path.get_lib("Com")).generalTimeRegisterEventProvider(b"reference", 1, tell_time)
    ioc.iocshRegisterCommon()
    ioc.dbLoadDatabase(b"base.dbd", os.fspath(ioc.DEFAULT_DBD_PATH).encode(), None)
    ioc.registerRecordDeviceDriver(ioc.pdbbase)
    ioc.ioc(f'asSetFilename("{FILES / "reference.acf"}")')
    if ioc.dbLoadRecords(os.fsencode(FILES / "reference.db"), b""):
        sys.exit("cannot load reference.db")
    ioc.iocInit()
    say("READY")
    for line in sys.stdin:
        if line.startswith("@time"):
            event, *when = map(int, line.split()[1:])
            clocks[event] = (when[0], when[1])
        else:
            ioc.ioc(line.strip())
        say("DONE")
    os._exit(0)


def say(word: str) -> None:
    """Print *word* after everything that C code has printed."""
    ctypes.CDLL(None).fflush(None)
    print(word, flush=True)


if __name__ == "__main__":
    serve()
