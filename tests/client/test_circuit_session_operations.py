"""The operations of a circuit: begun one by one or together, answered, forgotten, lost."""
from __future__ import annotations

import logging
import math

import pytest

import caproto as ca
from caproto import ChannelType
from caproto._client.descriptions import CircuitState
from caproto._client.operations import NotSent, TypedRead, Write
from tests.client.test_circuit_session import FakePV, Limit, World, answer, read


@pytest.fixture
def world() -> World:
    return World()


def test_an_operation_is_answered_once(world):
    (x,) = world.connect("x")
    operation = read(x)
    number = world.begin(operation, x)
    (request,) = world.send()
    assert (type(request), request.ioid) == (ca.ReadNotifyRequest, number)
    assert not world.session.useful
    world.receive(answer(number))
    ((target, response),) = world.out
    assert target is operation and response.data[0] == 1.5
    assert world.then is None and world.error is None, "nothing special"
    assert world.session.useful
    assert not world.session.routes.operations and not world.session.circuit.pending
    assert not world.session.forget(number)


def test_a_write_without_confirmation_waits_for_nothing(world):
    (x,) = world.connect("x")
    world.begin(Write(x, None, Limit(), 2.5, None, None, False), x)
    (request,) = world.send()
    assert type(request) is ca.WriteRequest
    assert not world.session.routes.operations and not world.session.circuit.pending


def test_what_is_forgotten_is_not_answered(world):
    (x,) = world.connect("x")
    number = world.begin(read(x), x)
    assert world.session.forget(number) and not world.session.circuit.pending
    world.send()
    world.receive(answer(number))
    assert not world.out and world.error is None


def test_a_channel_that_is_lost_before_the_message_is_sent(world):
    (x,) = world.connect("x")
    operation = read(x)
    number = world.session.new_number(x.channel)
    message = operation.compose(x.channel, number)
    world.receive(ca.ServerDisconnResponse(x.channel.cid))
    with pytest.raises(NotSent, match="'x'"):
        world.session.submit(operation, x.channel, number, message)
    assert world.session.data_to_send() == [] and not world.session.routes.operations


def compose(world: World, operations) -> list:
    numbers = world.session.circuit.new_ioids(len(operations))
    composed, failed = world.session.compose(operations, numbers)
    assert not failed
    return composed


def test_one_that_cannot_be_composed_costs_no_other(world):
    (x,) = world.connect("x")
    bad = Write(x, None, Limit(), "no number", None, None, True)
    good = read(x)
    composed, failed = world.session.compose([bad, good], world.session.circuit.new_ioids(2))
    ((operation, error),) = failed
    assert operation is bad and isinstance(error, ca.CaprotoError)
    assert world.session.submit_many(composed) == [] and len(world.send()) == 1


def test_many_at_once(world):
    x, y = world.connect("x", "y")
    operations = [read(x), read(y), Write(x, None, Limit(), 1.0, None, None, False)]
    assert world.session.submit_many(compose(world, operations)) == []
    assert len(world.send()) == 3
    assert list(world.session.routes.operations.values()) == operations[:2]


def test_what_cannot_be_sent_holds_up_what_comes_later_for_the_same_pv(world):
    x, y = world.connect("x", "y")
    elsewhere = FakePV("z")
    first, other, second = read(elsewhere), read(y), read(x)
    composed = compose(world, [first, other, second])
    late = (read(elsewhere), x.channel, second.compose(x.channel, 99))
    assert world.session.submit_many([*composed, late]) == [first, late[0]]
    assert len(world.send()) == 2


def test_an_interrupted_submission_is_undone(world):
    (x,) = world.connect("x")
    kept, undone = read(x), read(x)
    number = world.begin(kept, x)
    world.begin(undone, x)
    world.session.withdraw([undone])
    assert world.session.routes.operations == {number: kept}
    assert list(world.session.circuit.pending) == [number]
    world.session.withdraw([undone])  # twice does no harm


def test_operations_without_a_waiting_caller_expire(world):
    (x,) = world.connect("x")
    soon, late = read(x, 105.0), read(x, 200.0)
    first = world.begin(soon, x)
    world.begin(late, x)
    assert world.session.expire_at == 105.0 and world.session.deadline == 105.0
    assert world.session.expire(105.0) == [soon]
    assert first not in world.session.circuit.pending
    assert world.session.expire_at == 200.0
    assert world.session.expire(200.0) == [late] and world.session.expire_at == math.inf


