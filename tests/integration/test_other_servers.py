"""Servers that other people wrote: what they do beside the protocol, and what it costs.

One scripted server has a PV for each habit. The C library and our client use them all, over one
circuit each. What the C library makes of each habit was found by this very experiment; the table in
the manual, docs/core.rst, is made of it.
"""
from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import caproto as ca
from caproto import ChannelType
from caproto.threading.client import Context
from tests.harness.fake_server import Connection, FakePV, FakeServer
from tests.harness.waiting import wait_for

LONG, DOUBLE, GETFAIL = 5, 6, 152
READ, WRITE, EVENT = ca.ReadNotifyRequest, ca.WriteNotifyRequest, ca.EventAddRequest
#: An id that no client uses so early.
NEVER = 0x7FFFFF
#: Outcomes other than a value. NOTHING: the user never hears of the request again. NONSENSE: as
#: many elements as the header says, some of them zeros or left over from earlier messages.
ERROR, NOTHING, NONSENSE = "error", "nothing", "nonsense"


def message(
    command: int, data_type: int = 0, count: int = 0, p1: int = 0, p2: int = 0, payload: bytes = b""
) -> bytes:
    header = struct.pack(">HHHHII", command, len(payload), data_type, count, p1, p2)
    return header + payload


def longs(*values: int) -> bytes:
    payload = struct.pack(f">{len(values)}i", *values)
    return payload + bytes(-len(payload) % 8)


def doubles(*values: float) -> bytes:
    return struct.pack(f">{len(values)}d", *values)


def value(request: Any, values: tuple[int, ...] = (1, 2, 3), **changes: Any) -> bytes:
    """The right answer to a read or subscription, with *changes*."""
    fields = {
        "command": request.ID, "data_type": LONG, "count": len(values), "p1": 1,
        "p2": request.fields[5], "payload": longs(*values),
    }
    return message(**{**fields, **changes})


def written(request: Any, **changes: Any) -> bytes:
    """The right answer to a write, with *changes*."""
    fields = {
        "command": 19, "data_type": request.fields[2], "count": request.fields[3], "p1": 1,
        "p2": request.ioid,
    }
    return message(**{**fields, **changes})


def extended(request: Any, values: tuple[int, ...]) -> bytes:
    """The right answer to a read under the extended header, which it does not need."""
    payload = longs(*values)
    numbers = (15, 0xFFFF, LONG, 0, 1, request.ioid, len(payload), len(values))
    return struct.pack(">HHHHIIII", *numbers) + payload


def error_about(request: Any, cid: int, text: bytes = b"why\0\0\0\0\0") -> bytes:
    return message(11, 0, 0, cid, GETFAIL, bytes(request)[:16] + text)


@dataclass
class Habit:
    """What a server does on a request, and what becomes of it.

    Attributes
    ----------
    on : type
        The request.
    answer : callable
        ``answer(request, cid)``: the bytes that it sends.
    libca : list of numbers, ERROR, NOTHING or NONSENSE
        What the user of the C library gets.
    ours : the same
        What our user gets, where that is better.
    """

    on: type
    answer: Callable[[Any, int], bytes]
    libca: Any
    ours: Any = None


