"""What the C client library gets from an IOC, in all 39 types, decoded without any code of ours.

libca hands its user C structures; where their fields are is written in
tests/vectors/dbr_layouts.json, which was made with a C compiler.
"""
from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

from tests import vectors_support
from tests.harness.ioc_process import SoftIOC
from tests.harness.libca import run_libca

_SCRIPT = """
import ctypes, time
from epics import ca, dbr

ca.initialize_libca()
layouts, wanted = json.loads({arguments!r})
found = {{}}

@ctypes.CFUNCTYPE(None, dbr.event_handler_args)
def on_reply(args):
    raw = ""
    if args.status == 1:
        offset, size = layouts[args.type]
        raw = ctypes.string_at(args.raw_dbr, offset + size * args.count).hex()
    found[args.usr] = [args.status, args.count, raw]

numbers = list(range(len(wanted)))  # C keeps no reference to them
channels = {{name: ca.create_channel(name) for name, _, _ in wanted}}
for channel in channels.values():
    assert ca.connect_channel(channel, timeout=10)
expected = 0
for number, (name, code, count) in enumerate(wanted):
    status = ca.libca.ca_array_get_callback(
        code, count, channels[name], on_reply, ctypes.py_object(numbers[number])
    )
    if status == 1:
        expected += 1
    else:
        found[number] = [status, 0, ""]
ca.flush_io()
deadline = time.monotonic() + 20
while len(found) < len(wanted) and time.monotonic() < deadline:
    ca.poll(0.01)
for number in range(len(wanted)):
    report(found[number])
"""


class Reading(NamedTuple):
    """One reply, as the user of the C library sees it."""

    status: int  #: the ECA status; without success the rest is empty
    metadata: dict[str, Any]
    values: list[Any]


Request = tuple[str, int, int]


def readings(ioc: SoftIOC, requests: list[Request]) -> dict[Request, Reading]:
    """Read each ``(name, type, count)``; count 0 means all there are."""
    layouts = vectors_support.layouts()
    places = [(layout["value_offset"], layout["element_size"]) for layout in layouts]
    script = _SCRIPT.format(arguments=json.dumps([places, requests]))
    replies = run_libca(script, ioc.environ)
    return {
        request: _decode(layouts[request[1]], *reply)
        for request, reply in zip(requests, replies, strict=True)
    }


def _decode(layout: dict[str, Any], status: int, count: int, raw: str) -> Reading:
    if status != 1:
        return Reading(status, {}, [])
    data = bytes.fromhex(raw)
    metadata = {
        field["name"]: _field(field["format"], data, field["offset"])
        for field in layout["metadata_fields"]
    }
    form, size = layout["element_format"], layout["element_size"]
    places = range(layout["value_offset"], len(data), size)
    return Reading(status, metadata, [_field(form, data, place) for place in places])


def _field(form: str, data: bytes, offset: int) -> Any:
    """One field, in the byte order of this machine; texts end at their first zero."""
    if form == "16x26s":
        return [_field("26s", data, offset + 26 * state) for state in range(16)]
    (value,) = struct.unpack_from("=" + form, data, offset)
    return value.split(b"\0")[0] if isinstance(value, bytes) else value
