"""What a response is (`value`, `text`) and shows (`repr`, `str`, at prompts and in notebooks)."""
from __future__ import annotations

import array
import contextlib
import copy
import json
import pickle
import subprocess
import sys
from datetime import datetime

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import caproto
from caproto import (
    CLIENT,
    DBR_CTRL_DOUBLE,
    DBR_CTRL_ENUM,
    SERVER,
    CAStatus,
    ChannelType,
    EventAddResponse,
    ReadError,
    ReadNotifyResponse,
    ReadResponse,
    RemoteProtocolError,
    TimeStamp,
)
from caproto._protocol.channel_facts import ChannelFacts, facts_of_channel
from caproto._protocol.circuit import VirtualCircuit
from caproto._protocol.responses import value_words
from tests.harness.each_case import each_case
from tests.pair import Pair
from tests.pretty import pretty
from tests.protocol.test_payload import assert_values
from tests.vectors_support import messages

NAMES: dict[str, object] = {}
exec("from caproto import *", NAMES)
NOW = TimeStamp.now()
SWITCH = DBR_CTRL_ENUM(enum_strings=[b"Off", b"On"])
REPLIES = {3: ReadResponse, 15: ReadNotifyResponse, 1: EventAddResponse}


def reply(data, data_type, metadata=None, facts=None, cls=ReadNotifyResponse, count=None):
    """A response, as a channel that is like *facts* would have delivered it."""
    response = cls(data, data_type, count, 1, 7, metadata=metadata)
    if facts is not None:
        response.channel_facts = facts
    return response


def channel(native_type, native_count=1, name="x", described_by=None):
    """The facts of a channel, after *described_by*."""
    facts = facts_of_channel(name, native_type, native_count)
    if described_by is not None:
        facts = facts.described(described_by.fields[2], described_by.payload)
    return facts


MOTOR = channel(
    6, described_by=reply(0, 34, DBR_CTRL_DOUBLE(units=b"mm", precision=3))
)
LAMP = channel(3, described_by=reply(0, 31, SWITCH))
LONG_TEXT = channel(4, 200, "x.DESC$")


# ---- value ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "response, value",
    [
        (reply(3.25, 6), 3.25),
        (reply(3.25, 20, (0, 0, NOW)), 3.25),
        (reply(0.1, 2), 0.10000000149011612),
        (reply(-5, 5), -5),
        (reply(200, 4), 200),
        (reply("idle", 0), "idle"),
        (reply("idle", 14), "idle"),
        (reply(b"\xb5m", 0, count=1), "µm"),
        (reply("ai", 38, facts=channel(6, 10)), "ai"),
        (reply(1, 35), 1),
        (reply("x", 37, facts=channel(0, 10)), "x"),
        (reply(["one", "two"], 0), ["one", "two"]),
        (reply(["one"], 0, facts=channel(0, 10)), ["one"]),
        (reply([], 14, facts=channel(0, 10)), []),
        (reply("a long text", 4, facts=LONG_TEXT), "a long text"),
        (reply(b"", 18, facts=LONG_TEXT), ""),
        (reply(b"x", 4, facts=LONG_TEXT), "x"),
    ],
)
def test_the_value_is_what_python_has(response, value):
    assert response.value == value and type(response.value) is type(value) or (
        isinstance(response.value, str) and isinstance(value, str) and response.value == value
    )


@pytest.mark.parametrize(
    "response, name",
    [
        (reply(1, 3), None),
        (reply(1, 31, SWITCH), "On"),
        (reply(1, 3, facts=LAMP), "On"),
        (reply(0, 17, (0, 0, NOW), facts=LAMP), "Off"),
        (reply(2, 3, facts=LAMP), None),
        (reply(65535, 31, SWITCH), None),
    ],
)
def test_an_enum_is_a_number_that_knows_its_name(response, name):
    value = response.value
    assert isinstance(value, int) and value == response.data[0]
    assert value.name == name
    assert json.dumps(value) == str(value) == f"{value}" == str(int(value))
    again = pickle.loads(pickle.dumps(value))
    assert eval(repr(value), NAMES) == again == value and again.name == name


def test_names_of_a_reply_come_before_those_of_the_channel():
    other = DBR_CTRL_ENUM(enum_strings=[b"Closed", b"Open"])
    assert reply(1, 31, other, facts=LAMP).value.name == "Open"