THREE, DONE = [1, 2, 3], []
#: What costs no circuit, neither the C library's nor ours. All reads ask for 4 LONG of a channel
#: that may have 10.
TOLERATED: dict[str, Habit] = {
    # --- other values than were asked for
    "fewer_elements": Habit(READ, lambda q, cid: value(q), THREE),
    "no_elements": Habit(READ, lambda q, cid: value(q, ()), []),
    "more_elements": Habit(READ, lambda q, cid: value(q, (1, 2, 3, 4, 5)), [1, 2, 3, 4, 5]),
    "more_than_the_channel_has": Habit(
        READ, lambda q, cid: value(q, tuple(range(12))), list(range(12))
    ),
    "another_type": Habit(
        READ, lambda q, cid: value(q, (1,), data_type=DOUBLE, payload=doubles(1.5)), [1.5]
    ),
    "a_type_that_does_not_exist": Habit(READ, lambda q, cid: value(q, data_type=99), ERROR),
    "bytes_after_the_value": Habit(
        READ, lambda q, cid: value(q, payload=longs(1, 2, 3) + bytes(64)), THREE
    ),
    "extended_header_for_a_small_value": Habit(READ, lambda q, cid: extended(q, (1, 2, 3)), THREE),
    "value_that_is_cut_off": Habit(
        READ, lambda q, cid: value(q, (1, 2, 3, 4), count=5), NONSENSE, ERROR
    ),
    "value_that_is_missing": Habit(
        READ, lambda q, cid: value(q, (), count=3), NONSENSE, ERROR
    ),
    # --- other commands, statuses and ids
    "read_answered_as_an_update": Habit(READ, lambda q, cid: value(q, command=1), THREE),
    "read_answered_as_an_old_read": Habit(
        # The C library does not convert the byte order.
        READ, lambda q, cid: value(q, command=3), [1 << 24, 2 << 24, 3 << 24], THREE
    ),
    "read_answered_as_a_write": Habit(READ, lambda q, cid: value(q, command=19), NOTHING, ERROR),
    "failure_with_a_value": Habit(READ, lambda q, cid: value(q, p1=GETFAIL), ERROR),
    "failure_without_a_value": Habit(READ, lambda q, cid: value(q, (), p1=GETFAIL), ERROR),
    "status_of_another_success": Habit(READ, lambda q, cid: value(q, p1=0x10001), ERROR),
    "status_0": Habit(READ, lambda q, cid: value(q, p1=0), ERROR),
    "error_instead_of_a_reply": Habit(READ, error_about, ERROR),
    "error_for_another_channel": Habit(READ, lambda q, cid: error_about(q, 9999), ERROR),
    "error_without_text": Habit(READ, lambda q, cid: error_about(q, cid, b""), ERROR),
    "error_without_end": Habit(READ, lambda q, cid: error_about(q, cid, b"x" * 8), ERROR),
    "reply_for_an_id_never_used": Habit(
        READ, lambda q, cid: 20 * value(q, p2=NEVER) + value(q), THREE
    ),
    "update_for_an_id_never_used": Habit(
        READ, lambda q, cid: value(q, command=1, p2=NEVER) + message(1, LONG, 0, 1, NEVER)
        + value(q), THREE
    ),
    "reply_that_comes_twice": Habit(READ, lambda q, cid: 2 * value(q), THREE),
    # --- what has nothing to do with the request
    "version_again": Habit(READ, lambda q, cid: message(0, 0, 13) + value(q), THREE),
    "version_of_the_future": Habit(READ, lambda q, cid: message(0, 0, 99) + value(q), THREE),
    "version_with_a_payload": Habit(
        READ, lambda q, cid: message(0, 0, 13, payload=bytes(8)) + value(q), THREE
    ),
    "echo_that_was_not_asked_for": Habit(
        READ, lambda q, cid: message(23, 1, 2, 3, 4, bytes(8)) + message(10) + value(q), THREE
    ),
    "rights_of_an_unknown_channel": Habit(
        READ, lambda q, cid: message(22, 0, 0, 9999, 3) + value(q), THREE
    ),
    "rights_with_all_bits": Habit(
        READ, lambda q, cid: message(22, 0, 0, cid, 0xFFFFFFFF, bytes(8)) + value(q), THREE
    ),
    "channel_created_twice": Habit(
        READ, lambda q, cid: message(18, LONG, 10, cid, q.sid) + value(q), THREE
    ),
    "channel_created_twice_otherwise": Habit(
        READ, lambda q, cid: message(18, DOUBLE, 5, cid, 777) + value(q), THREE
    ),
    "refusal_of_an_unknown_channel": Habit(
        READ, lambda q, cid: message(26, 0, 0, 9999) + message(27, 0, 0, 9999) + value(q), THREE
    ),
    "clearing_that_was_not_asked_for": Habit(
        READ, lambda q, cid: message(12, 0, 0, q.sid, cid) + message(12, 0, 0, 9999, 9999)
        + value(q), THREE
    ),
    # --- writes
    "write_confirmed_with_another_type": Habit(
        WRITE, lambda q, cid: written(q, data_type=2), DONE
    ),
    "write_confirmed_with_no_type": Habit(WRITE, lambda q, cid: written(q, data_type=99), DONE),
    "write_confirmed_with_another_count": Habit(WRITE, lambda q, cid: written(q, count=5000), DONE),
    "write_confirmed_with_a_payload": Habit(
        WRITE, lambda q, cid: written(q, payload=bytes(16)), DONE
    ),
    "write_confirmed_twice": Habit(WRITE, lambda q, cid: 2 * written(q), DONE),
    "write_of_another_id_confirmed": Habit(
        WRITE, lambda q, cid: written(q, p2=NEVER) + written(q), DONE
    ),
    "write_answered_as_a_read": Habit(
        WRITE, lambda q, cid: value(q, command=15), NOTHING, ERROR
    ),
    # --- updates
    "update_with_fewer_elements": Habit(EVENT, lambda q, cid: value(q), THREE),
    "update_with_more_elements": Habit(
        EVENT, lambda q, cid: value(q, tuple(range(12))), list(range(12))
    ),
    "update_of_another_type": Habit(
        EVENT, lambda q, cid: value(q, (1,), data_type=DOUBLE, payload=doubles(1.5)), [1.5]
    ),
    "update_as_a_reply": Habit(EVENT, lambda q, cid: value(q, command=15), THREE),
    "update_after_one_of_no_type": Habit(
        EVENT, lambda q, cid: value(q, data_type=99) + value(q), THREE
    ),
    "update_after_a_failure": Habit(EVENT, lambda q, cid: value(q, p1=GETFAIL) + value(q), THREE),
    # An IOC sends this for an empty array; the C library takes it for the end of a subscription.
    "update_of_an_empty_array": Habit(EVENT, lambda q, cid: value(q, ()) + value(q), THREE, []),
    "update_of_nothing": Habit(
        EVENT, lambda q, cid: value(q, (), data_type=0) + value(q), THREE, []
    ),
    "update_of_an_empty_array_with_bytes": Habit(
        EVENT, lambda q, cid: value(q, (), payload=bytes(8)) + value(q), []
    ),
    "update_without_a_value_and_a_failure": Habit(
        EVENT, lambda q, cid: value(q, (), p1=GETFAIL) + value(q), THREE
    ),
    "update_that_is_cut_off": Habit(
        EVENT, lambda q, cid: value(q, (1, 2), count=9) + value(q), NONSENSE, THREE
    ),
}

