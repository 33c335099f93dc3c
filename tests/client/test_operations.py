"""Reads and writes that are under way: whom their outcome reaches, and when it is too late."""
from __future__ import annotations

import logging

import pytest

import caproto as ca
from caproto import (
    CAStatus,
    ChannelType,
    DisconnectedError,
    ReadError,
    WriteError,
)
from caproto._client.operations import (
    NotSent,
    Read,
    TypedRead,
    Write,
    fail_all,
    failure,
    numbers_in,
    read_type,
    refusal,
    too_large,
)
from caproto.threading._waiting import Deadline
from tests.pair import Pair

ADDRESS = ("10.0.0.9", 5064)
RESPONSE = ca.ReadNotifyResponse([1.5], ChannelType.DOUBLE, 1, 1, 1)


class FakePV:
    name, channel = "T:x", None
    log = logging.getLogger("caproto.ch")

    def __repr__(self) -> str:
        return "<PV 'T:x'>"


@pytest.fixture
def channel():
    """A connected channel of type DOUBLE."""
    return Pair().greet().connect(data_type=ChannelType.DOUBLE)[0]


@pytest.mark.parametrize(
    "asked, expected",
    [
        (None, ChannelType.DOUBLE),
        (ChannelType.STRING, ChannelType.STRING),
        (20, ChannelType.TIME_DOUBLE),
        ("DBR_CTRL_LONG", ChannelType.CTRL_LONG),
        ("time_int", ChannelType.TIME_INT),
        ("native", ChannelType.DOUBLE),
        ("status", ChannelType.STS_DOUBLE),
        ("time", ChannelType.TIME_DOUBLE),
        ("graphic", ChannelType.GR_DOUBLE),
        ("control", ChannelType.CTRL_DOUBLE),
    ],
)
def test_the_type_to_ask_for(channel, asked, expected):
    assert read_type(channel, asked) == expected


def test_a_type_that_is_none(channel):
    with pytest.raises(ca.CaprotoValueError, match="time_banana"):
        read_type(channel, "time_banana")


def test_a_refused_read_in_words():
    pv = FakePV()
    response = ca.ReadNotifyResponse([0.0], ChannelType.DOUBLE, 1, CAStatus.ECA_NORDACCESS, 1)
    error = refusal(pv, "read", response, ADDRESS)
    assert type(error) is ReadError
    assert (error.pv, error.status, error.address) == (pv, CAStatus.ECA_NORDACCESS, ADDRESS)
    for part in ("'T:x'", "10.0.0.9:5064", "read", "ECA_NORDACCESS"):
        assert part in str(error)


def test_a_refused_write_has_the_words_of_the_server():
    request = ca.WriteNotifyRequest([1.5], ChannelType.DOUBLE, 1, 1, 1)
    response = ca.ErrorResponse(request, 1, CAStatus.ECA_PUTFAIL, "the valve is locked")
    error = refusal(FakePV(), "write", response, ADDRESS)
    assert type(error) is WriteError and error.status == CAStatus.ECA_PUTFAIL
    assert "the valve is locked" in str(error) and "write" in str(error)


def test_one_loss_that_fails_many_operations_names_each_of_them():
    pv, lost = FakePV(), ca.DeadCircuitError("10.0.0.9:5064: reset")
    error = failure(pv, "write", lost, ADDRESS)
    assert type(error) is ca.DeadCircuitError and error is not lost
    assert str(error) == "'T:x': the write failed: 10.0.0.9:5064: reset"


def test_a_value_that_is_too_large():
    pv = FakePV()
    error = failure(pv, "read", too_large(40_000, 16_000), ADDRESS)
    assert type(error) is ReadError
    assert (error.pv, error.status, error.address) == (pv, CAStatus.ECA_TOLARGE, ADDRESS)
    for part in ("'T:x'", "40000 bytes", "16000", "EPICS_CA_MAX_ARRAY_BYTES"):
        assert part in str(error)


def test_not_sent_is_a_kind_of_disconnected():
    """So that who does not care to tell them apart need not."""
    assert issubclass(NotSent, DisconnectedError)


def operation(callback, timeout=10.0, verb="read"):
    arguments = FakePV(), callback, Deadline(timeout)
    return Read(*arguments) if verb == "read" else Write(*arguments, 1.5, None, None, True)


def test_a_plain_read(channel):
    made = operation(None)
    assert made.has_reply and made.expires
    assert made.compose(channel, 7).fields == (15, 0, ChannelType.DOUBLE, 0, channel.sid, 7)


def test_a_read_in_another_type(channel):
    made = TypedRead(FakePV(), None, Deadline(1), "time", 1)
    assert made.has_reply
    assert made.compose(channel, 7).fields == (15, 0, ChannelType.TIME_DOUBLE, 1, channel.sid, 7)


