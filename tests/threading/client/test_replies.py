"""Operations that somebody waits for: who is told what, and when."""
from __future__ import annotations

import threading

import pytest

import caproto as ca
from caproto import CAStatus, ChannelType
from caproto.threading._waiting import Deadline
from caproto.threading.client._replies import BlockingRead, BlockingTypedRead, BlockingWrite

RESPONSE = ca.ReadNotifyResponse([1.5], ChannelType.DOUBLE, 1, 1, 1)
REFUSED = ca.ReadNotifyResponse([0.0], ChannelType.DOUBLE, 1, CAStatus.ECA_GETFAIL, 1)


class FakePV:
    name = "T:x"


def make(kind, callback=None):
    arguments = {
        BlockingRead: (),
        BlockingTypedRead: ("time", None, True),
        BlockingWrite: (1.5, None, None, True),
    }
    return kind(FakePV(), callback, Deadline(0), *arguments[kind])


@pytest.fixture(params=[BlockingRead, BlockingTypedRead, BlockingWrite])
def kind(request):
    return request.param


def test_the_caller_sleeps_until_the_answer(kind):
    operation, out = make(kind), []
    assert not operation.wait(0) and operation.response is None
    thread = threading.Thread(target=operation.answered, args=(RESPONSE, out))
    thread.start()
    assert operation.wait(10)
    thread.join()
    assert operation.response is RESPONSE and operation.error is None and not out


def test_the_caller_is_told_why_there_is_no_answer(kind):
    operation, error = make(kind), ca.DisconnectedError("lost")
    operation.failed(error, [])
    assert operation.wait(0) and operation.error is error and operation.response is None


def test_the_circuit_leaves_the_time_to_the_caller(kind):
    assert not make(kind).expires


def test_a_callback_gets_a_success_too(kind):
    operation, out = make(kind, print), []
    operation.answered(RESPONSE, out)
    assert out == [(operation, RESPONSE)] and operation.wait(0)


@pytest.mark.parametrize("kind", [BlockingRead, BlockingTypedRead])
def test_a_refused_read_is_for_the_caller_alone(kind):
    operation, out = make(kind, print), []
    operation.answered(REFUSED, out)
    assert not out and operation.wait(0) and operation.response is REFUSED


def test_the_callback_of_a_write_gets_a_refusal_too():
    operation, out = make(BlockingWrite, print), []
    operation.answered(REFUSED, out)
    assert out == [(operation, REFUSED)] and operation.wait(0) and operation.response is REFUSED


@pytest.mark.parametrize("callback", [None, print])
def test_a_write_without_a_reply_has_something_for_its_callback_only(callback):
    operation, out, error = make(BlockingWrite, callback), [], ca.DisconnectedError("lost")
    operation.failed(error, out)
    assert [argument for _, argument in out] == ([error] if callback else [])
    assert operation.error is error


def test_it_is_one_small_object(kind):
    """A blocking call makes nothing but this."""
    assert not hasattr(make(kind), "__dict__")
