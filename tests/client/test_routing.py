"""Whose business is each command: the tables of one circuit, without circuit, lock or thread."""
from __future__ import annotations

import math
from types import SimpleNamespace

import numpy
import pytest

import caproto as ca
from caproto import CAStatus, ChannelType
from caproto._client.routing import EXPIRY_PAUSE, HANDLERS, FollowUp, Routes
from caproto._protocol.circuit_rules import HANDLERS as RULES
from caproto._protocol.framing import OversizedMessage
from caproto._protocol.id_ranges import IdRange
from tests.conformance.items import item

CID, SID, IOID, SUBID = 3, 70, 11, 12


class Operation:
    """Notes how it ended."""

    def __init__(self) -> None:
        self.ended: list = []

    def answered(self, response, batch) -> None:
        self.ended.append(response)
        batch.append((self, response))

    failed = answered


class FakeSubscription:
    def __init__(self, event_id=None) -> None:
        self.event_id = event_id
        self.refused = False
        self.stops = 0
        self._updates = object()

    def _stopped(self) -> None:
        self.event_id = None
        self.stops += 1


class FakePV:
    """What the routes touch of a PV."""

    def __init__(self, *subscriptions, callbacks=None) -> None:
        self.subscriptions = list(subscriptions)
        self._callbacks = callbacks
        self.channel = SimpleNamespace(connected=True)

    def _rights_news(self, rights):
        return [] if self._callbacks is None else [("to be told", rights)]


class Rig:
    """Routes with one PV, one operation and one subscription."""

    def __init__(self) -> None:
        self.routes, self.then = Routes(), FollowUp([])
        self.operation, self.sub = Operation(), FakeSubscription(SUBID)
        self.pv = FakePV(self.sub, callbacks=object())
        self.routes.pvs[CID] = self.pv
        self.routes.operations[IOID] = self.operation
        self.routes.subscriptions[SUBID] = self.sub

    def take(self, command) -> FollowUp:
        HANDLERS[type(command)](self.routes, command, self.then)
        return self.then


@pytest.fixture
def rig():
    return Rig()


def update(number=SUBID, status=1):
    return ca.EventAddResponse([1.5], ChannelType.DOUBLE, 1, status, number)


def read_reply(number=IOID, status=1):
    return ca.ReadNotifyResponse([1.5], ChannelType.DOUBLE, 1, status, number)


def error(request, cid=CID, status=CAStatus.ECA_PUTFAIL):
    return ca.ErrorResponse(request, cid, status, "T:x")


def empty(then) -> bool:
    """Whether nothing is left to be done."""
    return not any(getattr(then, name) for name in FollowUp.__slots__)


def test_every_command_of_a_server_has_a_route_or_needs_none():
    needless = {
        ca.VersionResponse,  # the circuit itself notes the version
        ca.SearchResponse, ca.NotFoundResponse,  # circuits of PVs do not search
        ca.EventCancelResponse,  # who asked has gone already
    }
    assert set(RULES[ca.SERVER]) == set(HANDLERS) | needless
    assert not needless & set(HANDLERS)


def test_an_error_after_the_channel_was_given_back_is_still_its_own(rig):
    """Until the server has confirmed: then no error of it can come."""
    rig.routes.clear_channel(rig.pv, CID)
    assert not rig.routes.pvs and not rig.routes.subscriptions
    late = error(ca.WriteRequest([1.0], ChannelType.DOUBLE, 1, SID, CID))
    assert rig.take(late).refused_requests == [(rig.pv, late)]
    rig.take(ca.ClearChannelResponse(SID, CID))
    assert not rig.routes.cleared


def test_an_update_goes_to_its_subscription(rig):
    response = update()
    assert rig.take(response).out == [(rig.sub._updates, response)]


