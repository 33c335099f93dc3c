"""The threading client: find PVs, read, write and watch them, from any thread.

::

    from caproto.threading.client import Context
    ctx = Context()
    x, dt = ctx.get_pvs('random_walk:x', 'random_walk:dt')
    dt.read().data
"""
from __future__ import annotations

from typing import TYPE_CHECKING as _TYPE_CHECKING

from ... import _faces
from ..._environment import ClientConfiguration
from ..._errors import (
    AccessError,
    CaprotoError,
    CaprotoKeyError,
    CaprotoNetworkError,
    CaprotoRuntimeError,
    CaprotoTimeoutError,
    CaprotoTypeError,
    CaprotoValueError,
    ContextDisconnectedError,
    DeadCircuitError,
    DisconnectedError,
    ErrorResponseReceived,
    ReadError,
    ReentrantCallError,
    SubscriptionError,
    WriteError,
)
from ._circuit_manager import VirtualCircuitManager
from ._context import Context
from ._pv import PV
from ._shared_broadcaster import SharedBroadcaster
from ._subscription import Subscription

if _TYPE_CHECKING:
    from ..._client.column_requests import TableWritten
    from ..._client.column_updates import Updates
    from ..._client.explanation import Explanation
    from ..._client.info import Info
    from ..._client.metadata import Metadata
    from ..._client.results import ReadResults, WriteResults
    from ..._client.snapshot_difference import SnapshotDifference
    from ..._client.table_snapshot import TableSnapshot
    from ._batch import Batch
    from ._callback_handler import CallbackHandler
    from ._connection_watch import ConnectionWatch
    from ._ensure_connected import ensure_connected
    from ._info import MetadataWatch
    from ._table import Table
    from ._table_monitors import Live, Recording

#: The names of modules that are imported at the first use of one of them.
_HOMES = {
    "..._client.explanation": "Explanation",
    "..._client.info": "Info",
    "..._client.metadata": "Metadata",
    "..._client.results": "ReadResults WriteResults",
    "..._client.snapshot_difference": "SnapshotDifference",
    "..._client.table_snapshot": "TableSnapshot",
    "._batch": "Batch",
    "._callback_handler": "CallbackHandler",
    "._connection_watch": "ConnectionWatch",
    "._ensure_connected": "ensure_connected",
    "._info": "MetadataWatch",
    "..._client.column_requests": "TableWritten",
    "..._client.column_updates": "Updates",
    "._table": "Table",
    "._table_monitors": "Live Recording",
}

__all__ = [
    "AccessError",
    "Batch",
    "CallbackHandler",
    "CaprotoError",
    "CaprotoKeyError",
    "CaprotoNetworkError",
    "CaprotoRuntimeError",
    "CaprotoTimeoutError",
    "CaprotoTypeError",
    "CaprotoValueError",
    "ClientConfiguration",
    "ConnectionWatch",
    "Context",
    "ContextDisconnectedError",
    "DeadCircuitError",
    "DisconnectedError",
    "ErrorResponseReceived",
    "Explanation",
    "Info",
    "Live",
    "Metadata",
    "MetadataWatch",
    "PV",
    "ReadError",
    "ReadResults",
    "Recording",
    "ReentrantCallError",
    "SharedBroadcaster",
    "SnapshotDifference",
    "Subscription",
    "SubscriptionError",
    "Table",
    "TableSnapshot",
    "TableWritten",
    "ThreadingClientException",
    "Updates",
    "VirtualCircuitManager",
    "WriteError",
    "WriteResults",
    "ensure_connected",
]

#: The name that programs know for what all our errors derive from.
ThreadingClientException = CaprotoError

for _class in (Context, PV, SharedBroadcaster, Subscription, VirtualCircuitManager):
    _class.__module__ = __name__
del _class

if not _TYPE_CHECKING:  # which would take it for any name
    __getattr__ = _faces.importer(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