#: What costs the C library its circuit, and ours, too: nothing that follows can be trusted.
BREAKING: dict[str, Callable[[Any, int], bytes]] = {
    "unknown_command": lambda q, cid: message(99, payload=bytes(8)),
    "command_of_clients": lambda q, cid: message(8),
    "obsolete_command": lambda q, cid: message(16),
    "size_not_a_multiple_of_8": lambda q, cid: value(q, payload=bytes(12)),
}
#: What costs the C library its circuit, but not ours.
BREAKING_LIBCA: dict[str, Callable[[Any, int], bytes]] = {
    "error_without_a_header": lambda q, cid: message(11, 0, 0, 1, GETFAIL, bytes(8)),
    "error_that_is_empty": lambda q, cid: message(11, 0, 0, 1, GETFAIL),
    "search_replies": lambda q, cid: message(6, 5064, 0, 0xFFFFFFFF, 1, bytes(8)) + message(14),
}


class OddServer(FakeServer):
    """A server whose PVs have habits; ``good`` has none."""

    def __init__(self) -> None:
        array = FakePV([1, 2, 3], ChannelType.LONG, 10)
        odd = [*TOLERATED, *BREAKING, *BREAKING_LIBCA]
        super().__init__({**dict.fromkeys(odd, array), "good": 1.5}, judge=False)
        for request in READ, WRITE, EVENT:
            self.on[request] = self.answer

    def answer(self, connection: Connection, request: Any) -> None:
        channel = connection.circuit.channels_sid[request.sid]
        habit = TOLERATED.get(channel.name)
        if habit is not None and type(request) is habit.on:
            connection.send_raw(habit.answer(request, channel.cid))
            return
        breach = {**BREAKING, **BREAKING_LIBCA}.get(channel.name)
        if breach is not None and type(request) is READ:
            connection.send_raw(breach(request, channel.cid))
        self.usual(connection, request)


@pytest.fixture
def server():
    with OddServer() as running:
        yield running


@pytest.fixture
def ctx(server):
    with Context(configuration=server.configuration, timeout=10) as context:
        yield context