def test_operations_are_lost_with_their_channel(world):
    x, y = world.connect("x", "y")
    lost, kept = read(x), read(y)
    number = world.begin(lost, x)
    world.begin(kept, y)
    sub = world.subscribe(x)
    world.receive(ca.ServerDisconnResponse(x.channel.cid))
    assert world.then.lost == [x] and world.then.failed == {number: lost}
    assert sub.event_id is None and not world.session.routes.subscriptions
    assert not world.session.close_if_unused()
    world.receive(ca.ServerDisconnResponse(y.channel.cid))
    assert world.session.close_if_unused() and not world.session.close_if_unused()
    assert world.session.state is CircuitState.CLOSING


def test_many_with_deadlines_expire_with_the_earliest(world):
    x, y = world.connect("x", "y")
    later, soon, last = read(x, 120.0), read(y, 110.0), read(x, 130.0)
    assert world.session.submit_many(compose(world, [later, soon, last])) == []
    assert world.session.expire_at == world.session.deadline == 110.0
    assert world.session.expire(110.0) == [soon] and world.session.expire_at == 120.0


def test_many_of_which_none_can_be_sent(world):
    world.connect("x")
    operations = [read(FakePV("y")), read(FakePV("z"), 110.0)]
    assert world.session.submit_many(compose(world, operations)) == operations
    assert world.session.data_to_send() == [] and not world.session.routes.operations
    assert world.session.expire_at == math.inf


# ---- composed and sent in one step


def test_a_quick_one_is_answered_like_any_other(world):
    (x,) = world.connect("x")
    operation = read(x)
    number = world.session.start(operation, x.channel)
    (request,) = world.send()
    assert (type(request), request.ioid, request.sid) == (
        ca.ReadNotifyRequest, number, x.channel.sid
    )
    world.receive(answer(number))
    ((target, response),) = world.out
    assert target is operation and response.data[0] == 1.5
    assert not world.session.routes.operations and not world.session.circuit.pending


def test_a_quick_write_without_confirmation_waits_for_nothing(world):
    (x,) = world.connect("x")
    world.session.start(Write(x, None, Limit(110.0), 2.5, None, None, False), x.channel)
    (request,) = world.send()
    assert type(request) is ca.WriteRequest and request.data[0] == 2.5
    assert not world.session.routes.operations and world.session.expire_at == math.inf


def test_quick_ones_expire_unless_their_caller_waits(world):
    class Waited(TypedRead):
        expires = False

    (x,) = world.connect("x")
    late, soon = read(x, 130.0), read(x, 120.0)
    for operation in (late, soon, read(x, 125.0)):
        world.session.start(operation, x.channel)
    waited = Waited(x, None, Limit(105.0), ChannelType.LONG, 1)
    number = world.session.start(waited, x.channel)
    assert world.session.expire_at == 120.0
    assert world.session.expire(121.0) == [soon]
    assert world.session.routes.operations[number] is waited


@pytest.mark.parametrize("trouble", ["channel", "circuit"])
def test_a_quick_one_is_not_sent_without_channel_or_circuit(world, trouble):
    (x,) = world.connect("x")
    if trouble == "channel":
        world.receive(ca.ServerDisconnResponse(x.channel.cid))
    else:
        world.session.state = CircuitState.UNRESPONSIVE
    with pytest.raises(NotSent, match="'x'"):
        world.session.start(read(x), x.channel)
    with pytest.raises(NotSent, match="'x'"):
        world.session.new_number(x.channel)
    assert world.session.data_to_send() == [] and not world.session.routes.operations


def test_a_quick_one_that_cannot_be_composed_is_not_under_way(world):
    (x,) = world.connect("x")
    with pytest.raises(ca.CaprotoError, match="'x'"):
        world.session.start(Write(x, None, Limit(), "no number", None, None, True), x.channel)
    assert world.session.data_to_send() == []
    assert not world.session.routes.operations and not world.session.circuit.pending


def test_quick_ones_are_logged_too(world, caplog):
    (x,) = world.connect("x")
    world.session.start(read(x), x.channel)
    assert not world.session.sent
    caplog.set_level(logging.DEBUG, "caproto.circ")
    number = world.session.start(read(x), x.channel)
    assert [command.ioid for command in world.session.sent] == [number]
