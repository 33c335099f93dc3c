"""What is wrong with a call is said at the call: the traceback of an error stays short."""
from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import pytest

from caproto import CaprotoError, ChannelType, ReadNotifyRequest, WriteNotifyRequest
from caproto.threading.client import Batch, Context, SharedBroadcaster
from tests.harness.fake_server import FakePV, FakeServer, ignore

#: Frames of ours below the call of the user.
MOST_FRAMES = 3


def shown(error: BaseException | None) -> Iterator[BaseException]:
    """The exceptions of a traceback: *error*, and those that are shown above it."""
    while error is not None:
        yield error
        hidden = error.__suppress_context__
        error = error.__cause__ or (None if hidden else error.__context__)


def depths(error: BaseException, code: Any) -> list[int]:
    """Count the frames of each shown exception; of those below *code*, if it is among them."""
    found = []
    for one in shown(error):
        codes = [frame.f_code for frame, _ in traceback.walk_tb(one.__traceback__)]
        found.append(len(codes) - 1 - codes.index(code) if code in codes else len(codes))
    return found


class CannotBeHeld:
    """A callback that has no weak references."""

    __slots__ = ()

    def __call__(self, response: Any, state: Any = None) -> None:
        pass


class NoIndex:
    """A number that is none."""

    def __index__(self) -> int:
        raise TypeError("not really")


def one_argument_only(response: Any) -> None:
    """Fit for a subscription, not for states."""


def three_arguments(a: Any, b: Any, c: Any) -> None:
    """Fit for nothing."""