def outcome(call: Callable[[], Any]) -> Any:
    """What our user gets of a read or write."""
    try:
        response = call()
    except ca.CaprotoTimeoutError:
        return NOTHING
    except ca.CaprotoError:
        return ERROR
    return response.data.tolist() if hasattr(response, "data") else DONE


def first_update(pv: Any) -> Any:
    seen: list[Any] = []

    def collect(response: Any) -> None:
        seen.append(response.data.tolist())

    pv.subscribe(data_count=4).add_callback(collect)
    return wait_for(lambda: seen)[0]


USES: dict[type, Callable[[Any], Any]] = {
    READ: lambda pv: outcome(lambda: pv.read(data_count=4)),
    WRITE: lambda pv: outcome(lambda: pv.write([8])),
    EVENT: first_update,
}


def test_no_habit_costs_a_circuit_or_another_operation(server, ctx):
    (good,) = ctx.get_pvs("good")
    pvs = dict(zip(TOLERATED, ctx.get_pvs(*TOLERATED), strict=True))
    for _ in range(2):
        for name, habit in TOLERATED.items():
            if habit.on is not EVENT:
                expected = habit.libca if habit.ours is None else habit.ours
                assert (name, USES[habit.on](pvs[name])) == (name, expected)
                assert good.read().data.tolist() == [1.5]
    for name, habit in TOLERATED.items():
        if habit.on is EVENT:
            expected = habit.libca if habit.ours is None else habit.ours
            assert (name, first_update(pvs[name])) == (name, expected)
    assert all(good.read().data.tolist() == [1.5] for _ in range(20))
    assert len(server.connections) == 1


#: Uses each (name, kind of use) as ours does, with the calls of the C library; reports outcomes.
_LIBCA = """
import ctypes, time
from epics import ca, dbr
lib = ca.initialize_libca()
LONG, DOUBLE = ctypes.c_int32, ctypes.c_double
found, channels, keys = {{}}, {{}}, []

@ctypes.CFUNCTYPE(None, dbr.event_handler_args)
def collect(args):
    result = "error"
    if args.status == 1 and args.raw_dbr:
        kind = {{5: LONG, 6: DOUBLE}}[args.type]
        result = list((kind * args.count).from_address(args.raw_dbr))
    elif args.status == 1:
        result = []
    # An update with an error status is one more update, not the outcome.
    if found.get(args.usr, "error") == "error":
        found[args.usr] = result

lib.ca_create_subscription.argtypes = [
    ctypes.c_long, ctypes.c_ulong, dbr.chid_t, ctypes.c_long, ctypes.c_void_p, ctypes.py_object,
    ctypes.c_void_p,
]
pointer = ctypes.cast(collect, ctypes.c_void_p)

def use(name, kind):
    chid, key = channels[name], ctypes.py_object(name)
    keys.append(key)
    if kind == "read":
        status = lib.ca_array_get_callback(5, 4, chid, collect, key)
    elif kind == "write":
        status = lib.ca_array_put_callback(5, 1, chid, (LONG * 1)(8), collect, key)
    else:
        status = lib.ca_create_subscription(5, 4, chid, 5, pointer, key, None)
    assert status == 1, (name, status)
    ca.flush_io()
    deadline = time.monotonic() + {patience}
    while name not in found and time.monotonic() < deadline:
        ca.poll(0.002)
    if kind == "update":
        ca.poll(0.05)

uses = json.loads({uses!r})
for name in ("good", *uses):
    channels[name] = ca.create_channel(name)
for chid in channels.values():
    assert ca.connect_channel(chid, timeout=10)
for name, kind in uses.items():
    use(name, kind)
report({{name: found.get(name, "nothing") for name in uses}})
report([bool(ca.isConnected(channels[name])) for name in ("good", *uses)])
"""
_KINDS = {READ: "read", WRITE: "write", EVENT: "update"}


def uses_of_libca(
    server: OddServer, libca: Callable, uses: dict[str, str], patience: float = 1.0
) -> tuple[dict[str, Any], list[bool]]:
    """What the C library gets of each use, and which channels are connected after it."""
    script = _LIBCA.format(uses=json.dumps(uses), patience=patience)
    outcomes, connected = libca(script, server.environ)
    return outcomes, connected


