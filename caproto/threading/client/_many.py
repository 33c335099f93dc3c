"""Read and write many PVs of a Context with one call; see `Context.read` and `Context.write`."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from ..._client.arguments import DataType
from ..._client.results import ReadResults, WriteResults
from ..._errors import CaprotoError
from ..._protocol.commands import ReadNotifyResponse, WriteNotifyResponse
from .._waiting import Deadline
from ._gathering import read_all, write_all
from ._pv import PV


def read_many(pvs: Sequence[PV], data_type: DataType, deadline: Deadline) -> ReadResults:
    """Read each of *pvs* in this type, as many elements as there are."""
    outcomes = read_all(pvs, [(data_type, None)], deadline)
    pairs = {pv.name: outcome for pv, (outcome,) in zip(pvs, outcomes, strict=True)}
    return ReadResults(cast("dict[str, ReadNotifyResponse | CaprotoError]", pairs))


def write_many(
    pvs: Sequence[PV], values: Mapping[str, object], deadline: Deadline
) -> WriteResults:
    """Write its value to each of *pvs*, and wait for the confirmations."""
    outcomes = write_all({pv: values[pv.name] for pv in pvs}, deadline)
    pairs = {pv.name: outcome for pv, outcome in zip(pvs, outcomes, strict=True)}
    return WriteResults(cast("dict[str, WriteNotifyResponse | CaprotoError]", pairs), values)