#: What users get wrong, about a connected PV.
WRONG: dict[str, Callable[[Context, Any], object]] = {
    # get_pv, Context.read, Context.write
    "a list for one name": lambda ctx, pv: ctx.get_pv(["x"]),
    "one name that is too long": lambda ctx, pv: ctx.get_pv("x" * 5000),
    "one callback that cannot be held": lambda ctx, pv: ctx.get_pv(
        "x", access_rights_callback=CannotBeHeld()
    ),
    "a list of names to read": lambda ctx, pv: ctx.read(["x"]),
    "a long name to read": lambda ctx, pv: ctx.read("x" * 5000),
    "no type to read": lambda ctx, pv: ctx.read("x", data_type="banana"),
    "a list of values": lambda ctx, pv: ctx.write([("x", 1.0)]),
    "a long name to write": lambda ctx, pv: ctx.write({"x" * 5000: 1.0}),
    "a text for the timeout of many": lambda ctx, pv: ctx.read("x", timeout="soon"),
    "a text for the timeout of info": lambda ctx, pv: pv.info(timeout="soon"),
    # get_pvs
    "a list of names": lambda ctx, pv: ctx.get_pvs(["x"]),
    "a number for a name": lambda ctx, pv: ctx.get_pvs(3),
    "no name": lambda ctx, pv: ctx.get_pvs(""),
    "a long name": lambda ctx, pv: ctx.get_pvs("x" * 5000),
    "a name with a zero byte": lambda ctx, pv: ctx.get_pvs("x\0y"),
    "a name that cannot be encoded": lambda ctx, pv: ctx.get_pvs("\ud800"),
    "a text for the priority": lambda ctx, pv: ctx.get_pvs("x", priority="high"),
    "a priority out of range": lambda ctx, pv: ctx.get_pvs("x", priority=100),
    "a state callback that is none": lambda ctx, pv: ctx.get_pvs(
        "x", connection_state_callback=3
    ),
    "a state callback with one argument": lambda ctx, pv: ctx.get_pvs(
        "x", connection_state_callback=one_argument_only
    ),
    "a state callback that cannot be held": lambda ctx, pv: ctx.get_pvs(
        "x", access_rights_callback=CannotBeHeld()
    ),
    "a timeout in words": lambda ctx, pv: ctx.get_pvs("x", timeout="soon"),
    "a negative default": lambda ctx, pv: ctx.get_pvs("x", timeout=-1),
    "a PV of nobody": lambda ctx, pv: ctx.explain("nobody"),
    "a number for a PV": lambda ctx, pv: ctx.explain(3),
    # read
    "read: no such type": lambda ctx, pv: pv.read(data_type="banana"),
    "read: no such number": lambda ctx, pv: pv.read(data_type=1000),
    "read: a float for the type": lambda ctx, pv: pv.read(data_type=1.5),
    "read: a list for the type": lambda ctx, pv: pv.read(data_type=[]),
    "read: a count that is text": lambda ctx, pv: pv.read(data_count="3"),
    "read: a count that is none": lambda ctx, pv: pv.read(data_count=NoIndex()),
    "read: a negative count": lambda ctx, pv: pv.read(data_count=-1),
    "read: a timeout in words": lambda ctx, pv: pv.read(timeout="soon"),
    "read: not a number": lambda ctx, pv: pv.read(timeout=float("nan")),
    "read: endless": lambda ctx, pv: pv.read(timeout=10**400),
    "read: a callback that is none": lambda ctx, pv: pv.read(callback=3),
    "info: too late": lambda ctx, pv: ctx.get_pv("nobody").info(timeout=0.01),
    "info: forbidden": lambda ctx, pv: ctx.get_pv("writeonly").info(timeout=5),
    "read: too late": lambda ctx, pv: ctx.get_pvs("nobody")[0].read(timeout=0.01),
    "read: no reply": lambda ctx, pv: pv.read(timeout=0.01),
    "wait: too late": lambda ctx, pv: ctx.get_pvs("nobody")[0].wait_for_connection(timeout=0.01),
    "search: too late": lambda ctx, pv: ctx.get_pvs("nobody")[0].wait_for_search(timeout=0.01),
    "heard: too late": lambda ctx, pv: ctx.get_pvs("nobody")[0].time_since_last_heard(0.01),
    # write
    "write: text": lambda ctx, pv: pv.write("text"),
    "write: text, in vain": lambda ctx, pv: pv.write("text", wait=False),
    "write: a list with text": lambda ctx, pv: pv.write([1, "b"]),
    "write: None": lambda ctx, pv: pv.write(None),
    "write: an object": lambda ctx, pv: pv.write(object()),
    "write: an odd number of bytes": lambda ctx, pv: pv.write(b"123"),
    "write: too many": lambda ctx, pv: pv.write([1, 2, 3]),
    "write: too large": lambda ctx, pv: pv.write(10**400),
    "write: a fraction": lambda ctx, pv: pv.write(1.5, data_type="LONG"),
    "write: more than a LONG": lambda ctx, pv: pv.write(1 << 40, data_type="LONG"),
    "write: a count that is too large": lambda ctx, pv: pv.write(1.0, data_count=5),
    "write: no such type": lambda ctx, pv: pv.write(1.0, data_type="banana"),
    "write: a type for reading": lambda ctx, pv: pv.write(1.0, data_type="time"),
    "write: a contradiction": lambda ctx, pv: pv.write(1.0, notify=False),
    "write: a callback that is none": lambda ctx, pv: pv.write(1.0, callback=3),
    "write: a timeout in words": lambda ctx, pv: pv.write(1.0, timeout="soon"),
    "write: no reply": lambda ctx, pv: pv.write(1.0, timeout=0.01),
    "write: too late": lambda ctx, pv: ctx.get_pvs("nobody")[0].write(1.0, timeout=0.01),
    "write: a long text": lambda ctx, pv: ctx.get_pvs("text")[0].write("x" * 50),
    "write: a number for a text": lambda ctx, pv: ctx.get_pvs("text")[0].write(5),
    "write: a state that cannot be": lambda ctx, pv: ctx.get_pvs("enum")[0].write(-1),
    "write: forbidden": lambda ctx, pv: ctx.get_pvs("readonly")[0].write(1.0),
    "read: forbidden": lambda ctx, pv: ctx.get_pvs("writeonly")[0].read(),
    # subscribe
    "subscribe: no such type": lambda ctx, pv: pv.subscribe(data_type="banana"),
    "subscribe: a negative count": lambda ctx, pv: pv.subscribe(data_count=-1),
    "subscribe: no mask": lambda ctx, pv: pv.subscribe(mask=0),
    "subscribe: a wrong mask": lambda ctx, pv: pv.subscribe(mask="everything"),
    "subscribe: a limit that is none": lambda ctx, pv: pv.subscribe(low="low"),
    "subscribe: a limit that is too large": lambda ctx, pv: pv.subscribe(high=1e300),
    # callbacks
    "add_callback: a number": lambda ctx, pv: pv.subscribe().add_callback(3),
    "add_callback: three arguments": lambda ctx, pv: pv.subscribe().add_callback(three_arguments),
    "add_callback: not to be held": lambda ctx, pv: pv.subscribe().add_callback(CannotBeHeld()),
    "remove_callback: a text": lambda ctx, pv: pv.subscribe().remove_callback("first"),
    "remove_callback: unknown": lambda ctx, pv: pv.subscribe().remove_callback(1000),
    # Batch
    "Batch: a timeout in words": lambda ctx, pv: Batch(timeout="soon"),
    "Batch: read a name": lambda ctx, pv: Batch().read("x", print),
    "Batch: write to a name": lambda ctx, pv: Batch().write("x", 1.0),
    "Batch: a callback that is none": lambda ctx, pv: Batch().read(pv, 3),
    "Batch: no such type": lambda ctx, pv: Batch().read(pv, print, "banana"),
    "Batch: a negative count": lambda ctx, pv: Batch().write(pv, 1.0, data_count=-1),
    # the Context and its broadcaster
    "Context: a broadcaster that is none": lambda ctx, pv: Context("broadcaster"),
    "Context: a timeout in words": lambda ctx, pv: Context(timeout="soon"),
    "Context: a negative timeout": lambda ctx, pv: Context(timeout=-1),
    "Context: a number for the host": lambda ctx, pv: Context(host_name=3),
    "Context: a user with a zero byte": lambda ctx, pv: Context(client_name="a\0b"),
    "Context: no workers": lambda ctx, pv: Context(max_workers=0),
    "Context: half a worker": lambda ctx, pv: Context(max_workers=0.5),
    "Context: a text for the configuration": lambda ctx, pv: Context(configuration="here"),
    "SharedBroadcaster: a text for the configuration": lambda ctx, pv: SharedBroadcaster(
        configuration="here"
    ),
    "SharedBroadcaster: a text for the time": lambda ctx, pv: SharedBroadcaster(
        registration_retry_time="soon"
    ),
    "timeout": lambda ctx, pv: setattr(pv, "timeout", "soon"),
}