@pytest.mark.libca
def test_the_c_library_tolerates_the_same(server, libca):
    uses = {name: _KINDS[habit.on] for name, habit in TOLERATED.items()}
    outcomes, connected = uses_of_libca(server, libca, uses)
    expected = {name: habit.libca for name, habit in TOLERATED.items()}
    for name, habit in TOLERATED.items():
        if habit.libca is NONSENSE:
            assert isinstance(outcomes[name], list) and outcomes[name] != habit.ours
            outcomes[name] = NONSENSE
    assert outcomes == expected
    assert all(connected) and len(server.connections) == 1


@pytest.mark.libca
@pytest.mark.parametrize("name", [*BREAKING, *BREAKING_LIBCA])
def test_the_c_library_gives_the_circuit_up(name, server, libca):
    _, connected = uses_of_libca(server, libca, {name: "read"}, patience=3.0)
    assert not any(connected)


@pytest.mark.parametrize("name", BREAKING_LIBCA)
def test_ours_does_not_where_the_stream_is_readable(name, server, ctx):
    pv, good = ctx.get_pvs(name, "good")
    assert pv.read(data_count=4).data.tolist() == [1, 2, 3, 0]
    assert good.read().data.tolist() == [1.5] and len(server.connections) == 1


@pytest.mark.parametrize("name", BREAKING)
def test_a_read_that_breaks_a_circuit_is_not_repeated(name, server, ctx, caplog):
    pv, good = ctx.get_pvs(name, "good")
    assert good.read().data.tolist() == [1.5]
    for number in (1, 2):
        with pytest.raises(ca.RemoteProtocolError, match=f"'{name}': the read failed: "):
            pv.read()
        # The loss does not count as one of a circuit that brought nothing: it is replaced soon.
        good.wait_for_connection(timeout=3)
        assert good.read().data.tolist() == [1.5]
        assert len(server.connections) == number + 1
    assert len(server.received(READ)) == 5


# ---- the life of channels


def create(data_type: int, sid: int | None) -> Callable[[Connection, Any], None]:
    """Answers CREATE_CHAN for "odd" with this type and sid, None being that of "good"."""

    def answer(connection: Connection, request: ca.CreateChanRequest) -> None:
        if request.name == "good":
            connection.server.usual(connection, request)
            return
        number = connection.channel("good").sid if sid is None else sid
        connection.send_raw(message(18, data_type, 10, request.cid, number))

    return answer


@pytest.mark.parametrize(
    ("data_type", "sid", "words"),
    [(7, 99, "7 is not a native type"), (LONG, None, "belongs to channel 'good' already")],
)
def test_a_channel_that_cannot_be_costs_no_other(data_type, sid, words, server, ctx, caplog):
    server.pvs["odd"] = FakePV(1.0)
    server.on[ca.CreateChanRequest] = create(data_type, sid)
    (good,) = ctx.get_pvs("good")
    good.wait_for_connection()
    (odd,) = ctx.get_pvs("odd")
    server.wait_for(ca.CreateChanRequest, 2)
    wait_for(lambda: words in caplog.text)
    with pytest.raises(ca.CaprotoTimeoutError):
        odd.wait_for_connection(timeout=0.1)
    assert good.read().data.tolist() == [1.5] and len(server.connections) == 1


def test_a_refusal_of_an_open_channel_drops_it(server, ctx):
    pv, good = ctx.get_pvs("fewer_elements", "good")
    assert pv.read().data.tolist() == THREE
    states: list[str] = []

    def note(_pv: Any, state: str) -> None:
        states.append(state)

    ctx.get_pvs("fewer_elements", connection_state_callback=note)
    cid = server.connection.channel("fewer_elements").cid
    server.connection.send_raw(message(26, 0, 0, cid))
    wait_for(lambda: "disconnected" in states)
    assert good.read().data.tolist() == [1.5] and len(server.connections) == 1


def test_deviations_are_logged_aloud_once(server, ctx, caplog):
    pv, other = ctx.get_pvs("fewer_elements", "another_type")
    for _ in range(3):
        pv.read(data_count=4)
        other.read()
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1 and "has 3 elements, not 4" in warnings[0]


def test_an_answer_that_cannot_be_used_names_everything(server, ctx):
    (pv,) = ctx.get_pvs("value_that_is_cut_off")
    with pytest.raises(ca.MessageError) as raised:
        pv.read(data_count=5)
    for part in ("'value_that_is_cut_off'", "read failed", "16 bytes", "5 elements", "20", ":"):
        assert part in str(raised.value)
