"""Answers without a session; what clients get: test_session_read.py, test_session_write.py."""
from __future__ import annotations

import numpy
import pytest

from caproto import (
    AccessRights,
    CAStatus,
    ChannelType,
    ErrorResponse,
    EventAddResponse,
    Forbidden,
    ReadNotifyRequest,
    ReadNotifyResponse,
    ReadRequest,
    ReadResponse,
    SkipWrite,
    WriteNotifyRequest,
    WriteNotifyResponse,
    WriteRequest,
)
from caproto._server.answers import (
    Reach,
    call_getter,
    call_putter,
    read_answer,
    read_notify_answer,
    update_message,
    write_answer,
    write_notify_answer,
    written_elements,
)
from caproto._server.directory import Directory
from caproto._server.open_channel import OpenChannel
from caproto._server.snapshot import Refused
from caproto._server.updates import Monitor, UpdateQueue
from caproto.server import ChannelDouble, ChannelString

EVERYTHING = Reach(1 << 30, extended=True)
OLD = Reach(1 << 30, extended=False)
NORMAL = CAStatus.ECA_NORMAL


def opened(data: ChannelDouble | ChannelString) -> OpenChannel:
    view = Directory({"x": data}).open("x")
    return OpenChannel(UpdateQueue(lambda: None), view, 7, 9, "console", "alice")


def wave(elements: int) -> OpenChannel:
    return opened(ChannelDouble(value=numpy.arange(float(elements))))


@pytest.mark.parametrize(
    "reach, size, count, status",
    [
        (EVERYTHING, 1 << 20, 1 << 17, None),
        (Reach(100, True), 100, 12, None),
        (Reach(100, True), 101, 13, CAStatus.ECA_TOLARGE),
        (OLD, 0xFFFE, 0xFFFE, None),
        (OLD, 0xFFFF, 8000, CAStatus.ECA_16KARRAYCLIENT),
        (OLD, 8, 0xFFFF, CAStatus.ECA_16KARRAYCLIENT),
    ],
)
def test_what_a_client_can_take(reach, size, count, status):
    assert reach.refusal(bytes(size), count) is status


def test_a_read_is_answered_with_the_value():
    channel = opened(ChannelDouble(value=1.5))
    reply = read_notify_answer(ReadNotifyRequest(6, 1, 9, 3), channel, NORMAL, EVERYTHING)
    assert type(reply) is ReadNotifyResponse
    assert (reply.ioid, reply.status, reply.data.tolist()) == (3, 1, [1.5])


def test_a_failed_read_is_answered_with_zeros_and_the_status():
    reply = read_notify_answer(
        ReadNotifyRequest(6, 2, 9, 3), wave(3), CAStatus.ECA_GETFAIL, EVERYTHING
    )
    assert (reply.status, reply.data.tolist()) == (CAStatus.ECA_GETFAIL, [0.0, 0.0])


def test_more_elements_than_there_can_be_are_refused():
    reply = read_notify_answer(ReadNotifyRequest(6, 4, 9, 3), wave(3), NORMAL, EVERYTHING)
    assert reply.status is CAStatus.ECA_BADCOUNT and reply.data_count == 3


@pytest.mark.parametrize(
    "answer, command",
    [
        (read_notify_answer, ReadNotifyRequest(6, 0, 9, 3)),
        (read_answer, ReadRequest(6, 9000, 9, 3)),
    ],
)
def test_what_the_client_cannot_take_is_an_error_with_the_name(answer, command):
    reply = answer(command, wave(9000), NORMAL, OLD)
    assert type(reply) is ErrorResponse
    assert (reply.cid, reply.status) == (7, CAStatus.ECA_16KARRAYCLIENT)
    assert "x" in reply.error_message


def test_the_obsolete_read_sends_a_short_string():
    reply = read_answer(ReadRequest(0, 1, 9, 3), opened(ChannelString(value="hello")), NORMAL, OLD)
    assert type(reply) is ReadResponse
    assert bytes(reply.payload) == b"hello\0\0\0"


@pytest.mark.parametrize("readable, status", [(True, NORMAL), (False, CAStatus.ECA_NORDACCESS)])
def test_updates(readable, status):
    channel = opened(ChannelDouble(value=1.5))
    monitor = Monitor(UpdateQueue(lambda: None), channel, (1, 16, 6, 1, 9, 5), 1)
    snapshot = channel.view.data.snapshot
    message = update_message(monitor, snapshot, readable, EVERYTHING)
    assert type(message) is EventAddResponse
    assert (message.subscriptionid, message.status) == (5, status)
    assert message.data.tolist() == [1.5 if readable else 0.0]


def test_an_update_that_the_client_cannot_take_is_an_error():
    channel = wave(9000)
    monitor = Monitor(UpdateQueue(lambda: None), channel, (1, 16, 6, 0, 9, 5), 1)
    message = update_message(monitor, channel.view.data.snapshot, True, OLD)
    assert type(message) is ErrorResponse and message.status is CAStatus.ECA_16KARRAYCLIENT


def test_written_elements_are_those_of_the_channel():
    elements = written_elements(WriteRequest([2], ChannelType.LONG, 1, 9, 3), wave(1))
    assert list(elements) == [2.0]


def test_a_channel_that_may_not_be_written_refuses():
    channel = opened(ChannelDouble(value=1.0, access_rights=AccessRights.READ))
    with pytest.raises(Refused) as caught:
        written_elements(WriteRequest([2], ChannelType.LONG, 1, 9, 3), channel)
    assert caught.value.status is CAStatus.ECA_NOWTACCESS


def test_only_the_failure_of_a_write_is_answered():
    command, channel = WriteRequest([2], ChannelType.LONG, 1, 9, 3), wave(1)
    assert write_answer(command, channel, NORMAL) is None
    error = write_answer(command, channel, CAStatus.ECA_PUTFAIL)
    assert type(error) is ErrorResponse and error.status is CAStatus.ECA_PUTFAIL


@pytest.mark.parametrize("status", [NORMAL, CAStatus.ECA_PUTFAIL])
def test_the_completion_of_a_write_has_its_status(status):
    command = WriteNotifyRequest([2], ChannelType.LONG, 1, 9, 3)
    reply = write_notify_answer(command, wave(1), status)
    assert reply == WriteNotifyResponse(ChannelType.LONG, 1, status, 3)


@pytest.mark.parametrize(
    "error, status, logged",
    [
        (None, NORMAL, False),
        (Refused("no", CAStatus.ECA_TIMEOUT), CAStatus.ECA_TIMEOUT, False),
        (ValueError("wrong on purpose"), CAStatus.ECA_PUTFAIL, True),
        (SystemExit(1), CAStatus.ECA_PUTFAIL, True),
        (SkipWrite(), NORMAL, False),
        (Forbidden("not now"), CAStatus.ECA_NOWTACCESS, False),
    ],
)
def test_what_becomes_of_a_putter(caplog, error, status, logged):
    channel = wave(1)

    def putter(instance: ChannelDouble, value: float) -> None:
        if error is not None:
            raise error

    channel.view.data.putter = putter
    assert call_putter(channel.view, (5.0,)) is status
    assert channel.view.data.value == (5.0 if error is None else 0.0)
    assert bool(caplog.records) is logged


@pytest.mark.parametrize(
    "error, status", [(Refused("no"), CAStatus.ECA_GETFAIL), (KeyError(), CAStatus.ECA_GETFAIL)]
)
def test_what_becomes_of_a_getter(error, status):
    channel = wave(1)

    def getter(instance: ChannelDouble) -> float:
        raise error

    channel.view.data.getter = getter
    assert call_getter(channel.view) is status