def test_a_refusal_is_reported_once_until_an_update_comes(rig):
    bad = update(status=CAStatus.ECA_NORDACCESS)
    for command in (bad, bad, update(), bad, bad):
        rig.take(command)
    assert rig.then.refused_updates == [(rig.sub, bad)] * 2


def test_an_update_for_nobody_is_dropped(rig):
    assert empty(rig.take(update(99)))


def test_an_update_with_an_error_status_is_no_update(rig):
    response = update(status=CAStatus.ECA_NORDACCESS)
    then = rig.take(response)
    assert then.refused_updates == [(rig.sub, response)] and not then.out


@item(51)
@pytest.mark.parametrize(
    "response",
    [
        read_reply(),
        ca.ReadResponse([1.5], ChannelType.DOUBLE, 1, CID, IOID),
        ca.WriteNotifyResponse(ChannelType.DOUBLE, 1, 1, IOID),
        read_reply(status=CAStatus.ECA_NORDACCESS),
    ],
    ids=lambda response: type(response).__name__,
)
def test_a_reply_finishes_its_operation_once(rig, response):
    rig.take(response)
    rig.take(response)
    assert rig.operation.ended == [response]
    assert rig.routes.operations == {}
    assert rig.then.out == [(rig.operation, response)]


@item(51)
def test_a_read_reply_under_the_id_of_a_subscription_refreshes_it(rig):
    response = read_reply(SUBID)
    assert rig.take(response).out == [(rig.sub._updates, response)]
    assert rig.routes.subscriptions == {SUBID: rig.sub}


def test_a_failed_refresh_is_no_update(rig):
    response = read_reply(SUBID, status=CAStatus.ECA_NORDACCESS)
    then = rig.take(response)
    assert then.refused_updates == [(rig.sub, response)] and not then.out


def test_a_write_reply_under_the_id_of_a_subscription_is_nothing(rig):
    assert empty(rig.take(ca.WriteNotifyResponse(ChannelType.DOUBLE, 1, 1, SUBID)))


def test_rights_go_to_who_wants_to_know(rig):
    then = rig.take(ca.AccessRightsResponse(CID, 1))
    assert then.out == [("to be told", ca.AccessRights.READ)]


def test_rights_that_nobody_wants_to_know_cost_nothing(rig):
    rig.pv._callbacks = None
    assert empty(rig.take(ca.AccessRightsResponse(CID, 1)))
    assert empty(rig.take(ca.AccessRightsResponse(99, 1)))


def test_a_created_channel_belongs_to_its_pv(rig):
    then = rig.take(ca.CreateChanResponse(ChannelType.DOUBLE, 1, CID, SID))
    assert then.created == [rig.pv] and not then.requests


@item(36)
def test_a_channel_that_nobody_wants_any_more_is_given_back(rig):
    then = rig.take(ca.CreateChanResponse(ChannelType.DOUBLE, 1, 99, SID))
    assert not then.created
    assert then.requests == [ca.ClearChannelRequest(SID, 99)]


@pytest.mark.parametrize("command", [ca.CreateChFailResponse, ca.ServerDisconnResponse])
def test_a_lost_channel_loses_its_subscriptions_only(rig, command):
    other, others = FakePV(), FakeSubscription(77)
    rig.routes.pvs[4], rig.routes.subscriptions[77] = other, others
    rig.take(command(CID))
    rig.take(command(CID))
    assert rig.then.lost == [rig.pv], "once"
    assert rig.routes.pvs == {4: other}
    assert rig.routes.subscriptions == {77: others}
    assert (rig.sub.event_id, rig.sub.stops) == (None, 1)
    assert (others.event_id, others.stops) == (77, 0)


def test_operations_that_the_protocol_has_dropped_are_orphans(rig):
    """The circuit forgets the requests of a channel that is lost."""
    other = rig.routes.operations[13] = Operation()
    assert rig.routes.take_orphans({13: READ}) == {IOID: rig.operation}
    assert rig.routes.operations == {13: other}
    assert rig.routes.take_orphans({13: READ}) == {}