#: The PVs, and what arguments are called.
NAMED = re.compile(
    r"'(x|text|enum|readonly|writeonly|nobody)'|\b(priority|timeout|names?|callback|data_type|"
    r"data_count|mask|token|pv|broadcaster|configuration|max_workers|host_name|client_name|notify|"
    r"low|high|registration_retry_time)\b"
)


@pytest.fixture(scope="module")
def connected():
    """A Context, and a connected PV whose requests are not answered."""
    pvs = {
        "x": FakePV(1.5, ChannelType.DOUBLE),
        "text": FakePV("a", ChannelType.STRING),
        "enum": FakePV(1, ChannelType.ENUM),
        "readonly": FakePV(1.0, ChannelType.DOUBLE, rights=1),
        "writeonly": FakePV(1.0, ChannelType.DOUBLE, rights=2),
    }
    with FakeServer(pvs) as server, Context(configuration=server.configuration) as ctx:
        for pv in ctx.get_pvs(*pvs):
            pv.wait_for_connection(timeout=10)
        server.on[ReadNotifyRequest] = server.on[WriteNotifyRequest] = ignore
        yield ctx, ctx.get_pvs("x")[0]


@pytest.mark.parametrize("wrong", WRONG)
def test_of_a_wrong_call(connected, wrong):
    call = WRONG[wrong]
    with pytest.raises(CaprotoError) as caught:
        call(*connected)
    assert isinstance(call, FunctionType)
    assert max(depths(caught.value, call.__code__)) <= MOST_FRAMES, "".join(
        traceback.format_exception(caught.value)
    )
    assert NAMED.search(str(caught.value)), "neither a PV nor an argument is named"


def batch_of_text(pv):
    with Batch() as batch:
        batch.write(pv, "text")


def test_at_the_end_of_a_batch(connected):
    _, pv = connected
    with pytest.raises(CaprotoError) as caught:
        batch_of_text(pv)
    assert max(depths(caught.value, batch_of_text.__code__)) <= MOST_FRAMES


def test_frames_are_counted():
    def deep(levels):
        if levels:
            deep(levels - 1)
        else:
            try:
                raise KeyError
            except KeyError:
                raise ValueError  # noqa: B904 - so that both are shown

    def user():
        deep(4)

    with pytest.raises(ValueError) as caught:
        user()
    assert depths(caught.value, user.__code__) == [5, 1]
