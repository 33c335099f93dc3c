"""``install``: have ``import epics`` find this package."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

from ..._errors import CaprotoRuntimeError
from ..._protocol.dbr import AlarmSeverity

_FACE = __package__ or ""
#: Names of pyepics' upper layers, and the modules of an installed pyepics that have them.
_UPPER = {
    "Alarm": "alarm",
    "CAPool": "multiproc",
    "CAProcess": "multiproc",
    "Device": "device",
    "Motor": "motor",
}


def install() -> ModuleType:
    """Put a stand-in for pyepics into ``sys.modules``; return it.

    Its upper layers (``epics.device``, ``epics.motor``, ``epics.alarm`` and so on) are those of the
    pyepics that is installed, if it is; they then use this client.

    Raises
    ------
    CaprotoRuntimeError
        If pyepics was imported before: its C library runs already.
    """
    present = sys.modules.get("epics")
    if present is not None:
        if getattr(present, "__caproto__", False):
            return present
        raise CaprotoRuntimeError(
            "epics (pyepics) was imported before; call install() before anything imports it"
        )
    face = importlib.import_module(_FACE)
    spec = importlib.util.find_spec("epics")  # imports nothing
    module = ModuleType("epics", face.__doc__)
    module.__path__ = list((spec and spec.submodule_search_locations) or [])
    vars(module).update({name: getattr(face, name) for name in face.__all__})
    vars(module).update(__caproto__=True, __version__="3.5.0", pv=_module("epics.pv", face))
    vars(module).update({severity.name: int(severity) for severity in AlarmSeverity})
    module.__getattr__ = _upper  # type: ignore[method-assign]
    sys.modules["epics"] = module
    for name in ("ca", "dbr"):
        sys.modules[f"epics.{name}"] = getattr(face, name)
    sys.modules["epics.pv"] = module.pv
    return module


def _upper(name: str) -> object:
    """Find a name of pyepics' upper layers, at its first use."""
    if name not in _UPPER:
        raise AttributeError(f"module 'epics' has no attribute {name!r}")
    return getattr(importlib.import_module(f"epics.{_UPPER[name]}"), name)


def _module(name: str, face: ModuleType) -> ModuleType:
    """Make a module with the names of *face*."""
    module = ModuleType(name, face.__doc__)
    vars(module).update({one: getattr(face, one) for one in face.__all__})
    module.fmt_time = _fmt_time  # type: ignore[attr-defined]
    return module


def _fmt_time(tstamp: float | None = None) -> str:
    """Write a time stamp as pyepics does."""
    import datetime
    import time

    moment = datetime.datetime.fromtimestamp(time.time() if tstamp is None else tstamp)
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}"[:-1]
