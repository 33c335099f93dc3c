"""The real C client against our server: values, metadata, monitors, completion, access rights.

What concerns connections (loss, echo, name servers, many clients) is in test_libca_circuits.py.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest

from caproto import AccessRights, AlarmSeverity, AlarmStatus, TimeStamp
from caproto.server import (
    ChannelByte,
    ChannelChar,
    ChannelData,
    ChannelDouble,
    ChannelEnum,
    ChannelFloat,
    ChannelShort,
    PVGroup,
    pvproperty,
)
from tests.conformance.items import item
from tests.harness.libca import run_libca
from tests.harness.own_server import OwnServer

pytestmark = [pytest.mark.libca, item(83)]

#: What all scripts begin with.
TOOLS = """
import ctypes, time
from epics import ca, dbr

ca.initialize_libca()

def connect(name):
    channel = ca.create_channel("T:" + name)
    assert ca.connect_channel(channel, timeout=10), name
    return channel

def get(name, **how):
    value = ca.get(connect(name), timeout=10, **how)
    return value.tolist() if hasattr(value, "tolist") else value

def put(name, value):
    return ca.put(connect(name), value, wait=True, timeout=10)

def put_raw(name, data_type, data, count=1):
    found = []
    @ctypes.CFUNCTYPE(None, dbr.event_handler_args)
    def done(args):
        found.append(args.status)
    ca.libca.ca_array_put_callback(data_type, count, connect(name), data, done, None)
    ca.flush_io()
    until(lambda: found)
    return found[0]

def put_text(name, text):
    return put_raw(name, dbr.STRING, ctypes.create_string_buffer(text.encode(), 40))

def do(what):
    assert put("do", what) == 1

def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        ca.poll(0.005, 0.1)

class Monitor:
    def __init__(self, name, mask, **how):
        self.values = []
        self.args = []
        self.kept = ca.create_subscription(connect(name), mask=mask, callback=self.hear, **how)

    def hear(self, value=None, **args):
        self.values.append(value.tolist() if hasattr(value, "tolist") else value)
        self.args.append(args)

    def cancel(self):
        ca.clear_subscription(self.kept[2])
"""


class Served(PVGroup):
    """PVs of every type; what is put to ``do`` is done in this process."""

    double = pvproperty(
        value=3.25, units="mm", precision=3,
        upper_disp_limit=100.0, lower_disp_limit=-100.0,
        upper_alarm_limit=90.0, upper_warning_limit=80.0,
        lower_warning_limit=-80.0, lower_alarm_limit=-90.0,
        upper_ctrl_limit=95.0, lower_ctrl_limit=-95.0,
    )
    float = pvproperty(value=0.5, dtype=ChannelFloat)
    long = pvproperty(value=42)
    short = pvproperty(value=-7, dtype=ChannelShort)
    char = pvproperty(value=65, dtype=ChannelByte)
    string = pvproperty(value="hello")
    text = pvproperty(value="a text of any length", dtype=ChannelChar, max_length=200)
    enum = pvproperty(value=1, dtype=ChannelEnum, enum_strings=("red", "green", "blue"))
    doubles = pvproperty(value=[1.5, 2.5], max_length=10)
    floats = pvproperty(value=[1.5, 2.5], dtype=ChannelFloat, max_length=10)
    longs = pvproperty(value=[1, 2, 3], max_length=10)
    shorts = pvproperty(value=[1, 2, 3], dtype=ChannelShort, max_length=10)
    chars = pvproperty(value=b"abc", max_length=10)
    strings = pvproperty(value=["one", "two"], max_length=5)
    enums = pvproperty(value=[0, 1], dtype=ChannelEnum, max_length=10)
    empty = pvproperty(value=[], dtype=ChannelDouble, max_length=10)
    large = pvproperty(value=numpy.zeros(1), dtype=ChannelByte, max_length=1 << 26)
    read_only = pvproperty(value=17.0, read_only=True)
    slow = pvproperty(value=0.0)
    fails = pvproperty(value=0.0)
    do = pvproperty(value="", dtype=ChannelChar, max_length=100)

    def __init__(self) -> None:
        super().__init__("T:")
        self.actions: dict[str, Callable[[], Any]] = {}
        self.put_time = 0.0

    @do.putter
    def do(self, instance: ChannelData, value: str) -> None:
        self.actions[value]()

    @slow.putter
    def slow(self, instance: ChannelData, value: Any) -> None:
        self.stopping.wait(self.put_time)

    @fails.putter
    def fails(self, instance: ChannelData, value: Any) -> None:
        raise ValueError("wrong on purpose")


@pytest.fixture
def group() -> Served:
    return Served()


@pytest.fixture
def play(group: Served) -> Iterator[Callable[..., list[Any]]]:
    """``play(script)``: what the script reports, run against a server of `group`."""
    with OwnServer(group) as server:
        yield lambda script, **environ: run_libca(
            TOOLS + script, {**server.environ, **environ}, timeout=60
        )


# ---- channels and values -------------------------------------------------------------------------


def test_channels_have_their_types_counts_and_rights(play, group):
    names = [name.removeprefix("T:") for name in group.pvdb]
    (seen,) = play(
        f"""