def test_the_obsolete_read_names_the_number_of_elements(channel):
    """READ does not know "as many as there are now"."""
    made = TypedRead(FakePV(), None, Deadline(1), None, None, notify=False)
    count = channel.native_data_count
    assert made.compose(channel, 7).fields == (3, 0, ChannelType.DOUBLE, count, channel.sid, 7)


@pytest.mark.parametrize("notify", [True, False])
def test_a_write_has_a_reply_if_it_asks_for_one(channel, notify):
    made = Write(FakePV(), None, Deadline(1), 2.5, None, None, notify)
    assert made.has_reply is notify
    message = made.compose(channel, 7)
    assert type(message) is (ca.WriteNotifyRequest if notify else ca.WriteRequest)
    assert message.fields[5] == (7 if notify else channel.cid)


def test_a_write_in_a_type_that_servers_do_not_take(channel):
    made = Write(FakePV(), None, Deadline(1), 2.5, "time", None, True)
    with pytest.raises(ca.CaprotoValueError, match="TIME_DOUBLE"):
        made.compose(channel, 7)


@pytest.mark.parametrize(
    "made, rights, verb",
    [
        (operation(None), 2, "read"),
        (TypedRead(FakePV(), None, Deadline(1), "time", None), 2, "read"),
        (operation(None, verb="write"), 1, "write"),
    ],
)
def test_what_the_rights_forbid_is_not_composed(channel, made, rights, verb):
    channel.access_rights = ca.AccessRights(rights)
    with pytest.raises(ca.AccessError, match=f"'T:x': no {verb} access") as raised:
        made.compose(channel, 7)
    assert raised.value.pv.name == "T:x"
    channel.access_rights = ca.AccessRights(3)
    assert made.compose(channel, 7)


def test_outcomes_travel_to_the_callback_thread():
    seen, batch = [], []
    made = operation(seen.append)
    made.answered(RESPONSE, batch)
    assert not seen
    for target, argument in batch:
        target.deliver(argument)
    assert seen == [RESPONSE]


@pytest.mark.parametrize("verb", ["read", "write"])
def test_a_failure_is_logged_and_no_response(caplog, verb):
    """The write was not composed yet, or the callback would be called."""
    seen, batch = [], []
    with caplog.at_level(logging.WARNING, "caproto"):
        operation(seen.append, verb=verb).failed(DisconnectedError("the server is gone"), batch)
        ((target, argument),) = batch
        target.deliver(argument)
    assert not seen
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"The {verb} of 'T:x' failed: the server is gone"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ca.CaprotoTimeoutError("late"), CAStatus.ECA_TIMEOUT),
        (DisconnectedError("lost"), CAStatus.ECA_DISCONN),
        (ca.DeadCircuitError("dead"), CAStatus.ECA_DISCONN),
        (ca.RemoteProtocolError("odd"), CAStatus.ECA_INTERNAL),
    ],
)
def test_the_callback_of_a_write_that_was_sent_gets_a_stand_in_for_the_reply(
    channel, caplog, error, status
):
    seen, batch = [], []
    made = operation(seen.append, verb="write")
    made.compose(channel, 7)
    made.failed(error, batch)
    assert not seen
    ((target, argument),) = batch
    target.deliver(argument)
    assert seen == [ca.WriteNotifyResponse(ChannelType.DOUBLE, 1, status, 7)]
    assert caplog.records[0].getMessage() == f"The write of 'T:x' failed: {error}"


def test_a_reply_that_is_delivered_too_late_is_a_timeout(channel):
    seen = []
    made = operation(seen.append, timeout=0, verb="write")
    made.compose(channel, 7)
    made.deliver(ca.WriteNotifyResponse(ChannelType.DOUBLE, 1, CAStatus.ECA_NORMAL, 7))
    assert seen == [ca.WriteNotifyResponse(ChannelType.DOUBLE, 1, CAStatus.ECA_TIMEOUT, 7)]


def test_a_write_without_confirmation_has_no_reply_to_stand_in_for(channel):
    made = Write(FakePV(), None, Deadline(1), 2.5, None, None, False)
    made.compose(channel, 7)
    made.conclude(DisconnectedError("lost"))


@pytest.mark.parametrize(
    ("data", "numbers"),
    [("7", 7), ("-0X1f", -31), (" 1e3 ", 1e3), (["1", 2, "b"], [1, 2, "b"]), (("1",), [1]),
     ("1_0", "1_0"), (b"7", b"7"), (None, None)],
)
def test_numbers_in_text(data, numbers):
    assert numbers_in(data) == numbers


def test_one_error_may_strike_many(caplog):
    made = [operation(None), operation(None, verb="write")]
    with caplog.at_level(logging.WARNING, "caproto"):
        for target, argument in fail_all(made, DisconnectedError("it is gone")):
            target.deliver(argument)
    assert [record.getMessage() for record in caplog.records] == [
        "The read of 'T:x' failed: it is gone", "The write of 'T:x' failed: it is gone"
    ]


