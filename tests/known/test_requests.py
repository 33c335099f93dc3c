"""Ids, bundles of requests, classes by number, the payload of a subscription."""
from __future__ import annotations

import threading

import pytest

import caproto as ca
from tests.harness.interrupts import enter_each_line


def test_ids_follow_each_other_and_leave_out_those_in_use():
    counter = ca.ThreadsafeCounter()
    assert [counter() for _ in range(3)] == [0, 1, 2]
    assert ca.ThreadsafeCounter(initial_value=ca.MAX_ID - 1)() == 0
    in_use = {0, 1}
    counter = ca.ThreadsafeCounter(dont_clash_with=in_use)
    assert counter() == 2
    in_use.add(3)
    assert counter() == 4
    with pytest.raises(ca.CaprotoValueError, match="in use"):
        ca.ThreadsafeCounter(dont_clash_with=range(ca.MAX_ID))()


def test_threads_get_different_ids():
    counter, found = ca.ThreadsafeCounter(), []
    threads = [
        threading.Thread(target=lambda: found.extend([counter() for _ in range(500)]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(2000))


def test_a_signal_handler_gets_an_id_of_its_own():
    counter, found = ca.ThreadsafeCounter(dont_clash_with={0, 3}), []

    def take() -> None:
        found.append(counter())

    assert len([*enter_each_line(take, take)]) > 3
    assert len(set(found)) == len(found) > 8


def test_bundles_fit():
    requests = [ca.SearchRequest("a" * 10, number, 13) for number in range(10)]
    bundles = list(ca.batch_requests(iter(requests), 100))
    assert [len(bundle) for bundle in bundles] == [3, 3, 3, 1]
    assert [request for bundle in bundles for request in bundle] == requests
    assert list(ca.batch_requests([], 100)) == []
    with pytest.raises(ca.CaprotoValueError, match="32 bytes"):
        list(ca.batch_requests(requests, 31))


@pytest.mark.parametrize("role, command, expected", [
    (ca.CLIENT, ca.VersionRequest(0, 13), ca.VersionRequest),
    (ca.SERVER, ca.VersionRequest(0, 13), ca.VersionResponse),
    (ca.CLIENT, ca.EventAddRequest(1, 1, 1, 1, 0, 0, 0, 1), ca.EventAddRequest),
    (ca.SERVER, ca.EventAddResponse([1], 1, 1, 1, 1), ca.EventAddResponse),
    (ca.SERVER, ca.Beacon(13, 5064, 1), ca.Beacon),
])
def test_the_class_of_a_message(role, command, expected):
    assert ca.get_command_class(role, command.header) is expected


def test_a_number_that_no_command_has():
    with pytest.raises(ca.CaprotoKeyError, match="CLIENT sends no command 99"):
        ca.get_command_class(ca.CLIENT, ca.MessageHeader(99, 0, 0, 0, 0, 0))


def test_the_payload_of_a_subscription():
    payload = ca.EventAddRequestPayload(1.0, 2.0, 3.0, 4)
    assert bytes(payload) == ca.EventAddRequest(6, 1, 1, 1, 1.0, 2.0, 3.0, 4).payload
    assert ca.EventAddRequestPayload(mask=5).mask == 5


def test_wrong_arguments_are_named():
    with pytest.raises(ca.CaprotoTypeError, match="header must be a MessageHeader, not 5"):
        ca.get_command_class(ca.CLIENT, 5)
    with pytest.raises(ca.CaprotoKeyError, match=r"\[\] sends no command"):
        ca.get_command_class([], ca.EchoRequest().header)
    with pytest.raises(ca.CaprotoTypeError, match="request_iter must have requests only, not 5"):
        list(ca.batch_requests([5], 100))
    with pytest.raises(ca.CaprotoTypeError, match="max_length"):
        list(ca.batch_requests([ca.EchoRequest()], None))
    with pytest.raises(ca.CaprotoTypeError, match="EventAddRequestPayload: "):
        ca.EventAddRequestPayload("low")