found = {{}}
for name in {names}:
    c = connect(name)
    found[name] = [dbr.Name(ca.field_type(c)), ca.element_count(c), ca.access(c)]
report(found)
"""
    )
    one, ten = (1, "read/write"), (10, "read/write")
    assert {name: tuple(facts) for name, facts in seen.items()} == {
        "double": ("DOUBLE", *one), "float": ("FLOAT", *one), "long": ("LONG", *one),
        "short": ("INT", *one), "char": ("CHAR", *one), "string": ("STRING", *one),
        "text": ("CHAR", 200, "read/write"), "enum": ("ENUM", *one),
        "doubles": ("DOUBLE", *ten), "floats": ("FLOAT", *ten), "longs": ("LONG", *ten),
        "shorts": ("INT", *ten), "chars": ("CHAR", *ten), "strings": ("STRING", 5, "read/write"),
        "enums": ("ENUM", *ten), "empty": ("DOUBLE", *ten),
        "large": ("CHAR", 1 << 26, "read/write"), "read_only": ("DOUBLE", 1, "read-only"),
        "slow": ("DOUBLE", *one), "fails": ("DOUBLE", *one), "do": ("CHAR", 100, "read/write"),
    }


WRITES = {
    "double": [0.0, -1.5, 1e-300], "float": [0.25, -1e30], "long": [0, -(2**31), 2**31 - 1],
    "short": [0, -32768, 32767], "char": [0, 200], "string": ["", "é" * 19, "x" * 39],
    "enum": [0, 2],
    "doubles": [[0.5], [1e300, -2.0, 3.0], list(range(10))], "floats": [[0.5, -2.5]],
    "longs": [[2**31 - 1, -(2**31)], list(range(10))], "shorts": [[-32768, 32767, 5]],
    "chars": [[0, 255, 1]], "strings": [["a", "", "c" * 39], ["1", "2", "3", "4", "5"]],
    "enums": [[2, 1, 0]], "empty": [[7.5]],
}


def test_scalars_and_arrays_of_every_type_are_written_and_read(play, group):
    (found,) = play(
        f"""
found = {{}}
for name, values in {WRITES}.items():
    channel = connect(name)
    for value in values:
        assert ca.put(channel, value, wait=True, timeout=10) == 1
        seen = ca.get(channel, count=0 if isinstance(value, list) else None, timeout=10)
        found.setdefault(name, []).append(seen.tolist() if hasattr(seen, "tolist") else seen)
report(found)
"""
    )
    for name, values in WRITES.items():
        for wrote, seen in zip(values, found[name], strict=True):
            if isinstance(wrote, list):
                seen = list(seen) if isinstance(seen, list) else [seen]
            if name.startswith("float"):
                assert seen == pytest.approx(wrote)
            else:
                assert seen == wrote, name
    assert group.strings.value == ("1", "2", "3", "4", "5")
    assert group.doubles.value.tolist() == list(range(10))


def test_arrays_are_read_in_parts_and_empty_ones_too(play):
    seen = play(
        """
report([get("longs", count=n) for n in (1, 2, 3, 5)])
empty = ca.get(connect("empty"), count=0, timeout=10)
report(len(empty) if empty is not None else None)
"""
    )
    assert seen[0] == [1, [1, 2], [1, 2, 3], [1, 2, 3, 0, 0]]
    assert seen[1] == 0


def test_long_texts_are_arrays_of_characters(play, group):
    seen = play(
        """
report(get("text", as_string=True))
put("text", "x" * 60)
report(get("text", as_string=True))
report(get("text", ftype=dbr.STRING, count=1)[0])
put_text("text", "short")
report(get("text", as_string=True))
"""
    )
    assert seen == ["a text of any length", "x" * 60, "x" * 39, "short"]
    assert group.text.value == "short"


def test_enums_are_read_and_written_by_text_and_by_number(play, group):
    seen = play(
        """