def test_a_refused_write_is_logged_and_reaches_the_callback(caplog):
    """It is the server's answer; the callback looks at its status."""
    seen = []
    refused = ca.WriteNotifyResponse(ChannelType.DOUBLE, 1, CAStatus.ECA_PUTFAIL, 1)
    with caplog.at_level(logging.WARNING, "caproto"):
        operation(seen.append, verb="write").deliver(refused)
    assert seen == [refused]
    (record,) = caplog.records
    assert record.getMessage().startswith("'T:x': the server refused the write: ECA_PUTFAIL")


def test_a_refused_read_is_logged_and_gives_no_value(caplog):
    """Its payload is zeros, which nobody should take for the value."""
    seen = []
    refused = ca.ReadNotifyResponse([0.0], ChannelType.DOUBLE, 1, CAStatus.ECA_GETFAIL, 1)
    with caplog.at_level(logging.WARNING, "caproto"):
        operation(seen.append).deliver(refused)
    assert not seen
    (record,) = caplog.records
    assert record.getMessage().startswith("'T:x': the server refused the read: ECA_GETFAIL")


def test_never_after_the_deadline(caplog):
    seen = []
    with caplog.at_level(logging.WARNING, "caproto"):
        operation(seen.append, timeout=0).deliver(RESPONSE)
    assert not seen and not caplog.records


def test_nobody_wants_to_know(caplog):
    with caplog.at_level(logging.WARNING, "caproto"):
        operation(None).deliver(RESPONSE)
    assert not caplog.records


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_a_failing_callback_is_logged_with_the_pv(caplog, error):
    def fail(response):
        raise error("mine")

    with caplog.at_level(logging.ERROR, "caproto"):
        operation(fail).deliver(RESPONSE)
    (record,) = caplog.records
    assert "T:x" in record.getMessage() and f"{error.__name__}: mine" in caplog.text


def test_text_for_a_number_is_sent_as_the_number(channel):
    made = Write(FakePV(), None, Deadline(1), "7", None, None, True)
    assert made.compose(channel, 3).data.tolist() == [7.0]


@pytest.mark.parametrize("data", ["no number", object(), ["a", "b"]])
def test_what_is_no_number_is_refused_with_the_name(channel, data):
    made = Write(FakePV(), None, Deadline(1), data, None, None, True)
    with pytest.raises((ca.CaprotoTypeError, ca.CaprotoValueError), match="'T:x': "):
        made.compose(channel, 3)


def test_a_wrong_type_for_a_write_names_the_pv(channel):
    made = Write(FakePV(), None, Deadline(1), 1.0, "time", None, True)
    with pytest.raises(ca.CaprotoValueError, match="'T:x': values are written in a plain type"):
        made.compose(channel, 3)


def test_a_late_reply_for_a_caller_that_waits_is_dropped_by_the_caller(channel):
    """It raises the timeout itself; nothing is logged and no callback is called here."""

    class Waited(Write):
        expires = False

    seen: list = []
    made = Waited(FakePV(), seen.append, Deadline(0), 2.5, None, None, True)
    made.compose(channel, 7)
    assert made.dropped() is False
    made.conclude(DisconnectedError("lost"))
    assert [response.status for response in seen] == [CAStatus.ECA_DISCONN]


def test_a_reply_that_nobody_waits_for_is_dropped_after_the_deadline(channel):
    made = Write(FakePV(), None, Deadline(0), 2.5, None, None, True)
    made.compose(channel, 7)
    assert made.dropped() is True


def test_a_refusal_for_a_caller_that_waits_is_not_logged(caplog):
    """It is raised."""

    class Waited(Write):
        expires = False

    response = ca.WriteNotifyResponse(ChannelType.DOUBLE, 1, CAStatus.ECA_PUTFAIL, 7)
    seen: list = []
    for kind in (Waited, Write):
        kind(FakePV(), seen.append, Deadline(9), 2.5, None, None, True).deliver(response)
        assert len(caplog.records) == (kind is Write)
    assert seen == [response, response]


def test_a_plain_type_for_a_write_is_sent(channel):
    made = Write(FakePV(), None, Deadline(1), 2, "long", None, True)
    request = made.compose(channel, 3)
    assert request.data_type == ChannelType.LONG and request.data.tolist() == [2]


def test_an_error_that_names_the_pv_does_so_once():
    channel = Pair().greet().connect("T:x", ChannelType.DOUBLE)[0]
    made = Write(FakePV(), None, Deadline(1), [1.0] * 9, None, None, True)
    with pytest.raises(ca.CaprotoValueError, match="elements are more than") as caught:
        made.compose(channel, 3)
    assert str(caught.value).count("'T:x'") == 1
