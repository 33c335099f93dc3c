"""Requests of tables on one circuit: what is sent, and that blocks and single messages agree."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import caproto as ca
from caproto import CaprotoError, ChannelType
from caproto._client import circuit_columns
from caproto._client.circuit_columns import lose
from caproto._client.column_requests import ColumnRequest
from caproto._client.deliveries import Deliveries
from caproto._client.descriptions import CircuitState
from caproto._protocol.columns import payloads_of
from caproto._protocol.framing import split
from caproto._protocol.id_ranges import Block, IdRange
from caproto._protocol.message import Message
from tests.client.test_circuit_session import FakePV, FakeSubscription, World, read

TIME_DOUBLE = ChannelType.TIME_DOUBLE


class Sink:
    """Writes down what comes, block or not, as it would come alone."""

    closed = abandoned = ended = False
    mask = 5

    def __init__(self) -> None:
        self.got: list[tuple] = []
        self.on: set[int] = set()
        self.blocks = 0

    def take(self, block: Block) -> None:
        self.blocks += 1
        for message, row in zip(block.messages(), block.range.rows[block.offsets], strict=True):
            self.got.append((int(row), type(message).__name__, bytes(message.payload)))

    def take_one(self, requests: IdRange, offset: int, answer: Message | CaprotoError) -> None:
        row, kind = int(requests.rows[offset]), type(answer).__name__
        if isinstance(answer, CaprotoError):
            self.got.append((row, kind, str(answer)))
        elif isinstance(answer, ca.ErrorResponse) or answer.fields[4] != 1:
            self.got.append((row, kind, int(answer.status)))
        else:
            self.got.append((row, kind, bytes(answer.payload)))

    def lost(self, requests: IdRange, offsets, error: CaprotoError) -> None:
        for row in requests.rows[np.array(offsets, int)].tolist():
            self.on.discard(row)
            self.got.append((row, "lost", str(error)))

    def end(self) -> None:
        self.ended = True

    def form(self, row: int) -> tuple[int, int]:
        return int(TIME_DOUBLE), 1

    def subscribed(self, row: int) -> bool:
        return row in self.on

    def begin(self, rows) -> None:
        self.on.update(rows)


def connected(count: int = 4) -> tuple[World, list[FakePV]]:
    world = World()
    return world, world.connect(*(f"pv{n}" for n in range(count)))


def reads(pvs: list[FakePV]) -> ColumnRequest:
    sids = np.array([pv.channel.sid for pv in pvs], np.uint32)
    return ColumnRequest(15, int(TIME_DOUBLE), 1, sids, np.arange(len(pvs)))


def update(number: int, value: float, **fields) -> ca.EventAddResponse:
    metadata = 0, 0, ca.TimeStamp(1, 0)
    return ca.EventAddResponse(value, TIME_DOUBLE, 1, 1, number, metadata=metadata)


def answer(number: int, value: float, status: int = 1) -> ca.ReadNotifyResponse:
    metadata = 0, 0, ca.TimeStamp(1, 0)
    return ca.ReadNotifyResponse(value, TIME_DOUBLE, 1, status, number, metadata=metadata)


class TestRequests:
    def test_reads_of_all_with_one_message_each(self):
        world, pvs = connected()
        sink = Sink()
        world.session.columns.request([reads(pvs)], sink)
        sent = world.send()
        assert [(type(one), one.sid) for one in sent] == [
            (ca.ReadNotifyRequest, pv.channel.sid) for pv in pvs
        ]
        assert world.session.columns.open_requests() == 4
        assert world.session.columns.busy() == {pv.channel.sid for pv in pvs}
        world.receive(*(answer(one.ioid, 1.0 + n) for n, one in enumerate(sent)))
        for take in world.then.columns:
            take()
        assert [row for row, _, _ in sink.got] == [0, 1, 2, 3] and sink.blocks == 1
        assert world.session.useful
        assert not world.session.circuit.ranges and not world.session.columns.open_requests()

    def test_writes_are_counted_until_they_are_confirmed(self):
        world, pvs = connected()
        sink, payloads = Sink(), payloads_of(np.arange(4.0), int(ChannelType.DOUBLE))
        plain = int(ChannelType.DOUBLE)
        write = reads(pvs)._replace(
            command=ca.WriteNotifyRequest.ID, data_type=plain, payloads=payloads
        )
        columns = world.session.columns
        columns.request([reads(pvs)], Sink())
        assert columns.writes() == (0, [])
        columns.request([write], sink)
        sent = [one for one in world.send() if isinstance(one, ca.WriteNotifyRequest)]
        assert columns.writes() == (4, [sink])
        world.receive(*(ca.WriteNotifyResponse(plain, 1, 1, one.ioid) for one in sent[:3]))
        assert columns.writes() == (1, [sink])
        world.receive(ca.WriteNotifyResponse(plain, 1, 1, sent[3].ioid))
        assert columns.writes() == (0, [])

    def test_those_withdrawn_get_no_answer_and_do_no_harm(self):
        world, pvs = connected()
        sink = Sink()
        world.session.columns.request([reads(pvs)], sink)
        sent = world.send()
        world.session.columns.withdraw(sink)
        world.receive(*(answer(one.ioid, 1.0) for one in sent))
        assert world.error is None and not (world.then and world.then.columns)

    def test_a_channel_is_not_cleared_under_a_read(self):
        world, pvs = connected(1)
        world.session.columns.request([reads(pvs)], Sink())
        pvs[0].wants_idle = True
        world.session.idle(pvs[0], pvs[0].channel)
        assert world.session.clear_idle() == []
        (sent,) = world.send()
        world.receive(answer(sent.ioid, 1.0))
        assert world.session.clear_idle() == pvs

    def test_the_end_takes_them_along(self):
        world, pvs = connected()
        sink = Sink()
        world.session.columns.request([reads(pvs)], sink)
        end = world.session.end(ca.CaprotoNetworkError("broken"))
        lose(end.columns, ca.DisconnectedError("gone"))
        assert [row for row, kind, _ in sink.got if kind == "lost"] == [0, 1, 2, 3]
        assert not world.session.circuit.ranges

    def test_writes_without_replies_wait_for_nothing(self):
        world, pvs = connected(2)
        sids = np.array([pv.channel.sid for pv in pvs], np.uint32)
        payloads = payloads_of(np.array([1.5, 2.5]), int(ChannelType.DOUBLE))
        writes = ColumnRequest(4, int(ChannelType.DOUBLE), 1, sids, np.arange(2), payloads)
        world.session.columns.request([writes], None)
        sent = world.send()
        assert [type(one) for one in sent] == [ca.WriteRequest] * 2
        assert [(one.sid, one.data[0]) for one in sent] == [(sids[0], 1.5), (sids[1], 2.5)]
        assert not world.session.circuit.ranges and not world.session.columns.open_requests()

    def test_confirmations_of_writes_one_by_one_and_together(self):
        world, pvs = connected(4)
        sink, double = Sink(), int(ChannelType.DOUBLE)
        sids = np.array([pv.channel.sid for pv in pvs], np.uint32)
        payloads = payloads_of(np.arange(4.0), double)
        writes = ColumnRequest(19, double, 1, sids, np.arange(4), payloads)
        world.session.columns.request([writes], sink)
        sent = world.send()

        def confirm(one, status=1):
            return ca.WriteNotifyResponse(ChannelType.DOUBLE, 1, status, one.ioid)

        for replies in ([confirm(sent[3])], [confirm(sent[1], 160)],
                        [confirm(sent[0]), confirm(sent[2])]):  # fmt: skip
            world.receive(*replies)
            assert world.error is None and not world.then.deviations
            for take in world.then.columns:
                take()
        kinds = [(row, what) for row, _, what in sink.got]
        assert kinds == [(3, b""), (1, 160), (0, b""), (2, b"")] and sink.blocks == 1
        assert not world.session.circuit.ranges

    def test_those_whose_caller_does_not_wait_are_forgotten(self):
        """Two interrupts in a row may strike before a call has withdrawn them."""
        world, pvs = connected(2)
        sink, other, double = Sink(), Sink(), int(ChannelType.DOUBLE)
        sids = np.array([pv.channel.sid for pv in pvs], np.uint32)
        payloads = payloads_of(np.arange(2.0), double)
        writes = ColumnRequest(19, double, 1, sids, np.arange(2), payloads)
        world.session.columns.request([writes], sink)
        world.session.columns.request([writes], other)
        assert world.session.columns.writes() == (4, [sink, other])
        sink.abandoned = True
        assert world.session.columns.writes() == (2, [other])
        world.receive(ca.WriteNotifyResponse(ChannelType.DOUBLE, 1, 1, world.send()[2].ioid))
        for take in world.then.columns:
            take()
        assert sink.ended and not other.ended and len(world.session.circuit.ranges) == 1

    def test_those_of_a_server_that_does_not_respond_are_given_up(self):
        """But not its subscriptions."""
        world, pvs = connected(2)
        sink, subscriber = Sink(), Sink()
        world.session.columns.request([reads(pvs)], sink)
        world.session.columns.subscribe(subscriber, pvs, range(2))
        world.receive(answer(world.send()[1].ioid, 1.0))
        taken = world.session.columns.take_requests()
        lose(taken, ca.CaprotoTimeoutError("silent"))
        assert sink.got == [(0, "lost", "silent")] and not subscriber.got
        (kept,) = world.session.circuit.ranges
        assert kept.subscribes and kept.live[:2].all() and not world.session.columns.busy()

    def test_all_that_is_sent_is_logged(self, caplog):
        world, pvs = connected(2)
        caplog.set_level("DEBUG", "caproto.circ")
        world.session.columns.request([reads(pvs)], Sink())
        assert [type(one) for one in world.session.sent] == [ca.ReadNotifyRequest] * 2


class TestSubscriptions:
    def subscribe(self, world: World, pvs: list[FakePV], sink: Sink) -> list[ca.EventAddRequest]:
        assert world.session.columns.subscribe(sink, pvs, range(len(pvs))) == []
        return world.send()

    def test_each_once(self):
        world, pvs = connected()
        sink = Sink()
        first = self.subscribe(world, pvs[:2], sink)
        rest = self.subscribe(world, pvs, sink)
        assert [one.sid for one in first + rest] == [pv.channel.sid for pv in pvs]
        assert all(one.mask == 5 and one.data_type is TIME_DOUBLE for one in first + rest)
        assert len(world.session.circuit.ranges) == 1

    def test_not_for_one_who_wants_no_more(self):
        world, pvs = connected(1)
        sink = Sink()
        sink.closed = True
        assert self.subscribe(world, pvs, sink) == [] and not sink.on

    def test_where_the_ids_of_a_range_are_used_up_another_begins(self, monkeypatch):
        monkeypatch.setattr(circuit_columns, "FEWEST", 2)
        world, pvs = connected(7)
        sink = Sink()
        sent = [one for n in range(1, 8) for one in self.subscribe(world, pvs[:n], sink)]
        assert [one.sid for one in sent] == [pv.channel.sid for pv in pvs]
        assert len({one.subscriptionid for one in sent}) == 7
        ranges = world.session.circuit.ranges
        assert [one.size for one in ranges] == [2, 2, 4], "as many as all before it"
        world.receive(*(update(one.subscriptionid, float(n)) for n, one in enumerate(sent)))
        for take in world.then.columns:
            take()
        assert [row for row, _, _ in sink.got] == list(range(7))

    def test_a_channel_that_comes_back_is_subscribed_again(self):
        world, pvs = connected(2)
        sink = Sink()
        self.subscribe(world, pvs, sink)
        world.receive(ca.ServerDisconnResponse(pvs[0].channel.cid))
        for take in world.then.columns:
            take()
        assert [(row, kind) for row, kind, _ in sink.got] == [(0, "lost")]
        pvs[0].channel = world.connect("pv0")[0].channel
        (again,) = self.subscribe(world, pvs, sink)
        assert again.sid == pvs[0].channel.sid
        world.receive(update(again.subscriptionid, 2.0))
        world.then.columns[0]()
        assert sink.got[-1][0] == 0

    def test_a_cancel_ends_those_that_are_live(self):
        world, pvs = connected(3)
        sink = Sink()
        sent = self.subscribe(world, pvs, sink)
        world.receive(ca.ServerDisconnResponse(pvs[1].channel.cid))
        world.session.columns.cancel(sink)
        cancelled = world.send()
        assert [(type(c), c.sid) for c in cancelled] == [
            (ca.EventCancelRequest, pvs[0].channel.sid), (ca.EventCancelRequest, pvs[2].channel.sid)
        ]
        late = [update(sent[0].subscriptionid, 1.0)] * 3
        world.receive_raw(*late)
        assert world.error is None and not world.then.columns and not world.then.deviations
        confirmations = [
            ca.EventCancelResponse(TIME_DOUBLE, one.sid, one.subscriptionid, 1)
            for one in cancelled
        ]
        world.receive(*confirmations)
        assert world.error is None and not world.then.deviations

    def test_they_are_refreshed_when_a_server_responds_again(self):
        world, pvs = connected(2)
        sink = Sink()
        sent = self.subscribe(world, pvs, sink)
        world.session.columns.request([reads(pvs)], Sink())  # not to be repeated
        world.send()
        world.session.state = CircuitState.UNRESPONSIVE
        world.session._resume()
        refreshes = world.send()
        assert [one.ioid for one in refreshes] == [one.subscriptionid for one in sent]
        world.receive(*(answer(one.ioid, 5.0) for one in refreshes))
        world.then.columns[0]()
        assert [kind for _, kind, _ in sink.got] == ["ReadNotifyResponse"] * 2

    def test_a_channel_with_too_few_elements_is_refused(self):
        world, pvs = connected(2)

        class Wide(Sink):
            def form(self, row: int) -> tuple[int, int]:
                return int(TIME_DOUBLE), 10

        refused = world.session.columns.subscribe(Wide(), pvs, range(2))
        assert [row for row, _ in refused] == [0, 1] and not world.send()
        assert str(refused[0][1]) == "10 elements are more than the channel has (1)"


# ---- both paths agree

COUNT = 6
rows = st.integers(0, COUNT - 1)
values = st.sampled_from([0.0, 1.5, -2.0])
events = st.one_of(
    st.lists(st.tuples(st.just("update"), rows, values), min_size=1, max_size=20),
    st.lists(st.tuples(st.just("answer"), rows, values), min_size=1, max_size=20),
    st.tuples(st.sampled_from(["refusal", "failed update", "short", "other type", "other count",
                               "error", "refresh", "wrong kind"]), rows, values).map(lambda e: [e]),
    st.lists(st.tuples(st.sampled_from(["update", "answer", "ordinary"]), rows, values),
             min_size=1, max_size=12),
    st.tuples(st.sampled_from(["lost", "fail"]), rows, values).map(lambda e: [e]),
    st.just([("echo", 0, 0.0)]),
)  # fmt: skip


def wire(event: tuple, reads: list, subscriptions: list, plain: int, pvs: list[FakePV]) -> bytes:
    """What the server sends."""
    kind, row, value = event
    number, asked = subscriptions[row].subscriptionid, reads[row].ioid
    good = update(number, value)
    match kind:
        case "update":
            return bytes(good)
        case "answer":
            return bytes(answer(asked, value))
        case "refusal":
            return bytes(answer(asked, value, status=48))
        case "failed update":
            return bytes(ca.EventAddResponse.from_wire((1, 24, 20, 1, 48, number), bytes(24)))
        case "short":
            return bytes(ca.ReadNotifyResponse.from_wire((15, 16, 20, 1, 1, asked), bytes(16)))
        case "other type":
            return bytes(ca.EventAddResponse(value, ChannelType.DOUBLE, 1, 1, number))
        case "other count":
            return bytes(ca.ReadNotifyResponse([1.0, 2.0], TIME_DOUBLE, 2, 1, asked))
        case "error":
            return bytes(ca.ErrorResponse(reads[row], pvs[row].channel.cid, 48, "no"))
        case "refresh":
            return bytes(answer(number, value))
        case "wrong kind":
            return bytes(update(asked, value))
        case "ordinary":
            return bytes(ca.EventAddResponse(value, ChannelType.DOUBLE, 1, 1, plain))
        case "lost":
            return bytes(ca.ServerDisconnResponse(pvs[row].channel.cid))
        case "fail":
            return bytes(ca.CreateChFailResponse(pvs[row].channel.cid))
    return bytes(ca.EchoResponse())


def outcome(script: list[list[tuple]], cuts: list[int], blocks: bool) -> tuple:
    """What becomes of reads and subscriptions, and of ordinary ones beside them."""
    world, pvs = connected(COUNT)
    ordinary = FakeSubscription(pvs[0])
    ordinary._request = lambda channel: channel.subscribe(ChannelType.DOUBLE)
    world.session.reconcile([ordinary])
    (plain,) = world.send()
    operation = read(pvs[1])
    world.begin(operation, pvs[1])
    world.send()
    reading, watching = Sink(), Sink()
    world.session.columns.request([reads(pvs)], reading)
    asked = world.send()
    world.session.columns.subscribe(watching, pvs, range(COUNT))
    subscribed = world.send()
    if not blocks:
        world.session.circuit.framer.split = split
    data = b"".join(
        wire(event, asked, subscribed, plain.subscriptionid, pvs) for run in script for event in run
    )
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    targets, lost, deviations = [], [], []
    for start, stop in zip(edges, edges[1:], strict=False):
        commands = world.session.circuit.feed(data[start:stop])
        out = Deliveries()
        then, error = world.session.receive(commands, world.now, out)
        assert error is None and world.session.circuit.error is None
        targets += out.arguments
        if then is not None:
            for take in then.columns:
                take()
            lost += [pv.name for pv in then.lost]
            deviations += [str(one) for one in then.deviations]
    live = {
        (one.command, offset) for one in world.session.circuit.ranges
        for offset in one.live.nonzero()[0].tolist()
    }  # fmt: skip

    def by_row(sink: Sink) -> dict[int, list[tuple]]:
        return {row: [one for one in sink.got if one[0] == row] for row in range(COUNT)}

    return by_row(reading), by_row(watching), targets, lost, deviations, live


@given(st.lists(events, max_size=10), st.lists(st.integers(0, 1 << 16), max_size=4))
def test_blocks_and_single_messages_agree_on_every_stream(script, cuts):
    """Values, errors, losses, deviations; with ordinary subscriptions in between."""
    assert outcome(script, cuts, blocks=True) == outcome(script, [], blocks=False)


@pytest.mark.parametrize("blocks", [True, False])
def test_a_stream_of_everything(blocks):
    script = [[("update", row, 1.5) for row in range(COUNT)], [("refusal", 2, 0.0)],
              [("answer", row, 2.0) for row in range(COUNT)], [("lost", 3, 0.0)],
              [("update", row, 0.0) for row in (3, 4, 4)]]  # fmt: skip
    first, watched, _, lost, _, live = outcome(script, [], blocks)
    assert [kind for [(_, kind, _)] in first.values()] == ["ReadNotifyResponse"] * COUNT
    assert first[2][0][2] == 48 and lost == ["pv3"]
    assert [len(got) for got in watched.values()] == [1, 1, 1, 2, 3, 1]
    assert watched[3][-1][1] == "lost" and (1, 3) not in live and (1, 4) in live