channel = connect("enum")
report(list(ca.get_enum_strings(channel)))
report([get("enum"), get("enum", ftype=dbr.STRING)])
assert put_text("enum", "blue") == 1
report([get("enum"), get("enum", ftype=dbr.STRING)])
assert put("enum", 0) == 1
report([get("enum"), get("enum", ftype=dbr.STRING)])
assert put_text("enum", "1") == 1
report([put_text("enum", "nonsense"), put_text("enum", "3")])
report([get("enum"), get("enum", ftype=dbr.STRING)])
"""
    )
    assert seen[:4] == [["red", "green", "blue"], [1, "green"], [2, "blue"], [0, "red"]]
    assert seen[4:] == [[160, 160], [1, "green"]]  # ECA_PUTFAIL
    assert group.enum.text == "green"


def test_the_control_information_is_complete(play):
    (double, enum) = play(
        """
report({k: v for k, v in ca.get_ctrlvars(connect("double")).items()})
enum = ca.get_ctrlvars(connect("enum"))
report([x.decode() if isinstance(x, bytes) else x for x in enum["enum_strs"]])
"""
    )
    expected = {
        "units": "mm", "precision": 3, "status": 0, "severity": 0,
        "upper_disp_limit": 100.0, "lower_disp_limit": -100.0,
        "upper_alarm_limit": 90.0, "upper_warning_limit": 80.0,
        "lower_warning_limit": -80.0, "lower_alarm_limit": -90.0,
        "upper_ctrl_limit": 95.0, "lower_ctrl_limit": -95.0,
    }
    assert {name: double.get(name) for name in expected} == expected
    assert enum == ["red", "green", "blue"]


def test_time_stamps_keep_their_nanoseconds(play, group):
    group.double.write(
        4.5, timestamp=TimeStamp(1_000_000_000 - 631152000, 123456789),
        alarm=group.double.alarm.raised(AlarmStatus.READ, AlarmSeverity.MINOR_ALARM),
    )
    before = time.time()
    seen = play(
        """
for name in ("double", "long"):
    if name == "long":
        put("long", 5)
    found = ca.get_with_metadata(connect(name), ftype=dbr.TIME_DOUBLE, timeout=10)
    report([found[k] for k in ("value", "posixseconds", "nanoseconds", "status", "severity")])
"""
    )
    assert seen[0] == [4.5, 1_000_000_000, 123456789, 1, 1]
    assert before - 1 <= seen[1][1] <= time.time() and seen[1][0] == 5.0


# ---- monitors ------------------------------------------------------------------------------------


def test_monitors_get_the_events_of_their_mask_and_no_others(play, group):
    group.actions = {
        "value": lambda: group.double.write(5.0),
        "alarm": lambda: group.double.write(
            status=AlarmStatus.READ, severity=AlarmSeverity.MAJOR_ALARM
        ),
        "property": lambda: group.double.write(units="cm"),
        "high": lambda: group.double.write(91.0),  # value and alarm
    }
    (seen,) = play(
        """
masks = {"value": 1, "log": 2, "alarm": 4, "property": 8, "value and alarm": 5}
monitors = {name: Monitor("double", mask) for name, mask in masks.items()}
until(lambda: all(m.values for m in monitors.values()))
do("value")
do("property")
do("alarm")
do("high")
last = Monitor("double", 1)  # its first update is sent after all that was queued before
until(lambda: last.values)
report({name: m.values for name, m in monitors.items()})
"""
    )
    assert seen == {
        "value": [3.25, 5.0, 91.0], "log": [3.25, 5.0, 91.0], "alarm": [3.25, 5.0, 91.0],
        "property": [3.25, 5.0], "value and alarm": [3.25, 5.0, 5.0, 91.0],
    }


def test_monitors_tell_alarm_and_time(play, group):
    stamp = TimeStamp(5_000, 6_000)
    group.actions["write"] = lambda: group.double.write(85.0, timestamp=stamp)
    (seen,) = play(
        """
monitor = Monitor("double", 5, use_time=True)
until(lambda: monitor.values)
do("write")
until(lambda: len(monitor.values) == 2)
args = monitor.args[-1]
report([args["status"], args["severity"], args["posixseconds"], args["nanoseconds"]])
"""
    )
    assert seen == [4, 1, 631152000 + 5_000, 6_000]  # HIGH, MINOR


def test_no_update_is_lost_and_the_last_one_comes(play, group):
    def count() -> None:
        for number in range(1, 1001):
            group.long.write(number)

    group.actions["count"] = count
    (seen,) = play(
        """
monitor = Monitor("long", 1)
until(lambda: monitor.values)
do("count")
until(lambda: monitor.values[-1] == 1000)
report(monitor.values)
"""
    )
    assert seen == [42, *range(1, 1001)]


def test_after_a_cancel_nothing_comes(play, group):
    group.actions["write"] = lambda: group.double.write(group.double.value + 1)
    (seen,) = play(
        """
