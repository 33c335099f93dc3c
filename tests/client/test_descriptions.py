"""What people are told about circuits and channels."""
from __future__ import annotations

import logging

import pytest

import caproto as ca
from caproto import AccessRights, CAStatus, ChannelType
from caproto._client.descriptions import (
    CircuitState,
    describe_channel,
    log_deviation,
    log_end,
    log_refused_request,
    log_refused_updates,
)
from caproto._client.subscriptions import form_of
from caproto.threading.client._subscription import Subscription

ADDRESS = ("10.0.0.1", 5064)
LOG = logging.getLogger("caproto.circ")


@pytest.fixture
def channel() -> ca.ClientChannel:
    """A channel whose creation has been asked for."""
    circuit = ca.VirtualCircuit(ca.CLIENT, ADDRESS, 0)
    circuit.send(ca.VersionRequest(0, 13), ca.ClientNameRequest("me"), ca.HostNameRequest("here"))
    channel = ca.ClientChannel("T:x", circuit)
    circuit.send(channel.create())
    return channel


def hear(channel: ca.ClientChannel, *commands: ca.Message) -> None:
    for command in commands:
        channel.circuit.process_command(command)


def create(channel: ca.ClientChannel) -> None:
    hear(
        channel,
        ca.VersionResponse(13),
        ca.CreateChanResponse(ChannelType.DOUBLE, 3, channel.cid, 7),
    )


class FakePV:
    """What is said about a PV needs its name and logger."""

    name = "T:x"
    log = LOG


@pytest.mark.parametrize("state, words", [
    (CircuitState.CONNECTING, "connecting to"),
    (CircuitState.UNRESPONSIVE, "no response from"),
    (CircuitState.CLOSING, "closing the circuit to"),
    (CircuitState.DEAD, "disconnected from"),
])
def test_without_a_circuit_that_works_there_is_nothing_else_to_say(state, words, channel):
    create(channel)
    assert describe_channel(state, channel) == f"{words} 10.0.0.1:5064"


def test_a_channel_from_its_creation_to_its_end(channel):
    def say() -> str:
        return describe_channel(CircuitState.CONNECTED, channel)

    assert say() == "connecting, waiting for 10.0.0.1:5064 to create the channel"
    create(channel)
    connected = "connected to 10.0.0.1:5064, DOUBLE x 3, "
    assert say() == connected + "rights not known yet"
    for rights, words in [
        (AccessRights.READ, "READ"),
        (AccessRights.READ | AccessRights.WRITE, "READ|WRITE"),
        (AccessRights.NO_ACCESS, "no access"),
    ]:
        hear(channel, ca.AccessRightsResponse(channel.cid, rights))
        assert say() == connected + words
    channel.circuit.send(channel.clear())
    assert say() == "idle"


def test_a_channel_that_the_server_gave_up(channel):
    create(channel)
    hear(channel, ca.ServerDisconnResponse(channel.cid))
    said = describe_channel(CircuitState.CONNECTED, channel)
    assert said == "disconnected, 10.0.0.1:5064 dropped the channel"


@pytest.mark.parametrize(
    "error, connecting, level, words",
    [
        (
            ca.RemoteProtocolError("why"), False, "ERROR",
            "Protocol violation by 10.0.0.1:5064, closing the circuit: why",
        ),
        (
            ca.CaprotoNetworkError(111, "cannot connect"), True, "WARNING",
            "Why; 9 PVs will be retried",
        ),
        (OSError(104, "reset"), False, "WARNING",
         "Lost connection to 10.0.0.1:5064 (why); searching for 9 PVs again"),
    ],
)  # fmt: skip
def test_the_end_of_a_circuit(error, connecting, level, words, caplog):
    log_end(LOG, ADDRESS, error, "why", 9, connecting)
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (level, words)


def refusal() -> ca.ErrorResponse:
    request = ca.WriteRequest([1.0], ChannelType.DOUBLE, 1, 7, 5)
    return ca.ErrorResponse(request, 1, CAStatus.ECA_PUTFAIL, "limits")


def test_a_write_without_confirmation_that_was_refused(caplog):
    log_refused_request(LOG, FakePV(), refusal())
    (record,) = caplog.records
    said = record.getMessage()
    assert said.startswith("'T:x': the server refused a write: ECA_PUTFAIL (")
    assert said.endswith(", 'limits'")


def test_a_refused_request_of_nobody_we_know(caplog):
    log_refused_request(LOG, None, refusal())
    (record,) = caplog.records
    assert record.getMessage().startswith("The server refused a request: ECA_PUTFAIL (")


def test_a_subscription_without_updates(caplog):
    sub = Subscription(FakePV(), form_of(None, None, 0.0, 0.0, 0.0, None))
    update = ca.EventAddResponse([0.0], ChannelType.DOUBLE, 1, CAStatus.ECA_NORDACCESS, 1)
    log_refused_updates(sub, update)
    (record,) = caplog.records
    assert record.getMessage().startswith("'T:x': the server sends no updates: ECA_NORDACCESS (")


def test_an_update_that_could_not_be_used(caplog):
    sub = Subscription(FakePV(), form_of(None, None, 0.0, 0.0, 0.0, None))
    log_refused_updates(sub, ca.MessageError("its payload is cut off"))
    (record,) = caplog.records
    assert record.getMessage() == "'T:x': the server sends no updates: its payload is cut off"


def test_a_deviation_is_a_warning_the_first_time_only(caplog):
    caplog.set_level(logging.DEBUG, LOG.name)
    for first in (True, False):
        log_deviation(LOG, ca.MessageError("an odd count"), first)
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    words = "The server deviates from the protocol: an odd count"
    assert said == [("WARNING", f"{words} (later ones only at DEBUG)"), ("DEBUG", words)]
