"""The threading client: find PVs, read, write and watch them, from any thread.

::

    from caproto.threading.client import Context
    ctx = Context()
    x, dt = ctx.get_pvs('random_walk:x', 'random_walk:dt')
    dt.read().data
"""
from __future__ import annotations

from ..._client.explanation import Explanation
from ..._client.results import ReadResults, WriteResults
from ..._environment import ClientConfiguration
from ..._errors import (
    AccessError,
    CaprotoTimeoutError,
    ContextDisconnectedError,
    DeadCircuitError,
    DisconnectedError,
    ErrorResponseReceived,
    ReadError,
    ReentrantCallError,
    SubscriptionError,
    WriteError,
)
from ._batch import Batch
from ._circuit_manager import VirtualCircuitManager
from ._context import Context
from ._pv import PV
from ._shared_broadcaster import SharedBroadcaster
from ._subscription import Subscription

__all__ = [
    "AccessError",
    "Batch",
    "CaprotoTimeoutError",
    "ClientConfiguration",
    "Context",
    "ContextDisconnectedError",
    "DeadCircuitError",
    "DisconnectedError",
    "ErrorResponseReceived",
    "Explanation",
    "PV",
    "ReadError",
    "ReadResults",
    "ReentrantCallError",
    "SharedBroadcaster",
    "Subscription",
    "SubscriptionError",
    "VirtualCircuitManager",
    "WriteError",
    "WriteResults",
]

for _class in (
    Batch, Context, Explanation, PV, ReadResults, SharedBroadcaster, Subscription,
    VirtualCircuitManager, WriteResults,
):
    _class.__module__ = __name__
del _class