one, two = Monitor("double", 1), Monitor("double", 1)
until(lambda: one.values and two.values)
do("write")
until(lambda: len(one.values) == len(two.values) == 2)
one.cancel()
do("write")
do("write")
until(lambda: len(two.values) == 4)
again = Monitor("double", 1)
until(lambda: again.values)
report([one.values, two.values, again.values])
"""
    )
    assert seen == [[3.25, 4.25], [3.25, 4.25, 5.25, 6.25], [6.25]]


def test_arrays_strings_and_empty_arrays_are_monitored(play, group):
    def change() -> None:
        group.doubles.write([7.5, 8.5, 9.5])
        group.string.write("world")
        group.empty.write([1.0])
        group.empty.write([])

    group.actions["change"] = change
    (seen,) = play(
        """
names = ["doubles", "string", "empty"]
monitors = {name: Monitor(name, 1, use_time=True, count=0) for name in names}
until(lambda: all(m.values for m in monitors.values()))
do("change")
until(lambda: len(monitors["empty"].values) == 3)
report({name: m.values for name, m in monitors.items()})
"""
    )
    assert seen["doubles"] == [[1.5, 2.5], [7.5, 8.5, 9.5]]
    assert seen["string"] == ["hello", "world"]
    assert seen["empty"] == [[], 1.0, []]  # one element is no array there


# ---- completion and failures ---------------------------------------------------------------------


def test_completion_takes_its_time_and_others_are_served_meanwhile(play, group):
    group.put_time = 0.5
    (order, took) = play(
        """
order = []
start = time.monotonic()
def done(**args):
    order.append("slow")
    took.append(time.monotonic() - start)
took = []
slow, double = connect("slow"), connect("double")
start = time.monotonic()
ca.put(slow, 1.0, callback=done, wait=False)
ca.flush_io()
assert put("long", 5) == 1 and get("long") == 5
order.append("long")
assert get("double") == 3.25
order.append("double")
until(lambda: took)
order.append(get("slow"))
report(order)
report(took[0])
"""
    )
    assert order == ["long", "double", "slow", 1.0]
    assert 0.4 < took < 10


def test_what_fails_is_told_and_the_connection_goes_on(play, group, caplog):
    seen = play(
        """
one = (ctypes.c_double * 1)(1.0)
report([put_raw("fails", dbr.DOUBLE, one), put_text("long", "abc"), get("fails"), get("long")])
"""
    )
    assert seen == [[160, 160, 0.0, 42]]  # ECA_PUTFAIL
    assert "T:fails" in caplog.text and "T:long" not in caplog.text


def test_rights_are_told_when_they_change(play, group):
    def rights(value: AccessRights) -> Callable[[], None]:
        def change() -> None:
            group.double.access_rights = value

        return change

    group.actions = {
        "none": rights(AccessRights.NO_ACCESS), "read": rights(AccessRights.READ),
        "all": rights(AccessRights.READ | AccessRights.WRITE),
    }
    seen = play(
        """
changes = []
channel = connect("double")
ca.replace_access_rights_event(channel, callback=lambda read, write: changes.append([read, write]))
monitor = Monitor("double", 1)
until(lambda: monitor.values and changes)
for what in ("read", "none", "all"):
    before = len(changes)
    do(what)
    until(lambda: len(changes) > before)
    report([ca.read_access(channel), ca.write_access(channel)])
report(changes)
report([put("double", 7.0), get("double")])
try:
    ca.put(connect("read_only"), 1.0, wait=True, timeout=5)
    report("written")
except ca.CASeverityException as error:
    report(str(error))
"""
    )
    assert seen[:3] == [[1, 0], [0, 0], [1, 1]]
    assert [list(map(bool, change)) for change in seen[3]][-3:] == [
        [True, False], [False, False], [True, True]
    ]
    assert seen[4] == [1, 7.0]
    assert "Write access denied" in seen[5] and group.read_only.value == 17.0


def test_64_mb_in_one_array(play, group):
    """Read, and written; in a few seconds."""
    group.large.write(numpy.arange(1 << 26, dtype=numpy.uint8))
    seen = play(
        """
import numpy
channel = connect("large")
value = ca.get(channel, timeout=30)
report([len(value), int(value.sum(dtype=numpy.int64)), value[:3].tolist(), value[-2:].tolist()])
back = value[::-1].copy()
assert put_raw("large", dbr.CHAR, back.ctypes.data_as(ctypes.c_void_p), len(back)) == 1
""",
        EPICS_CA_MAX_ARRAY_BYTES="70000000",
    )
    assert seen == [[1 << 26, (1 << 18) * 255 * 128, [0, 1, 2], [254, 255]]]
    assert group.large.value[:3].tolist() == [255, 254, 253]
    assert group.large.length == 1 << 26
