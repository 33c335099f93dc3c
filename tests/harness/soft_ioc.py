"""The process of a real EPICS C++ soft IOC; started by `ioc_process.SoftIOC`, not imported.

``python soft_ioc.py MACROS ACCESS_FILE SCAN_RATES_FILE DATABASE...`` loads the files, starts
the IOC and says READY. Then every line on standard input is a command of the IOC shell, answered
by what it prints and DONE. The IOC ends with its standard input, so it cannot outlive whoever
started it.

With the environment variable SOFT_IOC_WAIT it says LOADED when only the start is missing, and waits
for a line on standard input.
"""
from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import types

# epicscorelibs wants a function of setuptools_dso.runtime; setuptools itself, which the package
# imports, would take a quarter of the time that an IOC needs to start.
_spec = importlib.util.find_spec("setuptools_dso")
assert _spec is not None
_package = sys.modules["setuptools_dso"] = types.ModuleType("setuptools_dso")
_package.__path__ = _spec.submodule_search_locations
_package.find_dso = importlib.import_module("setuptools_dso.runtime").find_dso

from epicscorelibs import ioc  # noqa: E402


def say(word: str) -> None:
    """Print *word* after everything that C code has printed."""
    ctypes.CDLL(None).fflush(None)
    print(word, flush=True)


def main(macros: str, access_file: str, scan_rates: str, *databases: str) -> None:
    ioc.iocshRegisterCommon()
    dbd_path = os.fspath(ioc.DEFAULT_DBD_PATH).encode()
    for definitions in (scan_rates, "base.dbd"):
        if ioc.dbLoadDatabase(definitions.encode(), dbd_path, None):
            sys.exit(f"cannot load {definitions}")
    ioc.registerRecordDeviceDriver(ioc.pdbbase)
    ioc.ioc(f'asSetFilename("{access_file}")')
    for database in databases:
        if ioc.dbLoadRecords(database.encode(), macros.encode()):
            sys.exit(f"cannot load {database}")
    if "SOFT_IOC_WAIT" in os.environ:
        say("LOADED")
        sys.stdin.readline()
    ioc.iocInit()
    say("READY")
    for line in sys.stdin:
        ioc.ioc(line.strip())
        say("DONE")
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