@each_case("data_type", [1, 2, 3, 4, 5, 6, 15, 16, 20, 34], ids=str)
@each_case("count", [0, 1, 2, 20])
def test_arrays_are_arrays_whatever_they_hold_now(data_type, count):
    response = reply(list(range(count)), data_type, facts=channel(data_type % 7, 20))
    value = response.value
    assert value.tolist() == list(range(count)) and value.shape == (count,)
    assert value.dtype.isnative and value.flags.writeable and value.flags.owndata
    value[:] = 7
    assert response.value.tolist() == list(range(count))


def test_a_scalar_without_an_element_is_an_empty_array():
    assert reply([], 6, facts=channel(6)).value.tolist() == []


@pytest.fixture
def without_numpy():
    """As if numpy were not installed."""
    caproto.select_backend("array")
    yield
    caproto.select_backend("numpy")


def test_without_numpy_arrays_are_those_of_the_standard_library(without_numpy):
    value = reply([1.5, 2.5], 6).value
    assert value == array.array("d", [1.5, 2.5])
    value[0] = 7
    assert reply(1.5, 6).value == 1.5
    assert reply(["a", "b"], 0).value == ["a", "b"]
    assert str(reply([1.5, 2.5], 6)) == "[1.5, 2.5]"


def test_a_scalar_needs_no_numpy():
    code = """if True:
        import sys
        from caproto import *
        for data, kind in ((1.5, 20), (1, 17), ("text", 14), (7, 5), ([1] * 50, 6)):
            response = ReadNotifyResponse(data, kind, None, 1, 1, metadata=(0, 0, TimeStamp.now())
                                          if kind >= 14 else None)
            str(response), repr(response), response.text, response._repr_html_()
            if response.data_count == 1:
                response.value
        print("numpy" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.parametrize("cls", [ReadNotifyResponse, EventAddResponse])
def test_a_failure_has_no_value(cls):
    failed = cls(0.0, 6, 1, CAStatus.ECA_GETFAIL, 7)
    for attribute in ("value", "text"):
        with pytest.raises(ReadError, match="ECA_GETFAIL") as caught:
            getattr(failed, attribute)
        assert caught.value.status is CAStatus.ECA_GETFAIL
    assert str(failed).startswith("no value: ECA_GETFAIL")


# ---- text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "response, text",
    [
        (reply(3.25, 6), "3.25"),
        (reply(3.25, 6, facts=MOTOR), "3.250"),
        (reply(3.25, 34, DBR_CTRL_DOUBLE(precision=1), facts=MOTOR), "3.2"),
        (reply(0.1, 2), "0.1"),
        (reply(0.1, 2, facts=MOTOR), "0.100"),
        (reply(3, 5, facts=MOTOR), "3"),
        (reply([1.0, 2.0], 6, facts=MOTOR), "1.000, 2.000"),
        (reply([], 6, facts=MOTOR), ""),
        (reply(float("nan"), 6, facts=MOTOR), "nan"),
        (reply("idle", 0), "idle"),
        (reply(["a", "b"], 0), "a, b"),
        (reply(1, 3), "1"),
        (reply(1, 3, facts=LAMP), "On"),
        (reply([1, 0, 5], 31, SWITCH), "On, Off, 5"),
        (reply(1, 35, facts=LAMP), "1"),  # PUT_ACKT is not a state
        (reply(65, 4), "65"),
        (reply(65, 4, facts=channel(4, 10)), "A"),
        (reply(b"text\0rest", 4), "text"),
        (reply(b"\xb5m\0", 4), "µm"),
        (reply("long", 4, facts=LONG_TEXT), "long"),
    ],
)
def test_text(response, text):
    assert response.text == text


# ---- str, the prompt, notebooks ------------------------------------------------------------------


@pytest.mark.parametrize(
    "response, shown",
    [
        (reply(3.0, 6), "3.0"),
        (reply(3.0, 6, facts=MOTOR), "3.0 mm"),
        (reply(3.0, 13, (4, 1, 0)), "3.0, MINOR (HIGH)"),
        (reply(0.0, 20, (17, 3, TimeStamp(0, 0))), "0.0, INVALID (UDF), time undefined"),
        (reply(0.1, 2), "0.1"),
        (reply(float("nan"), 6), "nan"),
        (reply(1.0, 34, DBR_CTRL_DOUBLE(units=b"a\nb")), r"1.0 'a\nb', no alarm"),
        (reply(float("-inf"), 6, facts=MOTOR), "-inf mm"),
        (reply(1, 3), "1"),
        (reply(1, 3, facts=LAMP), "1 'On'"),
        (reply(9, 31, SWITCH), "9 (a state without name), no alarm"),
        (reply("idle", 7, (0, 0, 0)), "'idle', no alarm"),
        (reply(b"\xb5m", 0, count=1), "'µm'"),
        (reply("12", 0, facts=MOTOR), "'12'"),
        (reply("hello", 4), "'hello'"),
        (reply(b"\0", 4, facts=LONG_TEXT), "''"),
        (reply(b"no end", 4, facts=LONG_TEXT), "'no end'"),
        (reply(b"\xff\xff\0", 4), "[255, 255, 0]"),
        (reply(65, 4), "65"),
        (reply(65, 4, facts=channel(4, 10)), "'A'"),
        (reply(b"Hi!", 4, facts=channel(4, 10)), "'Hi!'"),
        (reply([], 4, facts=channel(4, 10)), "[]"),
        (reply([1.5, 2.5], 6, facts=MOTOR), "[1.5, 2.5] mm"),
        (reply([1.5], 6, facts=channel(6, 10)), "[1.5]"),
        (reply([], 13, facts=channel(6, 10)), "[], no alarm"),
        (reply(range(1000), 5), "[0, 1, 2, ..., 997, 998, 999], 1000 elements"),
        (reply("ai", 38), "'ai'"),
    ],
)
def test_what_people_see(response, shown):
    assert str(response) == shown


@pytest.mark.parametrize("count", [9, 10, 300])
def test_units_after_an_array_stay_within_the_line(count):
    units = DBR_CTRL_DOUBLE(units=b"\n\t\n\t\n\t\n\t")
    text = str(reply([1.23456789e-30] * count, ChannelType.CTRL_DOUBLE, units))
    assert r"] '\n\t\n\t\n\t\n\t'" in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_value_alone_for_tables():
    control = DBR_CTRL_DOUBLE(units=b"mm")
    assert value_words(reply([2.5], ChannelType.CTRL_DOUBLE, control)) == "2.5 mm"
    assert value_words(reply([1], ChannelType.CTRL_ENUM, SWITCH)) == "1 'On'"
    assert value_words(reply(range(20), ChannelType.LONG)) == (
        "[0, 1, 2, ..., 17, 18, 19], 20 elements"
    )


def test_a_time_stamp_is_local_time():
    stamp = TimeStamp.from_flexible_value(datetime(2001, 2, 3, 4, 5, 6, 789000))
    response = reply(3.0, 20, (0, 0, stamp), facts=MOTOR)
    assert str(response) == "3.0 mm, no alarm, 2001-02-03 04:05:06.789"


SHOWN = [
    reply([0.1 * x for x in range(1000)], 20, (17, 3, TimeStamp(5, 0)), facts=MOTOR),
    reply(["<b>" + "x" * 30] * 9, 14, (0, 0, NOW)),
    reply([2**31 - 1] * 9, 19, (21, 3, TimeStamp(5, 0))),
    reply("<script>alert(1)</script>", 0),
    reply("x" * 5000, 4, facts=LONG_TEXT),
    reply(1, 31, DBR_CTRL_ENUM(enum_strings=[b"<i>", b"<img src='x'>"])),
    reply(1.0, 34, DBR_CTRL_DOUBLE(units=b"<&\">")),
]


@pytest.mark.parametrize("response", SHOWN, ids=lambda response: str(response)[:20])
def test_the_prompt_and_a_notebook_show_the_same(response):
    lines = str(response).splitlines()
    assert len(lines) <= 3 and max(map(len, lines)) <= 100
    assert pretty(response) == str(response)
    html = response._repr_html_()
    assert html.count("<") == 2 + html.count("<br>") and html.count("<br>") == len(lines) - 1


# ---- repr ----------------------------------------------------------------------------------------

SHORT = [
    reply(3.25, 6),
    reply([1 / 3] * 9, 20, (0, 0, NOW)),
    reply([float("nan"), float("inf"), 0.1], 2),
    reply([0xFFFF] * 9, 31, DBR_CTRL_ENUM(enum_strings=[b"\xff" * 25] * 16)),
    reply([b"\xff" * 39] * 9, 0),
    reply("it's", 37, None),
    reply([], 20),
    reply(1.5, 34, DBR_CTRL_DOUBLE(units=b"\xb0C", upper_disp_limit=float("nan"))),
    ReadResponse(1.5, 13, 1, 5, 7, metadata=(4, 1, 0)),
    EventAddResponse([1, 255], 18, None, 9999, 7, metadata=(4, 1, NOW)),
]


@pytest.mark.parametrize("response", SHORT, ids=lambda response: response.data_type.name)
def test_short_reprs_evaluate_back(response):
    text = repr(response)
    assert eval(text, NAMES) == response
    assert text.startswith(type(response).__name__ + "(")
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("data_type, dtype", [(5, ">i4"), (6, ">f8"), (4, "|u1"), (0, "S40")])
@pytest.mark.parametrize("count", [10, 100_000])
def test_longer_reprs_have_the_ends_the_shape_and_the_dtype(data_type, dtype, count):
    data = [str(x) for x in range(count)] if data_type == 0 else numpy.arange(count) % 200
    response = reply(data, data_type)
    text = repr(response)
    assert text.startswith("ReadNotifyResponse(data=array([")
    assert f"shape=({count},)" in text and f"dtype='{dtype}'" in text
    first, last = (
        eval(text.partition("array([")[2].partition("]")[0])[part]
        for part in (slice(0, 3), slice(-3, None))
    )
    everything = response.data.tolist()
    assert list(first) == everything[:3] and list(last) == everything[-3:]
    assert max(map(len, text.splitlines())) <= 100


def test_for_logs_there_is_one_line():
    for response in SHORT:
        assert "\n" not in response.as_line()
        assert eval(response.as_line(), NAMES) == response


# ---- what a peer may send ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields, payload",
    [
        ((15, 8, 20, 1, 1, 7), bytes(8)),
        ((15, 0, 6, 5, 1, 7), b""),
        ((15, 8, 99, 1, 1, 7), bytes(8)),
        ((15, 8, 31, 1, 1, 7), bytes(8)),
        ((1, 16, 14, 2, 1, 7), bytes(16)),
    ],
)
def test_what_cannot_be_read_can_still_be_printed(fields, payload):
    response = REPLIES[fields[0]].from_wire(fields, payload)
    with pytest.raises(RemoteProtocolError):
        response.value  # noqa: B018
    for text in (str(response), repr(response), response._repr_html_()):
        assert type(response).__name__ in text


@given(
    command=st.sampled_from(sorted(REPLIES)),
    data_type=st.integers(0, 40),
    count=st.integers(0, 20),
    status=st.sampled_from([1, 1, 1, 152, 12345]),
    payload=st.binary(max_size=64) | st.binary(min_size=420, max_size=500),
    facts=st.sampled_from([MOTOR, LAMP, LONG_TEXT, channel(4, 10), ChannelFacts()]),
)
def test_whatever_bytes_come_it_can_be_printed(command, data_type, count, status, payload, facts):
    fields = command, len(payload), data_type, count, status, 7
    response = REPLIES[command].from_wire(fields, payload)
    response.channel_facts = facts
    for text in (str(response), repr(response)):
        assert len(text.splitlines()) <= 3 or text.startswith(type(response).__name__)
    assert response._repr_html_().startswith("<span")
    assert pickle.loads(pickle.dumps(response)) == response
    for attribute in ("value", "text"):
        with contextlib.suppress(RemoteProtocolError, ReadError):
            getattr(response, attribute)


@each_case(
    "vector",
    [v for v in messages() if "dbr_type" in v.decoded and v.header["command"] in REPLIES],
    ids=lambda vector: vector.name,
)
def test_recorded_responses(vector):
    """Of a real IOC: each can be printed and pickled, and its value is what was recorded."""
    response = REPLIES[vector.header["command"]].from_wire(vector.fields, vector.payload)
    again = pickle.loads(pickle.dumps(response))
    assert again == response and str(again) == str(response)
    lines = str(response).splitlines()
    assert len(lines) <= 3 and max(map(len, lines)) <= 100
    assert max(map(len, repr(response).splitlines())) <= 100
    if response.data_count < 10:
        again = eval(repr(response), NAMES)  # texts without the zeros after them
        assert repr(again.data.tolist()) == repr(response.data.tolist())  # NaN, too
        assert (again.metadata, again.fields[2:]) == (response.metadata, response.fields[2:])
    if response.status != CAStatus.ECA_NORMAL or not vector.payload:
        return
    value = response.value
    found = value.tolist() if hasattr(value, "tolist") else value
    assert_values(
        [v.encode() if isinstance(v, str) else v for v in found]
        if isinstance(found, list) else [found.encode() if isinstance(found, str) else found],
        vector.decoded,
    )


# ---- copies and pickles --------------------------------------------------------------------------


def test_a_pickle_has_everything():
    data = numpy.arange(1_000_000.0)
    whole = reply(data, 20, (0, 0, NOW), facts=MOTOR)
    view = memoryview(bytearray(whole.payload)).toreadonly()
    response = EventAddResponse.from_wire((1, *whole.fields[1:]), view, ("10.0.0.1", 5064))
    response.channel_facts = MOTOR
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(response, protocol))
        assert again == response and type(again) is EventAddResponse
        assert again.sender_address == ("10.0.0.1", 5064) and again.facts == MOTOR
        assert str(again) == str(response)
    for again in (copy.copy(response), copy.deepcopy(response)):
        assert again == response and again.facts == MOTOR


# ---- what the circuit gives ----------------------------------------------------------------------


def test_a_circuit_tells_what_it_knows():
    pair = Pair().greet()
    lamp, other = pair.connect("lamp", ChannelType.ENUM, 1, sid=71)
    facts = ChannelFacts(ChannelType.ENUM, 1)

    def read(data_type=None, metadata=None):
        pair.send(CLIENT, lamp.read(data_type, ioid=8))
        (response,) = pair.send(SERVER, other.read(1, 8, data_type, 1, metadata=metadata))
        return response

    def update(subscription, data_type=None, metadata=None):
        number = subscription.subscriptionid
        (response,) = pair.send(
            SERVER, other.subscribe(1, number, data_type, 1, metadata=metadata)
        )
        return response

    subscription = lamp.subscribe(subscriptionid=5)
    pair.send(CLIENT, subscription)
    early = [update(subscription), update(subscription), read(), read(ChannelType.TIME_ENUM)]
    assert [response.facts for response in early] == [facts] * 4
    assert {str(response) for response in early[:3]} == {"1"}
    assert read(ChannelType.CTRL_ENUM, SWITCH).value.name == "On"
    assert lamp.facts.enum_strings == ("Off", "On")
    for response in (update(subscription), read(), read(ChannelType.STS_ENUM)):
        assert response.value.name == "On"
    assert early[0].value.name is None  # it says what was known when it came


def test_a_circuit_learns_from_a_first_update_and_not_from_a_failure():
    pair = Pair().greet()
    motor, other = pair.connect("motor", ChannelType.DOUBLE, 1, sid=71)
    metadata = DBR_CTRL_DOUBLE(units=b"mm", precision=3)
    pair.send(CLIENT, motor.read(ChannelType.CTRL_DOUBLE, ioid=8))
    pair.send(
        SERVER,
        other.read(1.0, 8, ChannelType.CTRL_DOUBLE, 1, CAStatus.ECA_GETFAIL, metadata=metadata),
    )
    assert motor.facts.units == ""
    pair.send(CLIENT, motor.subscribe(ChannelType.CTRL_DOUBLE, subscriptionid=5))
    pair.send(SERVER, other.subscribe(1.0, 5, ChannelType.CTRL_DOUBLE, 1, metadata=metadata))
    assert (motor.facts.units, motor.facts.precision) == ("mm", 3)


def test_another_type_than_the_channels_own_teaches_nothing():
    pair = Pair().greet()
    motor, other = pair.connect("motor", ChannelType.DOUBLE, 1, sid=71)
    pair.send(CLIENT, motor.read(ChannelType.CTRL_LONG, ioid=8))
    metadata = caproto.DBR_CTRL_LONG(units=b"mm")
    (response,) = pair.send(
        SERVER, other.read(1, 8, ChannelType.CTRL_LONG, 1, metadata=metadata)
    )
    assert str(response) == "1 mm, no alarm" and motor.facts.units == ""


def test_a_response_keeps_no_circuit_alive():
    assert not any(
        isinstance(value, VirtualCircuit) for value in reply(1.0, 6, facts=MOTOR).facts
    )


@each_case("data_type", range(35))
def test_no_elements_and_no_metadata(data_type):
    """Of an array without elements some servers send nothing, whatever the type."""
    fields = (ReadNotifyResponse.ID, 0, data_type, 0, 1, 7)
    response = ReadNotifyResponse.from_wire(fields, b"")
    assert len(response.value) == 0 and response.metadata is None
    assert str(response) == value_words(response) == "[]"
    assert eval(repr(response), NAMES).data_count == 0