def test_echoes_are_counted(rig):
    rig.take(ca.EchoResponse())
    rig.take(ca.ReadSyncResponse())
    assert rig.then.echoes == 2


READ = ca.ReadNotifyRequest(ChannelType.DOUBLE, 1, SID, IOID)
OLD_READ = ca.ReadRequest(ChannelType.DOUBLE, 1, SID, IOID)
PUT = ca.WriteNotifyRequest([1.5], ChannelType.DOUBLE, 1, SID, IOID)


@item(50)
@pytest.mark.parametrize("request_", [READ, OLD_READ, PUT], ids=lambda r: type(r).__name__)
def test_an_error_finishes_the_operation_that_it_names(rig, request_):
    response = error(request_)
    then = rig.take(response)
    assert rig.operation.ended == [response] and rig.routes.operations == {}
    assert not then.refused_updates and not then.refused_requests


@item(50)
def test_an_error_for_an_extended_request_finishes_the_operation(rig):
    large = ca.WriteNotifyRequest(bytes(70_000), ChannelType.CHAR, 70_000, SID, IOID)
    rig.take(error(large))
    assert len(rig.operation.ended) == 1


@item(50)
def test_an_error_about_a_subscription_goes_to_it(rig):
    response = error(ca.EventAddRequest(ChannelType.DOUBLE, 1, SID, SUBID, 0, 0, 0, 5))
    then = rig.take(response)
    assert then.refused_updates == [(rig.sub, response)]
    assert rig.routes.subscriptions == {SUBID: rig.sub}


@pytest.mark.parametrize("kind", [3, 15])
def test_a_value_that_is_too_large_fails_its_read(rig, kind):
    rig.take(OversizedMessage.skipped((kind, 40_000, 4, 40_000, 1, IOID), None, 16_000))
    (error,) = rig.operation.ended
    assert isinstance(error, ca.ReadError) and error.status == CAStatus.ECA_TOLARGE
    assert "40000 bytes" in str(error) and rig.routes.operations == {}


def test_an_update_that_is_too_large_is_reported_to_its_subscription(rig):
    rig.take(OversizedMessage.skipped((1, 40_000, 4, 40_000, 1, SUBID), None, 16_000))
    ((sub, error),) = rig.then.refused_updates
    assert sub is rig.sub and error.status == CAStatus.ECA_TOLARGE
    assert not rig.then.out
    for number in (SUBID, 99):
        rig.take(OversizedMessage.skipped((1, 40_000, 4, 40_000, 1, number), None, 16_000))
    assert len(rig.then.refused_updates) == 1


@item(50)
def test_an_error_about_a_write_goes_to_the_channel(rig):
    """Also if the number in the request happens to be that of an operation."""
    response = error(ca.WriteRequest([1.5], ChannelType.DOUBLE, 1, SID, IOID))
    then = rig.take(response)
    assert then.refused_requests == [(rig.pv, response)]
    assert not rig.operation.ended


@item(50)
def test_other_errors_go_to_the_general_handler(rig):
    response = error(ca.HostNameRequest("h"), cid=0xFFFFFFFF)
    assert rig.take(response).refused_requests == [(None, response)]


def test_the_end_of_the_circuit_ends_everything(rig):
    pvs, operations = rig.routes.take_all()
    assert pvs == [rig.pv]
    assert operations == {IOID: rig.operation}
    assert rig.sub.stops == 1
    assert not (rig.routes.pvs or rig.routes.operations or rig.routes.subscriptions)
    assert rig.routes.take_all() == ([], {})


class Limited:
    """An operation for which nobody waits."""

    def __init__(self, moment: float) -> None:
        self.deadline = self
        self.expires = True
        self.moment = moment


