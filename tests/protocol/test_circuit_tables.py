"""Channels, ids and open requests of a circuit; what commands do to them: test_circuit_rules."""
from __future__ import annotations

import pytest

from caproto import CLIENT, CLOSED, SERVER, CaprotoValueError, ClientChannel, VirtualCircuit
from tests.pair import Pair


def client() -> VirtualCircuit:
    return VirtualCircuit(CLIENT, ("10.0.0.1", 5064), 0)


# --- ids ------------------------------------------------------------------------------------------


def test_new_ids_are_not_used_by_anything_alive():
    pair = Pair().greet()
    channel, _ = pair.connect("x")
    read, subscription, cancelled = channel.read(), channel.subscribe(), channel.subscribe()
    pair.send(CLIENT, read, subscription, cancelled)
    pair.send(CLIENT, channel.unsubscribe(cancelled.subscriptionid))
    alive = {read.ioid, subscription.subscriptionid, cancelled.subscriptionid}
    assert len(alive) == 3
    pair.client._next_id = min(alive)
    fresh = [pair.client.new_ioid(), pair.client.new_subscriptionid(), pair.client.new_ioid()]
    assert len(set(fresh)) == 3, "operations and subscriptions have one number space"
    assert not alive & set(fresh)


def test_new_channel_ids_are_not_used_by_any_channel():
    circuit = client()
    taken = {ClientChannel("x", circuit, 1).cid, ClientChannel("y", circuit, 3).cid}
    made = [ClientChannel(name, circuit).cid for name in "abc"]
    assert len({*made, *taken}) == 5
    assert circuit.new_channel_id() not in circuit.channels


@pytest.mark.parametrize("kind", ["new_ioid", "new_subscriptionid", "new_channel_id"])
def test_ids_begin_anew_after_the_largest(kind):
    circuit = client()
    circuit._next_id = circuit._next_cid = 0xFFFFFFFE
    assert [getattr(circuit, kind)() for _ in range(4)] == [0xFFFFFFFE, 0xFFFFFFFF, 0, 1]


def test_replies_under_ids_that_began_anew_are_understood():
    pair = Pair().greet()
    channel, other = pair.connect("x")
    pair.client._next_id = 0xFFFFFFFF
    requests = [channel.read(), channel.read()]
    assert [request.ioid for request in requests] == [0xFFFFFFFF, 0]
    pair.send(CLIENT, *requests)
    pair.send(SERVER, *(other.read([1.0], request.ioid) for request in requests))
    assert pair.client.pending == pair.server.pending == {}


# --- channels and requests ------------------------------------------------------------------------


def test_a_client_has_one_channel_under_a_cid():
    circuit = client()
    ClientChannel("x", circuit, 7)
    with pytest.raises(CaprotoValueError, match="cid 7 is taken by channel 'x'"):
        ClientChannel("y", circuit, 7)


def test_a_lost_connection_empties_the_tables():
    pair = Pair().greet()
    channel, _ = pair.connect("x")
    pair.send(CLIENT, channel.read(), channel.subscribe())
    pair.client.disconnect()
    circuit = pair.client
    for table in (circuit.channels, circuit.channels_sid, circuit.pending, circuit.subscriptions):
        assert table == {}
    assert set(channel.states.values()) == {CLOSED} and not channel.subscriptionids
