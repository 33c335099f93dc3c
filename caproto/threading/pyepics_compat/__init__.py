"""What programs written for pyepics use, on the threading client.

::

    from caproto.threading.pyepics_compat import PV, caget, caput
    caget('random_walk:x')

:func:`install` makes ``import epics`` find this package.
"""

from __future__ import annotations

from . import ca, dbr
from ._connection import AUTOMONITOR_MAXLENGTH
from ._epics import install
from ._errors import AccessRightsException
from ._functions import (
    caget,
    caget_many,
    cainfo,
    camonitor,
    camonitor_clear,
    caput,
    caput_many,
    get_pv,
    poll,
)
from ._pv import PV

__all__ = [
    "AUTOMONITOR_MAXLENGTH",
    "AccessRightsException",
    "PV",
    "ca",
    "caget",
    "caget_many",
    "cainfo",
    "camonitor",
    "camonitor_clear",
    "caput",
    "caput_many",
    "dbr",
    "get_pv",
    "install",
    "poll",
]