def test_what_nobody_waits_for_ends_in_time():
    routes = Routes()
    over, just, soon, late = map(Limited, (9.0, 10.0, 10.00001, 99.0))
    waited = Operation()
    waited.expires = False
    routes.operations.update(enumerate([over, just, soon, late, waited]))
    assert routes.take_expired(10.0) == ({0: over, 1: just}, 10.0 + 5 * EXPIRY_PAUSE)
    assert list(routes.operations.values()) == [soon, late, waited]
    assert routes.take_expired(10.6) == ({2: soon}, 99.0)
    assert routes.take_expired(99.0) == ({3: late}, math.inf)
    assert routes.take_expired(math.inf) == ({}, math.inf)
    assert list(routes.operations.values()) == [waited]


UNUSABLE = ca.MessageError("its payload is cut off")


def test_a_reply_that_cannot_be_used_fails_its_operation_once(rig):
    rig.routes.reject(read_reply(), UNUSABLE, rig.then)
    rig.routes.reject(read_reply(), UNUSABLE, rig.then)
    assert rig.operation.ended == [UNUSABLE]
    assert rig.routes.operations == {}


def test_an_update_that_cannot_be_used_is_reported_once_and_its_subscription_lives_on(rig):
    rig.routes.reject(update(), UNUSABLE, rig.then)
    rig.routes.reject(update(), UNUSABLE, rig.then)
    assert rig.then.refused_updates == [(rig.sub, UNUSABLE)]
    response = update()
    assert rig.take(response).out == [(rig.sub._updates, response)]


def test_a_channel_created_in_a_way_that_cannot_be_used_is_lost(rig):
    created = ca.CreateChanResponse(ChannelType.DOUBLE, 1, CID, SID)
    rig.routes.reject(created, UNUSABLE, rig.then)
    assert rig.then.lost == [rig.pv] and not rig.then.created


@pytest.mark.parametrize("command", [update(99), read_reply(99), ca.EchoResponse()])
def test_what_cannot_be_used_and_answers_nothing_costs_nothing(rig, command):
    rig.routes.reject(command, UNUSABLE, rig.then)
    assert empty(rig.then)
    assert rig.routes.operations == {IOID: rig.operation}


def test_an_update_under_the_id_of_a_read_answers_it(rig):
    """Some servers answer reads in this way."""
    response = update(IOID)
    assert rig.take(response).out == [(rig.operation, response)]
    assert rig.routes.operations == {}


# ---- tables


class Sink:
    """Notes what it is to take."""

    abandoned = False

    def __init__(self) -> None:
        self.got: list = []

    def take_one(self, requests, offset, answer) -> None:
        self.got.append((offset, answer))


@pytest.fixture(params=[1, 15, 19], ids=["subscriptions", "reads", "writes"])
def table(rig, request):
    """A sink, and the ids 100 to 103 of its requests."""
    sink, ids = Sink(), IdRange(request.param, int(ChannelType.DOUBLE), 1, 100, 4)
    ids.fill(numpy.arange(4, dtype=numpy.uint32), numpy.arange(4))
    rig.routes.sinks[ids] = sink
    return sink, ids


def original(ids, number: int) -> ca.Message:
    """The request under an id."""
    return ids.request(number)


def test_an_error_about_a_request_of_a_table_goes_there(rig, table):
    sink, ids = table
    response = error(original(ids, 102))
    then = rig.take(response)
    for take in then.columns:
        take()
    assert sink.got == [(2, response)] and not then.refused_requests
    assert bool(ids.live[2]) is ids.subscribes
    again = rig.take(response)
    assert len(again.columns) == (2 if ids.subscribes else 1)
    assert again.refused_requests == ([] if ids.subscribes else [(rig.pv, response)])


def test_a_write_reply_under_the_id_of_a_subscription_of_a_table_is_nothing(rig, table):
    sink, ids = table
    then = rig.take(ca.WriteNotifyResponse(ChannelType.DOUBLE, 1, 1, 101))
    assert len(then.columns) == (not ids.subscribes)
    assert bool(ids.live[1]) is ids.subscribes
