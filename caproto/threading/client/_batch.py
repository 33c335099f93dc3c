"""Batch: many requests, sent together."""
from __future__ import annotations

from collections.abc import Callable

from ..._client.arguments import (
    DataType,
    check_callback,
    check_count,
    check_data_type,
    check_timeout,
)
from ..._client.operations import Operation, Read, TypedRead, Write
from ..._errors import CaprotoTypeError
from ..._protocol.commands import ErrorResponse, ReadNotifyResponse, WriteNotifyResponse
from .._waiting import Deadline
from ._home import home_of
from ._pv import PV
from ._sending import PV_OF, Failure, send_all


class Batch:
    """Collects reads and writes and sends them together on leaving the block.

    Parameters
    ----------
    timeout : float or None
        Seconds, counted from leaving the block; None without end: how long to wait for PVs that are
        not connected yet, and when to stop waiting for replies. A reply that does not come in time
        is logged; the callback of a read is not called then, that of a write with the status
        ECA_TIMEOUT (see `PV.write`).

    Raises
    ------
    CaprotoError
        On leaving the block, if something could not be sent: a PV was not connected in time, its
        access rights forbid it, or a value does not fit its type. All that can be sent is sent
        nevertheless. The first such error is raised, the others are logged, with the names of their
        PVs. (Nothing at all is sent if the block itself ends with an exception.)

    Notes
    -----
    For each circuit the requests of PVs that are connected are sent first, in the order in which
    they were made, in blocks of 250, each with one call of the system; the others follow as their
    PVs connect. The requests of one PV keep their order.

    Examples
    --------
    >>> with Batch() as batch:                              # doctest: +SKIP
    ...     for pv in pvs:
    ...         batch.read(pv, functools.partial(collect, pv))
    """

    def __init__(self, timeout: float | None = 2) -> None:
        self.timeout = check_timeout(timeout)
        self._deadline = Deadline(self.timeout)  # begins again on leaving the block
        self._requests: list[Operation] = []

    def __repr__(self) -> str:
        count = len(self._requests)
        return f"<Batch: {count} request{'s'[:count != 1]} to send, timeout={self.timeout}>"

    def read(
        self,
        pv: PV,
        callback: Callable[[ReadNotifyResponse], object],
        data_type: DataType | None = None,
        data_count: int | None = None,
    ) -> None:
        """Read *pv* and call *callback* with the response. See `PV.read`."""
        check_pv(pv)
        check_callback(callback)
        if data_type is None and data_count is None:
            self._requests.append(Read(pv, callback, self._deadline))
        else:
            check_data_type(data_type)
            check_count(data_count)
            self._requests.append(TypedRead(pv, callback, self._deadline, data_type, data_count))

    def write(
        self,
        pv: PV,
        data: object,
        callback: Callable[[WriteNotifyResponse | ErrorResponse], object] | None = None,
        data_type: DataType | None = None,
        data_count: int | None = None,
    ) -> None:
        """Write *data* to *pv*; with *callback*, ask for a confirmation. See `PV.write`."""
        check_pv(pv)
        check_callback(callback)
        check_data_type(data_type)
        check_count(data_count)
        notify = callback is not None
        self._requests.append(
            Write(pv, callback, self._deadline, data, data_type, data_count, notify)
        )

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, kind: object, _value: object, _traceback: object) -> None:
        requests, self._requests = self._requests, []
        deadline, self._deadline = self._deadline, Deadline(self.timeout)
        if kind is None:
            pvs: set[PV] = set(map(PV_OF, requests))
            for context in set(map(home_of, pvs)):
                context.check_reentry("The end of a Batch")
            deadline.restart()
            _report(send_all(requests, deadline))


def check_pv(pv: object) -> None:
    """Raise CaprotoTypeError unless *pv* is a PV."""
    if not isinstance(pv, PV):
        raise CaprotoTypeError(f"pv must be a PV, as get_pvs returns them, not {pv!r}")


def _report(failures: list[Failure]) -> None:
    """Raise the first failure, log the others."""
    for request, error in failures[1:]:
        request.pv.log.warning("Not sent: %s", error)
    if failures:
        raise failures[0][1].with_traceback(None) from None  # users need not see our frames
